"""Mask rate and temperature that change while a run goes on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.config.loading import validate
from electra_jax.config.value_schedule import ValueSchedule
from electra_jax.errors import UserError
from electra_jax.objectives import build_objective
from electra_jax.objectives.electra import corrupt
from electra_jax.objectives.scheduled import highest_value, scheduled_value
from electra_jax.training.state import init_state
from electra_jax.training.step import make_train_step

LENGTH = 16
ROWS = np.full((3, LENGTH), 9, np.int32)
ROWS[:, 0], ROWS[:, -1] = SmallVocabulary.cls_id, SmallVocabulary.sep_id


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"to": 0.1}, lambda u: 0.5 - 0.4 * u),
        ({"to": 0.1, "over": 0.25}, lambda u: max(0.1, 0.5 - 1.6 * u)),
        ({"to": 0.9, "begin": 0.5, "over": 0.5}, lambda u: 0.5 if u < 0.5 else 0.5 + 0.8 * (u - 0.5)),
        ({"to": 0.1, "shape": "exponential", "over": 0.1}, lambda u: 0.1 + 0.4 * math.exp(-u / 0.1)),
    ],
    ids=["linear", "in a quarter", "from the middle", "exponential"],
)
def test_values_are_those_of_the_formula(schedule, expected):
    schedule = ValueSchedule(**schedule)
    for done in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        found = scheduled_value(0.5, schedule, jnp.float32(done))
        assert float(found) == pytest.approx(expected(done), rel=1e-5), done
    assert highest_value(0.5, schedule) == max(0.5, schedule.to)


def _objective(kind="electra", **settings):
    config = small_config(objective={"kind": kind, **settings})
    return build_objective(config, SmallVocabulary())


@pytest.mark.parametrize("kind", ["electra", "masked_lm"])
def test_as_many_tokens_are_masked_as_the_share_done_says(kind):
    objective = _objective(kind, mask_rate=0.5, mask_rate_schedule={"to": 0.1})
    draw = jax.jit(lambda done: objective.at(done).draw_inputs(jnp.asarray(ROWS), jax.random.key(0)).masked)
    shapes = set()
    for done in (0.0, 0.25, 0.5, 1.0):
        masked = draw(jnp.float32(done))
        assert masked.weights.sum(axis=1).tolist() == [round((0.5 - 0.4 * done) * LENGTH)] * len(ROWS), done
        shapes.add(masked.positions.shape)
    assert shapes == {(len(ROWS), 8)}  # room for the highest rate, one program for all
    at_the_end = objective.draw_inputs(jnp.asarray(ROWS), jax.random.key(0)).masked
    np.testing.assert_array_equal(at_the_end.weights, draw(1.0).weights)


def test_replacements_are_sampled_at_the_temperature_of_the_share_done():
    settings = {"mask_rate": 0.5, "temperature": 4.0}
    objective = _objective(**settings, temperature_schedule={"to": 0.5, "shape": "exponential", "over": 0.2})
    inputs = objective.draw_inputs(jnp.asarray(ROWS), jax.random.key(0))
    slots = inputs.masked.positions.shape
    logits = 3 * jax.random.normal(jax.random.key(1), (*slots, objective.network.sizes.vocab_rows))
    seen = set()
    for done in (0.0, 0.1, 1.0):
        same = _objective(**settings | {"temperature": 0.5 + 3.5 * math.exp(-done / 0.2)})
        found = corrupt(logits, inputs, objective.settings, jnp.float32(done)).sampled_ids
        np.testing.assert_array_equal(found, corrupt(logits, inputs, same.settings).sampled_ids)
        seen.add(found.tobytes())
    assert len(seen) > 1


class Growing:
    """An objective whose loss is the share done."""

    subnetworks = ()
    done = 1.0

    def at(self, done):
        changed = Growing()
        changed.done = done
        return changed

    def init(self, rng):
        return {"kernel": jnp.ones(2)}

    def draw_inputs(self, batch, rng):
        return batch * self.done

    def loss_normalizers(self, inputs):
        return jnp.float32(inputs.shape[0])

    def loss(self, params, inputs, normalizers, rng):
        return inputs.sum() / normalizers + 0 * params["kernel"].sum() + self.done, {}


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_step_takes_the_values_of_its_number(pieces):
    objective, optimizer, batch = Growing(), optax.sgd(0.1), jnp.ones(4)
    settings = {"seed": 0, "accumulation_steps": pieces, "log_every": 4}
    step = make_train_step(objective, optimizer, lambda _: 0.1, **settings, total_steps=8)
    state = init_state(objective, optimizer, batch, jax.random.key(0))
    for number in range(3):
        state, report = step(state, batch)
        assert float(report["loss"]) == pytest.approx((1 + pieces) * number / 8)
    at_the_end = make_train_step(objective, optimizer, lambda _: 0.1, **settings)
    assert float(at_the_end(state, batch)[1]["loss"]) == 1 + pieces


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mask_rate_schedule": {"to": 1.5}}, r"mask_rate_schedule\.to is 1\.5, but must be a share below 1"),
        (
            {"mask_rate_schedule": {"to": 0.3}, "mask_rate_high": 0.9},
            "mask_rate_schedule does not go with mask_rate_high",
        ),
        ({"temperature_schedule": {"over": 0.1}}, r"temperature_schedule: to is null, so nothing changes"),
        (
            {"temperature_schedule": {"to": 0.0}},
            r"temperature_schedule\.to is 0\.0, but must be greater than 0",
        ),
        ({"temperature_schedule": {"too": 1.0}}, r"unknown key objective\.temperature_schedule\.too"),
        ({"kind": "electric", "mask_rate_schedule": {"to": 0.3}}, r"mask_rate_schedule"),
    ],
)
def test_what_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        validate({"objective": settings}, "here")
