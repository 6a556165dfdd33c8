"""A conversation of lines: each is answered with a line, and where it is asked why, with what it was chosen from."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from electra_jax.errors import UserError
from electra_jax.inference.chatting import Conversation
from electra_jax.inference.replying import Reply

_RESTART = "/new"
HELP = f"{_RESTART} begins another conversation; ^D ends"


def converse(conversation: Conversation, lines: Iterable[str], *, typed: bool, why: bool) -> None:
    """Reply to every line, on standard output.

    From a pipe an empty line begins another conversation, as in files of conversations, and is answered with an empty
    line; typed, an empty line is nothing.

    Args:
        conversation: with a model.
        lines: what is said.
        typed: whether by a person, who may say something else where it cannot be replied to.
        why: whether what each reply was chosen from is shown, on standard error.

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
        print(reply.text if typed else " ".join(reply.text.split()), flush=True)
        if why:
            print(reasons(reply, len(conversation.turns) - 1), file=sys.stderr, flush=True)


def reasons(reply: Reply, turns: int) -> str:
    """Return what a reply was chosen from, best first, and what was read for it, a line each.

    Args:
        reply: of the model.
        turns: how many there were before it.
    """
    ranked = reply.proposals[0].number is not None
    lines = [f"    {_heading(reply, ranked)}; read {_turns_read(reply, turns)}"]
    for proposal in reply.proposals:
        number = "" if proposal.number is None else f"  #{proposal.number + 1}"
        lines.append(f"    {proposal.score:9.3f}{number}  {' '.join(proposal.text.split())}")
    return "\n".join(lines)


def _heading(reply: Reply, ranked: bool) -> str:
    if ranked:
        return f"chosen from {reply.compared:,} candidates, by score"
    return "written, by log p" if reply.compared == 1 else f"{reply.compared:,} were written, by score"


def _turns_read(reply: Reply, turns: int) -> str:
    what = (
        f"the last {reply.turns_read} of {turns} turns" if reply.turns_read < turns else f"all {turns} turns"
    )
    if turns == 1:
        what = "the turn"
    return f"{what}, cut" if reply.truncated else what
