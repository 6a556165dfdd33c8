"""The one table of scores: which networks have which, and how the scores of tokens become that of a text."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from electra_jax.config.fields import FINETUNING
from electra_jax.config.objectives import Objective
from electra_jax.errors import UserError
from electra_jax.objectives.kinds import abilities
from electra_jax.scoring.electric import electric_log_probs
from electra_jax.scoring.lm import causal_log_probs
from electra_jax.scoring.rtd import original_log_probs

ScoreMethod = Literal["lm", "pll", "rtd", "electric"]


@dataclass(frozen=True)
class Score:
    """A score of texts.

    Attributes:
        needs: What a model must have for it, in words.
        part: The top-level name of the parameters that it needs.
        token_scores: (network, parameters, rows, ids of the special tokens) → scores and what is counted, both float32
            ``[batch, length]``; None where each token is masked in turn instead (`pll.masked_log_probs`).
        is_mean: Whether a text's score is the mean over its tokens, and not the sum.
    """

    needs: str
    part: str
    token_scores: Callable[..., Any] | None
    is_mean: bool = False


# Of several that a model has, the first is its default.
SCORES: Mapping[str, Score] = {
    "lm": Score("a causal language model", "generator_head", causal_log_probs),
    "electric": Score("Electric's energies", "discriminator_head", electric_log_probs),
    "rtd": Score(
        "ELECTRA's discriminator with its head",
        "discriminator_head",
        original_log_probs,
        is_mean=True,
    ),
    "pll": Score(
        "a masked language model or ELECTRA's generator",
        "generator_head",
        None,
    ),
}


def usable_methods(settings: Objective, parts: Collection[str] | None) -> tuple[str, ...]:
    """Return the scores that a model has, its default first.

    Args:
        settings: Its section ``objective``.
        parts: Top-level names of its parameters; None: not known yet, and taken to be all.
    """
    able = abilities(settings)
    return tuple(
        name for name, score in SCORES.items() if name in able and (parts is None or score.part in parts)
    )


def choose_method(
    method: str | None, settings: Objective, parts: Collection[str] | None, *, end: bool = False
) -> str:
    """Return the score to compute: ``method``, or the model's default.

    Args:
        method: Its name; None: the default.
        settings: The model's, as `usable_methods` has it.
        parts: As `usable_methods` has them.
        end: Whether the end of a text is to be scored, too.

    Raises:
        UserError: There is no such score, or the model lacks what it needs.
    """
    if method is not None and method not in SCORES:
        raise UserError(f"the score {method!r} is unknown; there are {', '.join(SCORES)}")
    usable = usable_methods(settings, parts)
    if method in usable or (method is None and usable):
        chosen = method or usable[0]
        if end and chosen != "lm":
            raise UserError(f"the end of a text is scored by lm alone, and this is {chosen}: leave it out")
        return chosen
    if settings.kind in FINETUNING:
        raise UserError(
            "this model was fine-tuned, which keeps no head that scores text: name the pre-trained one it began from"
        )
    lacks = f"the score {method} needs {SCORES[method].needs}" if method else "every score needs a head"
    there = f"use {' or '.join(usable)}" if usable else "there is none that it has the parameters for"
    raise UserError(f"{lacks}, which this model ({settings.kind}) does not have; {there}")


def text_score(token_scores: np.ndarray, method: str) -> float:
    """Return the score of a text from those of its tokens, float32 ``[tokens]``.

    Their sum is 0.0 where there is no token, and their mean not a number.
    """
    values = token_scores.astype(np.float64)
    if not SCORES[method].is_mean:
        return float(values.sum())
    return float(values.mean()) if len(values) else float("nan")
