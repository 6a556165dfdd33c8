"""How fast a run goes: seconds per step, and what follows from them."""

import time
from typing import Any

import jax

from electra_jax.objectives import PretrainingObjective
from electra_jax.runtime.chips import peak_flops
from electra_jax.training.flops import train_step_flops


class StepTimer:
    """Times steps, with evaluation and saving left out."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._steps = 0

    def step(self) -> None:
        """Count a step that was dispatched."""
        self._steps += 1

    def restart(self) -> None:
        """Start to count anew."""
        self._started, self._steps = time.perf_counter(), 0

    def seconds_per_step(self) -> float | None:
        """Return mean seconds per step since the last start; None before the first step."""
        return (time.perf_counter() - self._started) / self._steps if self._steps else None


class Throughput:
    """Speeds from seconds per step: sequences, tokens, and the utilization of the chips' peak."""

    def __init__(self, objective: PretrainingObjective[Any, Any], batch_size: int, length: int):
        self._rows, self._length = batch_size, length
        peak = peak_flops(jax.devices()[0])
        self._peak = peak * jax.device_count() if peak else None
        self._flops = train_step_flops(objective, batch_size, length)

    def __call__(self, seconds_per_step: float | None) -> dict[str, float | None]:
        """Return the three metrics; None where nothing was timed or no peak is known."""
        rows = self._rows / seconds_per_step if seconds_per_step else None
        utilization = self._flops / seconds_per_step / self._peak if seconds_per_step and self._peak else None
        return {
            "sequences_per_second": rows,
            "tokens_per_second": rows * self._length if rows else None,
            "model_flops_utilization": utilization,
        }
