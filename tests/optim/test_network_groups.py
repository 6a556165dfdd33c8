"""A learning rate and a clip of the generator's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.config import dump_config, load_config
from electra_jax.config.compare import differences
from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.objectives.electra import ReplacedTokenDetection
from electra_jax.objectives.electric import EnergyBasedCloze
from electra_jax.optim import build_optimizer, group_schedules
from electra_jax.optim.groups import network_group

GENERATOR = {
    "generator_encoder": {
        "layers": {"output": {"kernel": jnp.full((2, 4, 4), 0.2), "bias": jnp.ones((2, 4))}}
    },
    "generator_head": {"dense": {"kernel": jnp.full((4, 6), -0.3)}},
}
DISCRIMINATOR = {
    "embeddings": {"word": {"embedding": jnp.full((6, 4), 0.3)}},
    "encoder": {"layers": {"output": {"kernel": jnp.full((3, 4, 4), 0.1)}}},
    "discriminator_head": {"prediction": {"kernel": jnp.full((4, 1), 0.4)}},
}
PARAMS = {**GENERATOR, **DISCRIMINATOR}
TOTAL = 20


def _config(**optimizer):
    given = {"warmup_steps": 3, "learning_rate": 0.01, "weight_decay": 0.1, "clip_norm": 0.5, **optimizer}
    return Config.model_validate({"optimizer": given})


def _gradient(name, tree, step):
    weight = 50.0 if name in DISCRIMINATOR else 1.0
    return jax.tree.map(lambda p: weight * jnp.cos(9 * jnp.arange(p.size).reshape(p.shape) + step), tree)


def _trained(params, steps=4, **optimizer):
    """Parameters after some updates by gradients that do not depend on them, and the state."""
    updater = build_optimizer(_config(**optimizer).optimizer, params, total_steps=TOTAL)
    state, update = updater.init(params), jax.jit(updater.update)
    for step in range(steps):
        updates, state = update(
            {name: _gradient(name, tree, step) for name, tree in params.items()}, state, params
        )
        params = optax.apply_updates(params, updates)
    return params, state


def _same(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), left, right)


@pytest.mark.parametrize("kind", ["electra_adam", "adamw"])
def test_each_network_learns_as_if_it_were_alone(kind):
    """Its own rate and its own norm; the moments lie in one state of the usual shape."""
    both, state = _trained(PARAMS, kind=kind, generator={"learning_rate": 0.03, "clip_norm": 0.2})
    alone, _ = _trained(GENERATOR, kind=kind, learning_rate=0.03, clip_norm=0.2)
    _same({name: both[name] for name in GENERATOR}, alone)
    alone, _ = _trained(DISCRIMINATOR, kind=kind)
    _same({name: both[name] for name in DISCRIMINATOR}, alone)
    assert jax.tree.structure(state) == jax.tree.structure(_trained(PARAMS, kind=kind)[1])


def test_what_is_null_is_the_runs_own():
    apart, _ = _trained(PARAMS, generator={"learning_rate": 0.01})
    _same(apart, _trained(PARAMS, generator={"clip_norm": 0.5})[0])
    one, _ = _trained(PARAMS)
    assert not np.allclose(*(some["generator_head"]["dense"]["kernel"] for some in (one, apart)), rtol=1e-3)


@pytest.mark.parametrize("clip_norm", [0.5, None])
@pytest.mark.parametrize("kind", ["electra_adam", "stable_adamw", "muon"])
def test_a_rate_that_is_set_on_resume_finds_the_state_as_it_was(kind, clip_norm):
    settings = {"kind": kind, "clip_norm": clip_norm}
    joint, state = _trained(PARAMS, **settings)
    apart, other = _trained(PARAMS, generator={"learning_rate": 0.01}, **settings)
    assert jax.tree.structure(state) == jax.tree.structure(other)
    if clip_norm is None:  # the same rate, and no norm that could be parted
        _same(joint, apart)


def test_rates_are_reported_by_network():
    config = _config(generator={"learning_rate": 0.03})
    rates = group_schedules(config.optimizer, None, TOTAL)
    assert {name: float(rate(3)) for name, rate in rates.items()} == pytest.approx(
        {"generator": 0.03 * 17 / 20, "discriminator": 0.01 * 17 / 20}
    )
    assert group_schedules(_config().optimizer, None, TOTAL) == {}


def test_groups_are_the_networks_whose_gradients_are_reported():
    for objective in (ReplacedTokenDetection, EnergyBasedCloze):
        for part in objective.subnetworks:
            assert {network_group(f"{name}/kernel") for name in part.parameters} == {part.name}
    assert network_group("embeddings/word/embedding") == "discriminator"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {
                "optimizer": {"generator": {"clip_norm": 1.0}},
                "generator": {"sharing": "all", "size_fraction": 1.0},
            },
            r"optimizer\.generator sets the generator's parameters apart, but with generator\.sharing=all",
        ),
        (
            {"optimizer": {"generator": {"clip_norm": 1.0}}, "objective": {"kind": "masked_lm"}},
            r"masked_lm does not read optimizer\.generator\.clip_norm \(read with electra\|electric\)",
        ),
        (
            {"optimizer": {"generator": {"learning_rate": 1e-3}}, "objective": {"kind": "finetune"}},
            r"finetune does not read optimizer\.generator\.learning_rate",
        ),
        ({"optimizer": {"generator": {"rate": 1.0}}}, r"unknown key optimizer\.generator\.rate"),
        ({"optimizer": {"generator": {"clip_norm": 0.0}}}, r"generator\.clip_norm is 0\.0, but must be"),
    ],
)
def test_what_is_refused(values, words):
    with pytest.raises(UserError, match=words):
        validate(values, "here")


def test_it_is_written_and_read_and_its_rate_may_change_on_resume(tmp_path):
    config = load_config("tiny", ["optimizer.generator.learning_rate=1e-3"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config
    assert (
        load_config(tmp_path / "config.yaml", ["objective.kind=masked_lm"]).optimizer.generator_apart is False
    )
    for override, free in (("learning_rate=2e-3", True), ("clip_norm=2.0", False)):
        tuned = load_config(tmp_path / "config.yaml", [f"optimizer.generator.{override}"])
        assert [change.free for change in differences(config, tuned)] == [free]
