"""Examples shown when pre-training ends: held-out text with replaced tokens, and what the discriminator marks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TextIO

import jax
import numpy as np
from jax import Array

from electra_jax.config.schema import Config
from electra_jax.data.prepare import Prepared
from electra_jax.distributed.agreement import is_first
from electra_jax.objectives.electra import ReplacedTokenDetection
from electra_jax.objectives.electric import EnergyBasedCloze
from electra_jax.partitioning.mesh import replicated
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.announcing import compiling
from electra_jax.training.program import Program, run_once
from electra_jax.training.step import SHOW_STREAM, stream

GREEN, RED, YELLOW, PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"


@dataclass(frozen=True)
class ShownToken:
    """One token of a shown row: what the discriminator read, what stood there, and whether it was marked."""

    text: str
    original: str
    starts_word: bool
    replaced: bool
    marked: bool


def show_examples(
    program: Program, params: object, prepared: Prepared, config: Config, out: TextIO | None = None
) -> None:
    """Prints the first document piece of some held-out rows; does nothing for objectives without replacements."""
    objective = program.objective
    if not isinstance(objective, ReplacedTokenDetection | EnergyBasedCloze):
        return
    out = out or sys.stdout
    count = min(config.train.show_examples, prepared.eval.num_rows)
    numbers = np.linspace(0, prepared.eval.num_rows - 1, count).astype(np.int64)
    rows = prepared.eval.read(numbers)

    @partial(jax.jit, out_shardings=replicated(program.mesh), compiler_options=run_once(program.mesh))
    def replaced(params: object, rows: Array) -> tuple[Array, Array, Array]:
        """Documents by number, corrupted rows, and the log-odds of each token that it was replaced."""
        drawn = objective.draw(rows, stream(config.seed, SHOW_STREAM))
        segments = drawn.inputs.segment_ids
        if isinstance(objective, EnergyBasedCloze):
            cloze_logits, corruption = objective.proposed(params, drawn)
            logits = objective.discriminate(params, drawn, corruption, cloze_logits)
        else:
            _, corruption = objective.corrupted(params, drawn)
            logits = objective.discriminate(params, drawn, corruption)
        return segments, corruption.input_ids, logits

    with program.on_mesh(), compiling("the examples"):
        segments, corrupted, logits = map(np.asarray, replaced(params, rows))
    if not is_first():
        return
    marked = logits > 0
    colour = out.isatty()
    print(_legend(colour), file=out)
    for row in range(count):
        longest = np.bincount(segments[row][segments[row] > 0]).argmax()
        inside = segments[row] == longest
        tokens = shown_tokens(
            prepared.tokenizer, rows[row][inside], corrupted[row][inside], marked[row][inside]
        )
        print(f"- {render(tokens, colour)}", file=out)


def shown_tokens(
    tokenizer: Tokenizer, original: np.ndarray, corrupted: np.ndarray, marked: np.ndarray
) -> list[ShownToken]:
    """The tokens of one row ``[length]``, special ones left out."""
    starts = tokenizer.word_start_table()
    special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id}

    def text(number: int) -> str:
        return tokenizer.token(number).removeprefix("##").replace("\u2581", "")

    return [
        ShownToken(text(int(new)), text(int(old)), bool(starts[new]), bool(new != old), bool(mark))
        for old, new, mark in zip(original, corrupted, marked, strict=True)
        if int(old) not in special
    ]


def render(tokens: Sequence[ShownToken], colour: bool) -> str:
    """One line: found, missed and falsely marked tokens are set off by colour, or by signs in plain text."""
    parts: list[str] = []
    for token in tokens:
        gap = " " if token.starts_word and parts else ""
        body = f"{token.text}<{token.original}" if token.replaced else token.text
        if not token.replaced and not token.marked:
            parts.append(gap + body)
        elif colour:
            paint = YELLOW if not token.replaced else GREEN if token.marked else RED
            parts.append(f"{gap}{paint}[{body}]{PLAIN}")
        else:
            sign = "?" if not token.replaced else "+" if token.marked else "-"
            parts.append(f"{gap}[{sign}{body}]")
    return "".join(parts)


def _legend(colour: bool) -> str:
    kinds = (
        (GREEN, "+", "replaced, and the discriminator says so"),
        (RED, "-", "replaced, and it does not notice"),
        (YELLOW, "?", "original, but marked"),
    )
    shown = [
        f"{paint}[new<old]{PLAIN} {what}" if colour else f"[{sign}...] {what}" for paint, sign, what in kinds
    ]
    return "Held-out text with replacements (new<old): " + "; ".join(shown)
