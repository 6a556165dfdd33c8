"""How a value of the objective changes while a run goes on."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import Section, field


class ValueSchedule(Section):
    """From the value of the key it belongs to, to another; by the share of train.steps that is done."""

    to: float | None = field(None, "What it comes to; null: it stays as it is.", gt=0.0)
    shape: Literal["linear", "exponential"] = field(
        "linear",
        "linear: evenly, in the share `over`; exponential: the distance left is e^(-share done / over).",
    )
    begin: float = field(0.0, "Share of train.steps before which it does not change.", ge=0.0, lt=1.0)
    over: float = field(
        1.0,
        "Share of train.steps: linear, in which it gets there; exponential, in which 1/e is left.",
        gt=0.0,
    )

    @model_validator(mode="after")
    def _check(self) -> ValueSchedule:
        if self.to is None and (self.shape, self.begin, self.over) != ("linear", 0.0, 1.0):
            raise ValueError("to is null, so nothing changes: set it, or leave out shape, begin and over")
        if self.shape == "linear" and self.begin + self.over > 1.0 + 1e-6:
            raise ValueError(
                f"from begin {self.begin} on, over {self.over} goes beyond the end of the run, so that to {self.to} is "
                f"never reached: set over to {1.0 - self.begin:g} or less"
            )
        return self
