"""Rates and warm-ups of the encoder's and the heads' own, and an encoder that waits."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.config.loading import load_config, validate
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.optim import build_optimizer, group_schedules, learning_rate_schedule
from electra_jax.optim.adam import scale_by_electra_adam
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.optim.groups import parameter_group
from electra_jax.optim.layer_decay import layer_rates

PARAMS = {
    "embeddings": {"word": {"embedding": jnp.full((6, 4), 0.3)}},
    "encoder": {"layers": {"output": {"kernel": jnp.full((3, 8, 8), 0.2), "bias": jnp.ones((3, 8))}}},
    "heads": {"mine": {"decoder": {"kernel": jnp.full((8, 2), -0.4)}}},
}
TOTAL = 50
BERTSUM = {
    "learning_rate": 2e-3,
    "schedule": "inverse_sqrt",
    "warmup_steps": 10_000,
    "groups": {
        "encoder": {"rate": 0.0070711, "warmup_steps": 20_000},
        "heads": {"warmup_steps": 10_000},
    },
}


def _config(optimizer=None, **finetune):
    finetune = {"tasks": {"rte": {}}, "warmup_fraction": None, **finetune}
    optimizer = {"warmup_steps": 4, "learning_rate": 0.01, "weight_decay": 0.1, **(optimizer or {})}
    return Config.model_validate(
        {"objective": {"kind": "finetune"}, "finetune": finetune, "optimizer": optimizer}
    )


def _optimizer(config):
    return build_optimizer(config.optimizer, PARAMS, total_steps=TOTAL, finetune=config.finetune)


def _train(config, steps):
    """Return the parameters before and after each of some updates, and the last state."""
    optimizer, params = _optimizer(config), PARAMS
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    seen = [params]
    for step in range(steps):
        gradients = jax.tree.map(lambda p, step=step: jnp.cos(9 * p + step), PARAMS)
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def _equal(left, right):
    return all(map(np.array_equal, jax.tree.leaves(left), jax.tree.leaves(right)))


def _pretrained(params):
    return {name: params[name] for name in ("embeddings", "encoder")}


@pytest.mark.parametrize(
    "config", [_config(BERTSUM), load_config("seq2seq/bertsum")], ids=["by hand", "the preset"]
)
def test_bertsums_peaks(config):
    """Liu & Lapata 2019, section 4.2, and PreSumm: -lr_bert 0.002, 20,000; -lr_dec 0.2, 10,000; by noam's formula."""
    rates = group_schedules(config.optimizer, config.finetune, 200_000)
    assert float(rates["encoder"](20_000)) == pytest.approx(1.41e-5, rel=5e-3)
    assert float(rates["heads"](10_000)) == pytest.approx(2.0e-3, rel=1e-5)
    for step in (1, 500, 9_999, 10_000, 15_000, 20_000, 199_999):
        for name, factor, warmup in (("encoder", 2e-3, 20_000), ("heads", 0.2, 10_000)):
            theirs = factor * min(step**-0.5, step * warmup**-1.5)
            assert float(rates[name](step)) == pytest.approx(theirs, rel=2e-5), (name, step)
    steps = jnp.arange(0, 200_000, 1999)
    assert float(rates["encoder"](steps).max()) < 1.42e-5


SCHEDULES = ("linear", "cosine", "constant", "warmup_stable_decay", "inverse_sqrt")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_that_of_a_run_with_the_groups_rate_and_warmup(schedule):
    groups = {"encoder": {"rate": 0.1, "warmup_steps": 8}, "heads": {"rate": 2.0}}
    config = _config({"schedule": schedule, "groups": groups}, freeze_encoder_steps=6)
    found = group_schedules(config.optimizer, config.finetune, TOTAL)
    steps = jnp.arange(TOTAL)
    for name, own, waits in (
        ("encoder", {"learning_rate": 0.001, "warmup_steps": 8}, 6),
        ("heads", {"learning_rate": 0.02}, 0),
    ):
        expected = learning_rate_schedule(_config({"schedule": schedule, **own}).optimizer, TOTAL)(steps)
        assert found[name](steps)[waits:].tolist() == pytest.approx(expected[waits:].tolist(), rel=1e-5)
        assert not found[name](steps)[:waits].any()


@pytest.mark.parametrize("schedule", ["linear", "inverse_sqrt"])
def test_updates_are_those_of_a_run_with_the_groups_rate_and_warmup(schedule):
    """Leaf by leaf, with layer-wise decay; Adam and clipping do not depend on the rate."""
    common = {"schedule": schedule, "layer_decay": 0.8, "weight_decay": 0.0}
    groups = {"encoder": {"rate": 0.1, "warmup_steps": 8}, "heads": {"rate": 2.0}}
    ours, _ = _train(_config({**common, "groups": groups}), 12)
    for name, own in (
        ("encoder", {"learning_rate": 0.001, "warmup_steps": 8}),
        ("heads", {"learning_rate": 0.02}),
    ):
        expected, _ = _train(_config({**common, **own}), 12)
        for path, leaf in jax.tree_util.tree_leaves_with_path(expected[-1]):
            part = path[0].key
            if (part == "heads") == (name == "heads"):
                found = dict(jax.tree_util.tree_leaves_with_path(ours[-1]))[path]
                np.testing.assert_allclose(found, leaf, rtol=1e-5, atol=1e-7, err_msg=str(path))


