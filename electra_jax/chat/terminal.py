"""A conversation of lines: each is answered with a line, and where it is asked why, with what it was chosen from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from electra_jax.chat.answers import tokens_of
from electra_jax.errors import UserError, visible
from electra_jax.inference.chatting import Conversation
from electra_jax.inference.model import Model
from electra_jax.inference.replying import Proposal, Reply

_RESTART = "/new"
HELP = f"{_RESTART} begins another conversation; ^D ends"


def converse(
    conversation: Conversation,
    lines: Iterable[str],
    *,
    typed: bool,
    reasons: Callable[[Reply, int], str] | None = None,
) -> None:
    """Reply to every line, on standard output.

    From a pipe an empty line begins another conversation, as in files of conversations, and is answered with an empty
    line; typed, an empty line is nothing.

    Args:
        conversation: with a model.
        lines: what is said.
        typed: whether by a person, who may say something else where it cannot be replied to.
        reasons: of a reply to so many turns, shown on standard error; None: they are not asked for.

    Raises:
        UserError: a line of a pipe cannot be replied to.
    """
    for line in lines:
        text = line.strip()
        if text == _RESTART or (not text and not typed):
            conversation.restart()
            print(f"(another conversation: {HELP})" if typed else "", flush=True)
            continue
        if not text:
            continue
        try:
            reply = conversation.say(text)
        except UserError as error:
            if not typed:
                raise
            print(f"error: {error}", file=sys.stderr)
            continue
        print(visible(reply.text if typed else " ".join(reply.text.split())), flush=True)
        if reasons is not None:
            print(reasons(reply, len(conversation.turns) - 1), file=sys.stderr, flush=True)


def reasons_text(reply: Reply, turns: int, discriminator: Model | None = None) -> str:
    """Return what was read for a reply, what it was chosen from, and what of it is doubted, as lines.

    Args:
        reply: of the model.
        turns: how many there were before it.
        discriminator: doubts tokens; None: nobody does.
    """
    lines = [f"    {_heading(reply)}; read {_turns_read(reply, turns)}"]
    lines += map(_line, reply.proposals)
    if reply.retrieved:
        lines += ["    retrieved, of which the first was read:", *map(_line, reply.retrieved)]
    if discriminator is not None:
        (tokens,) = tokens_of(discriminator, [reply.text])
        doubted = [f"{token.text} {token.replaced:.2f}" for token in tokens if token.replaced > 0.5]
        lines.append(f"    the discriminator doubts: {', '.join(doubted) or 'nothing'}")
    return visible("\n".join(lines))


def _line(proposal: Proposal) -> str:
    number = "" if proposal.number is None else f"  #{proposal.number + 1}"
    judged = ", ".join(
        f"{name} {'–' if score is None else f'{score:.3f}'}"
        for name, score in (proposal.judged or {}).items()
    )
    return f"    {proposal.score:9.3f}{number}  {' '.join(proposal.text.split())}{f'  ({judged})' if judged else ''}"


def _heading(reply: Reply) -> str:
    if reply.proposals[0].number is not None:
        return f"chosen from {reply.compared:,} candidates, by score"
    if reply.compared == 1:
        return "written, with its score"
    order = "in the order of drawing" if reply.drawn else "by score"
    return f"{reply.compared:,} were written, {'by what judges say' if reply.proposals[0].judged else order}"


def _turns_read(reply: Reply, turns: int) -> str:
    what = (
        f"the last {reply.turns_read} of {turns} turns" if reply.turns_read < turns else f"all {turns} turns"
    )
    if turns == 1:
        what = "the turn"
    return f"{what}, cut" if reply.truncated else what
