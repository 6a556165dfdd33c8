"""What a ranker retrieves for the turns of conversations, for a decoder to read: never anything said there itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import cast

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.schema import Config
from electra_jax.dialogue.turns import Turn, next_speaker, reply_text, turns_text
from electra_jax.errors import UserError
from electra_jax.inference.searching import Searcher
from electra_jax.tasks.ranking import RankingTask

# Contexts that are searched together: a poly-encoder has many vectors for each.
_TOGETHER = 1024


def conversations_of(config: Config, task: str) -> ConversationsConfig:
    """Return how a task that ranks reads conversations.

    Raises:
        UserError: it was not trained on conversations.
    """
    section = config.finetune.tasks[task]
    if not isinstance(section, RankingConfig) or section.conversations is None:
        raise UserError(
            f"the task {task} was not trained on conversations, so it is not known how it reads turns: train one with "
            f"finetune.tasks.{task}.conversations (docs/dialogue.md)"
        )
    return section.conversations


def contexts_of(
    turns: Sequence[Turn], config: ConversationsConfig, sequence_length: int | None = None
) -> Iterator[str]:
    """Yield what is read before each turn but the first, and before the one that may follow the last.

    Args:
        turns: of a conversation.
        config: how they are read.
        sequence_length: tokens that are read of a context. As each turn has one or more, no more turns than that are
            put together, or a long conversation would take memory by the square of its length.
    """
    history = min(
        (most for most in (config.history, sequence_length) if most is not None), default=len(turns)
    )
    repliers = [*(turn.speaker for turn in turns[1:]), next_speaker(turns)]
    for number, replier in enumerate(repliers, start=1):
        yield turns_text(turns[max(0, number - history) : number], replier, config.form)


def retrieve(searcher: Searcher, conversations: Sequence[Sequence[Turn]]) -> Iterator[list[str | None]]:
    """Yield for each conversation what is retrieved for its turns and the one that may follow, None for the first.

    That is the best candidate that is no turn of the conversation, whatever its case and blanks; None where there is
    none. So what is to be learned is not given away.

    Args:
        searcher: of candidates, with a task that was trained on conversations.
        conversations: one turn or more each.
    """
    config = conversations_of(searcher.model.config, searcher.task)
    said = [frozenset(_key(turn.text) for turn in turns) for turns in conversations]
    copies = Counter(_key(candidate.text) for candidate in searcher.index.candidates)
    said_in_index = [sum(copies[key] for key in keys) for keys in said]
    length = cast(RankingTask, searcher.model.tasks[searcher.task]).max_length
    asked = (
        (n, text) for n, turns in enumerate(conversations) for text in contexts_of(turns, config, length)
    )
    found: list[list[str | None]] = [[None] for _ in conversations]
    done = 0
    while some := list(islice(asked, _TOGETHER)):
        most = 1 + max(said_in_index[number] for number, _ in some)
        answers = searcher.search([text for _, text in some], most, [])
        for (number, _), best in zip(some, answers, strict=True):
            fresh = (one["candidate"] for one in best if _key(one["candidate"]) not in said[number])
            found[number].append(next(fresh, None))
        while done < len(found) and len(found[done]) == len(conversations[done]) + 1:
            yield found[done]
            done += 1


def _key(text: str) -> str:
    return reply_text(Turn(text)).casefold()
