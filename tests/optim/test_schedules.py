"""Learning rates against their closed forms."""

import math

import jax
import jax.numpy as jnp
import pytest

from electra_jax.config.loading import validate
from electra_jax.config.optimization import OptimizerConfig
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.optim import learning_rate_schedule
from electra_jax.tasks.finetune import with_derived_steps

PEAK, TOTAL = 2e-3, 1000

DECAYS = {
    "linear": lambda step: 1 - step / TOTAL,
    "cosine": lambda step: math.cos(math.pi * step / (2 * TOTAL)) ** 2,
    "constant": lambda step: 1.0,
    "warmup_stable_decay": lambda step: 1.0 if step <= 800 else (TOTAL - step) / 200,
}
FROM_WARMUP = "inverse_sqrt"  # whose decay is counted from the end of the warm-up, not to the end of the run


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


@pytest.mark.parametrize("left", [0.0, 0.02])
@pytest.mark.parametrize("shape", ["linear", "sqrt"])
def test_the_last_share_falls_by_its_shape_to_what_is_left(shape, left):
    settings = OptimizerConfig(
        learning_rate=PEAK,
        schedule="warmup_stable_decay",
        decay_fraction=0.2,
        decay_shape=shape,
        decay_to=left,
        warmup_steps=10,
    )
    rate = learning_rate_schedule(settings, TOTAL)
    for step in (10, 799, 800, 801, 850, 950, 999, TOTAL, 2 * TOTAL):
        x = min(1.0, max(0.0, (step - 800) / 200))
        expected = 1 - (1 - left) * (math.sqrt(x) if shape == "sqrt" else x)  # ModernBERT's OneMinusSqrt
        assert float(rate(step)) == pytest.approx(PEAK * expected, rel=1e-4, abs=1e-6 * PEAK), step


@pytest.mark.parametrize(("key", "value"), [("decay_shape", "sqrt"), ("decay_to", 0.02)])
def test_a_shape_of_decay_without_its_schedule_is_refused(key, value):
    with pytest.raises(
        UserError, match=f"optimizer: {key} is read with schedule warmup_stable_decay, not linear"
    ):
        validate({"optimizer": {key: value}}, "here")


def _fairseq_inverse_sqrt(step, warmup):
    """As InverseSquareRootSchedule.step_update writes it, with its default warmup_init_lr of 0."""
    return step * PEAK / warmup if step < warmup else PEAK * warmup**0.5 * step**-0.5


def _noam(factor, step, warmup):
    """As Vaswani et al. 2017, section 5.3, and PreSumm write it; the factor stands for the width's."""
    return factor * min(step**-0.5, step * warmup**-1.5)


@pytest.mark.parametrize("warmup", [1, 7, 400, 5000])
def test_inverse_square_root_is_that_of_fairseq_and_of_the_paper(warmup):
    rate = schedule(FROM_WARMUP, warmup)
    assert float(rate(0)) == 0.0
    for step in (1, 6, 7, 8, 399, 400, 401, 999, 4999, 5000, 100_000):
        ours = float(rate(jnp.int32(step)))
        assert ours == pytest.approx(PEAK * min(step / warmup, math.sqrt(warmup / step)), rel=1e-5), step
        assert ours == pytest.approx(_fairseq_inverse_sqrt(step, warmup), rel=1e-5), step
        assert ours == pytest.approx(_noam(PEAK * warmup**0.5, step, warmup), rel=1e-5), step


def test_inverse_square_root_needs_a_warmup():
    with pytest.raises(ValueError, match="needs a warm-up"):
        schedule(FROM_WARMUP, 0)
    for values, words in (
        ({"optimizer": {"warmup_steps": 0}}, r"optimizer\.warmup_steps is 0: set it above 0"),
        ({"finetune": {"warmup_fraction": 0.0}}, r"finetune\.warmup_fraction is 0: set it above 0"),
        (
            {"optimizer": {"groups": {"heads": {"warmup_steps": 0}}}},
            r"optimizer\.groups\.heads\.warmup_steps is 0",
        ),
    ):
        values = {**values, "objective": {"kind": "finetune"}}
        values["optimizer"] = {**values.get("optimizer", {}), "schedule": FROM_WARMUP}
        with pytest.raises(UserError, match=words):
            validate(values, "here")


def test_a_run_too_short_for_its_share_of_warmup_has_one_step_of_it():
    config = Config.model_validate(
        {"objective": {"kind": "finetune"}, "optimizer": {"schedule": FROM_WARMUP}}
    )
    assert with_derived_steps(config, steps_per_epoch=1).optimizer.warmup_steps == 1
    linear = Config.model_validate({"objective": {"kind": "finetune"}})
    assert with_derived_steps(linear, steps_per_epoch=1).optimizer.warmup_steps == 0
