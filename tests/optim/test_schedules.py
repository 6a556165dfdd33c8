"""Learning rates against their closed forms."""

import math

import jax
import jax.numpy as jnp
import pytest

from electra_jax.config.schema import OptimizerConfig
from electra_jax.optim import learning_rate_schedule

PEAK, TOTAL = 2e-3, 1000

DECAYS = {
    "linear": lambda step: 1 - step / TOTAL,
    "cosine": lambda step: math.cos(math.pi * step / (2 * TOTAL)) ** 2,
    "constant": lambda step: 1.0,
    "warmup_stable_decay": lambda step: 1.0 if step <= 800 else (TOTAL - step) / 200,
}


def schedule(kind, warmup):
    settings = OptimizerConfig(learning_rate=PEAK, schedule=kind, warmup_steps=warmup, decay_fraction=0.2)
    return learning_rate_schedule(settings, TOTAL)


@pytest.mark.parametrize("warmup", [0, 1, 100, 950])
@pytest.mark.parametrize("kind", DECAYS)
def test_rate_is_decay_times_warmup(kind, warmup):
    rate = jax.jit(schedule(kind, warmup))
    for step in (0, 1, 2, 50, 99, 100, 101, 500, 799, 800, 801, 900, 999):
        factor = min(1.0, step / warmup) if warmup else 1.0
        expected = PEAK * DECAYS[kind](step) * factor
        assert float(rate(jnp.int32(step))) == pytest.approx(expected, rel=1e-4, abs=1e-7 * PEAK), step


@pytest.mark.parametrize("kind", DECAYS)
def test_first_update_has_rate_0_only_with_warmup(kind):
    assert float(schedule(kind, 10)(0)) == 0.0
    assert float(schedule(kind, 0)(0)) == pytest.approx(PEAK)


@pytest.mark.parametrize("step", [TOTAL, TOTAL + 1, 10 * TOTAL])
@pytest.mark.parametrize("kind", DECAYS)
def test_rate_at_the_end_and_after(kind, step):
    expected = PEAK if kind == "constant" else 0.0
    assert float(schedule(kind, 10)(step)) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("kind", DECAYS)
def test_rate_of_many_steps_at_once_is_that_of_each(kind):
    rate = schedule(kind, 7)
    steps = jnp.arange(0, TOTAL, 37)
    assert rate(steps).tolist() == pytest.approx(
        [float(rate(step)) for step in steps], rel=1e-5, abs=1e-6 * PEAK
    )


def test_decay_over_the_whole_run_is_the_linear_one():
    settings = OptimizerConfig(
        learning_rate=PEAK, schedule="warmup_stable_decay", decay_fraction=1.0, warmup_steps=10
    )
    steps = jnp.arange(TOTAL)
    ours = learning_rate_schedule(settings, TOTAL)(steps)
    assert ours.tolist() == pytest.approx(schedule("linear", 10)(steps).tolist(), rel=1e-4)
