"""A text that was written, and why it is not longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Finish = Literal["end", "stop", "length"]


@dataclass(frozen=True)
class Generation:
    """A text that was written.

    Attributes:
        text: what goes on behind the prompt, or was written for the source, without special tokens; a stop string is
            cut off.
        score: log p of its tokens; with beams what they are ranked by, and of reranked texts what the judges say
            together.
        tokens: their ids, the end included.
        log_probs: of each, by the model itself: before filters and temperature.
        finish: why it is not longer: "end", the model ended it; "stop", a stop string; "length", it is as long as it
            may be, or as the model can read.
        source_tokens_cut: tokens of the source that were not read, where there is one.
        scores: of reranked texts what each judge says; None of others.
    """

    text: str
    score: float
    tokens: tuple[int, ...] = field(repr=False)
    log_probs: tuple[float, ...] = field(repr=False)
    finish: Finish
    source_tokens_cut: int = 0
    scores: Mapping[str, float] | None = None