def test_the_product_with_layer_wise_decay():
    groups = {"encoder": {"rate": 0.5}}
    flat = {"warmup_steps": 0, "schedule": "constant"}
    plain, _ = _train(_config(flat), 1)
    both, _ = _train(_config({**flat, "layer_decay": 0.8, "groups": groups}), 1)
    moved, scaled = (jax.tree.map(jnp.subtract, seen[1], seen[0]) for seen in (plain, both))
    rates = layer_rates(PARAMS, 0.8, reference_quirk=False)
    for part, factor in (("embeddings", 0.5), ("encoder", 0.5), ("heads", 1.0)):
        by_hand = jax.tree.map(lambda m, r, f=factor: f * m * r, moved[part], rates[part])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), scaled[part], by_hand
        )


def test_at_the_defaults_chain_state_and_numbers_are_those_without_groups():
    """So that checkpoints from before there were groups go on, bit by bit."""
    given = {"groups": {"encoder": {"rate": 1.0, "warmup_steps": None}, "heads": {}}}
    for config in (_config(), _config(given)):
        assert group_schedules(config.optimizer, config.finetune, TOTAL) == {}
        rate = learning_rate_schedule(config.optimizer, TOTAL)
        settings = config.optimizer
        before = optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            *_optimizer_parts(settings),
            optax.scale_by_learning_rate(rate),
        )
        state, params = before.init(PARAMS), PARAMS
        update = jax.jit(before.update)
        for step in range(3):
            gradients = jax.tree.map(lambda p, step=step: jnp.cos(9 * p + step), PARAMS)
            updates, state = update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        seen, ours = _train(config, 3)
        assert jax.tree.structure(ours) == jax.tree.structure(state)
        assert _equal(ours, state)
        assert _equal(seen[-1], params)


def _optimizer_parts(settings):
    yield scale_by_electra_adam(settings.beta1, settings.beta2, settings.epsilon)
    yield optax.add_decayed_weights(settings.weight_decay, mask=weight_decay_mask(PARAMS))


def test_the_state_is_the_same_tree_with_and_without_groups():
    with_groups = _optimizer(_config({"groups": {"heads": {"rate": 3.0}}})).init(PARAMS)
    assert jax.tree.structure(with_groups) == jax.tree.structure(_optimizer(_config()).init(PARAMS))


@pytest.mark.parametrize("kind", ["electra_adam", "adamw"])
def test_a_frozen_encoder_waits_and_its_heads_do_not(kind):
    waiting = {"kind": kind, "warmup_steps": 0, "layer_decay": 0.9}
    seen, state = _train(_config(waiting, freeze_encoder_steps=3), 5)
    for params in seen[1:4]:
        assert _equal(_pretrained(params), _pretrained(PARAMS))
    after = jax.tree.leaves(_pretrained(seen[4]))
    assert not any(map(np.array_equal, after, jax.tree.leaves(_pretrained(PARAMS))))
    for before, params in pairwise(seen):
        assert not _equal(before["heads"], params["heads"])
    free, moments = _train(_config(waiting), 5)  # gradients here do not depend on the parameters
    assert _equal(free[-1]["heads"], seen[-1]["heads"])
    assert _equal(state, moments)
    step = (
        jax.tree.map(jnp.subtract, some[4], some[3])["encoder"]["layers"]["output"]["bias"]
        for some in (seen, free)
    )
    np.testing.assert_allclose(*step, rtol=1e-3)  # not a jump by moments that start from 0


def test_a_rate_of_0_leaves_a_group_as_it_is():
    seen, _ = _train(_config({"groups": {"heads": {"rate": 0.0}}}), 6)
    assert _equal(seen[-1]["heads"], PARAMS["heads"])
    assert not _equal(seen[-1]["encoder"], PARAMS["encoder"])


def test_a_parameter_of_no_group_is_an_error():
    with pytest.raises(ValueError, match=r"no group of optimizer\.groups covers generator_head/bias"):
        parameter_group("generator_head/bias")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"optimizer": {"groups": {"encoder": {"rate": 0.1}}}},
            r"electra does not read optimizer\.groups\.encoder\.rate \(read with finetune\)",
        ),
        ({"finetune": {"freeze_encoder_steps": 5}}, r"does not read finetune\.freeze_encoder_steps"),
        ({"optimizer": {"groups": {"decoder": {}}}}, r"unknown key optimizer\.groups\.decoder"),
        ({"optimizer": {"groups": {"heads": {"rate": -1.0}}}}, r"groups\.heads\.rate is -1\.0, but must be"),
    ],
)
def test_what_is_refused(values, words):
    with pytest.raises(UserError, match=words):
        validate(values, "here")
