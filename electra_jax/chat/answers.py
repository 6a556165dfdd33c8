"""What the page shows of a reply: its text as the discriminator sees it, and what it was chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from electra_jax.chat.web import Answer
from electra_jax.inference.chatting import reply_to
from electra_jax.inference.detecting import Token, detect
from electra_jax.inference.model import Model
from electra_jax.inference.replying import Replier
from electra_jax.inference.reranking import number_or_none

Piece = tuple[str, float | None]


def answers(replier: Replier, discriminator: Model | None) -> Answer:
    """Return what answers the turns that a page sends: a dictionary of JSON.

    It has the attributes of the `Reply`, a score of None where there is none, and where there is a
    discriminator ``said`` and ``replied``: the last turn and the reply as pieces with p(replaced).

    Args:
        replier: replies.
        discriminator: a pre-trained ELECTRA, with its head.
    """

    def answer(turns: list[Any]) -> dict[str, Any]:
        reply = reply_to(replier, turns)
        found: dict[str, Any] = asdict(reply)
        for proposal in (*found["proposals"], *found["retrieved"]):
            proposal["score"] = number_or_none(proposal["score"])
        if discriminator is not None:
            texts = [turns[-1], reply.text]
            seen = tokens_of(discriminator, texts)
            found |= dict(zip(("said", "replied"), map(pieces, texts, seen), strict=True))
        return found

    return answer


def tokens_of(discriminator: Model, texts: Sequence[str]) -> list[list[Token]]:
    """Return the tokens of a few texts; of a text that is too long those that are read."""
    cut: list[bool] = []
    found: list[list[Token]] = detect(discriminator, list(texts), cut, most_rows=len(texts))
    return found


def pieces(text: str, tokens: Sequence[Token]) -> list[Piece]:
    """Return all of a text in pieces, each with p(replaced) of its token; None for what is in no token.

    A character of several tokens, such as one that is spelt in bytes, has the largest.
    """
    found: list[Piece] = []
    at = 0
    for token in tokens:
        if token.end <= at:
            if found and found[-1][1] is not None:
                found[-1] = (found[-1][0], max(found[-1][1], token.replaced))
            continue
        if token.start > at:
            found.append((text[at : token.start], None))
        found.append((text[max(at, token.start) : token.end], token.replaced))
        at = token.end
    return found if at == len(text) else [*found, (text[at:], None)]
