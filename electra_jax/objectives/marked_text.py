"""Text with replaced tokens as lines to read: what was replaced, and what the discriminator marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from electra_jax.tokenizers import Tokenizer

GREEN, RED, YELLOW, PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"

# Tokens of white space, which begin a word, so that a space is there already.
_SHOWN_BLANKS = {" ": "", "\n": "⏎", "\t": "⇥"}


@dataclass(frozen=True)
class ShownToken:
    """One token of a shown row.

    Attributes:
        text: What the discriminator read.
        original: The original token.
        starts_word: Whether a space comes before it.
        replaced: Whether it is another token than the original.
        marked: Whether the discriminator says 'replaced'.
    """

    text: str
    original: str
    starts_word: bool
    replaced: bool
    marked: bool


def marked_lines(
    rows: np.ndarray, outputs: Mapping[str, np.ndarray], tokenizer: Tokenizer, colour: bool
) -> list[str]:
    """Return a legend, and a line for the longest document of each row.

    Args:
        rows: The original rows, int32 ``[rows, length]``.
        outputs: ``segment_ids``, ``input_ids`` with replacements, and ``logits``, shaped as ``rows``.
        tokenizer: For the tokens' texts.
        colour: Whether marks are colours; else they are signs.
    """
    lines = [_legend(colour)]
    for row, segments, corrupted, logits in zip(
        rows, outputs["segment_ids"], outputs["input_ids"], outputs["logits"], strict=True
    ):
        inside = segments == np.bincount(segments[segments > 0]).argmax()
        tokens = shown_tokens(tokenizer, row[inside], corrupted[inside], logits[inside] > 0)
        lines.append(f"- {render(tokens, colour)}")
    return lines


def shown_tokens(
    tokenizer: Tokenizer, original: np.ndarray, corrupted: np.ndarray, marked: np.ndarray
) -> list[ShownToken]:
    """Return the tokens of one row ``[length]``, special ones left out."""
    starts = tokenizer.word_start_table()
    special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id}

    def text(number: int) -> str:
        token = tokenizer.token(number).removeprefix("##").replace("\u2581", "")
        return _SHOWN_BLANKS.get(token, token)

    return [
        ShownToken(text(int(new)), text(int(old)), bool(starts[new]), bool(new != old), bool(mark))
        for old, new, mark in zip(original, corrupted, marked, strict=True)
        if int(old) not in special
    ]


def render(tokens: Sequence[ShownToken], colour: bool) -> str:
    """Render one line: detected, missed and falsely marked tokens are set off by colour, or by signs in plain text."""
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
