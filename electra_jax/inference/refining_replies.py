"""Replies that are retrieved and refined: a ranker chooses a candidate, and a decoder reads it behind the turns."""

from __future__ import annotations

from collections.abc import Sequence

from electra_jax.config.schema import Config
from electra_jax.config.tasks import Seq2SeqConfig
from electra_jax.dialogue.turns import Turn
from electra_jax.inference.replying import KEPT, Replier, Reply, TurnWriter


def refining_task(config: Config, task: str | None) -> tuple[str, str] | None:
    """Return the task that writes and the one that ranks for it, where a model retrieves and refines; else None.

    It does where one task of kind seq2seq has ``retrieval`` and one task ranks.

    Args:
        config: of the model.
        task: that is asked for; None: any.
    """
    tasks = config.finetune.tasks
    writers = [
        name
        for name, some in tasks.items()
        if isinstance(some, Seq2SeqConfig) and some.retrieval is not None and task in (None, name)
    ]
    rankers = [name for name, some in tasks.items() if some.kind == "ranking"]
    return (writers[0], rankers[0]) if len(writers) == len(rankers) == 1 else None


class Refiner:
    """Replies that a task writes for the turns and the candidate that another puts first."""

    def __init__(self, ranker: Replier, writer: TurnWriter):
        self._ranker, self._writer = ranker, writer

    def reply(self, turns: Sequence[Turn]) -> Reply:
        """Return what is written; what was retrieved for it stands first among the other proposals."""
        found = self._ranker.reply(turns)
        written = self._writer.reply(turns, found.text)
        proposals = (*written.proposals[:1], *found.proposals, *written.proposals[1:])[:KEPT]
        compared, cut = written.compared + found.compared, written.truncated or found.truncated
        return Reply(written.text, proposals, compared, written.turns_read, cut)
