"""A conversation with a model: what `Model.chat` begins."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.generation import GenerationConfig
from electra_jax.config.schema import Config
from electra_jax.dialogue.turns import alternating
from electra_jax.errors import UserError
from electra_jax.generation.settings import resolve_method, texts_per_prompt
from electra_jax.inference.choosing import Candidates, Ranker, open_candidates
from electra_jax.inference.items import text_of
from electra_jax.inference.rankers import ranking_task
from electra_jax.inference.reply_roles import Roles, reply_roles
from electra_jax.inference.replying import Marks, Reading, Replier, Reply, TurnWriter, turn_stops
from electra_jax.inference.reranking import Reranker, check_several
from electra_jax.inference.writing import generation_settings

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


_NO_STOPS = (
    "nothing ends a reply where the next turn would begin, since the vocabulary writes no newlines and no marks of who "
    "speaks: mark turns otherwise (speakers), or set generation.stop_strings"
)


class Conversation:
    """Two who take turns: a person, who begins, and a model.

    Attributes:
        replier: that replies for the model.
        turns: what was said, in order.
    """

    def __init__(self, replier: Replier):
        self.replier = replier
        self.turns: list[str] = []

    def say(self, text: str) -> Reply:
        """Say something, and return the model's reply; both are turns from then on.

        Args:
            text: what is said.

        Raises:
            UserError: it is no text, or empty; or it is longer than the model reads, where that is an error.
        """
        reply = reply_to(self.replier, [*self.turns, text])
        self.turns += [text, reply.text]
        return reply

    def restart(self) -> None:
        """Forget all turns."""
        self.turns.clear()


def reply_to(replier: Replier, turns: Sequence[Any]) -> Reply:
    """Return what is replied to the turns of two, the last one's of which is a person's.

    Raises:
        UserError: there are none, or one is no text or empty.
    """
    texts = [text_of(turn, f"chat: turn {number}") for number, turn in enumerate(turns, start=1)]
    if not texts or not texts[-1].strip():
        raise UserError("chat: nothing was said: say something to reply to")
    return replier.reply(alternating(texts))


@dataclass(frozen=True)
class ReplySettings:
    """How a model replies.

    Attributes:
        candidates: to choose from, or to retrieve from for a task that writes; None: the model writes.
        ranker: another model, whose task of kind ranking retrieves for the one that writes.
        task: that replies, where several can.
        speakers: how they are marked; None: as the task was trained, not at all if it knows no conversations, and by
            sides for a language model.
        history: most turns that are read; None: as the task was trained, or as many as fit.
        reranker: says which of several texts that were written is the reply; None: the first.
    """

    candidates: Candidates | None = None
    ranker: Model | None = None
    task: str | None = None
    speakers: Marks | None = None
    history: int | None = None
    reranker: Reranker | None = None


def begin(
    model: Model, candidates: Any, wanted: ReplySettings, generation: Mapping[str, Any]
) -> Conversation:
    """Begin a conversation; see `Model.chat`.

    Args:
        model: the model.
        candidates: as there.
        wanted: all that is wanted but these.
        generation: keys of that section.

    Raises:
        UserError: the model cannot reply so, a setting that does not fit, candidates that are none.
    """
    given = {"has_candidates": candidates is not None, "has_ranker": wanted.ranker is not None}
    reply_roles(model.config, wanted.task, **given)
    if candidates is not None:
        wanted = replace(wanted, candidates=open_candidates(candidates))
    return Conversation(make_replier(model, wanted, generation_settings(model.config, generation)))


def make_replier(
    model: Model, wanted: ReplySettings, generation: GenerationConfig, notes: list[str] | None = None
) -> Replier:
    """Return what replies with a model.

    Args:
        model: with a task that ranks or writes, or a causal language model.
        wanted: how.
        generation: to write by.
        notes: where replies may go on with the next turn it is appended; None: there is a warning.

    Raises:
        UserError: the model cannot reply so, or the index of the candidates is another's.
    """
    history, candidates, ranker = wanted.history, wanted.candidates, wanted.ranker
    if history is not None and (isinstance(history, bool) or not isinstance(history, int) or history < 1):
        raise UserError(f"history is {history!r}, but must be a number of turns, 1 or more")
    given = {"has_candidates": candidates is not None, "has_ranker": ranker is not None}
    roles = reply_roles(model.config, wanted.task, **given)
    if roles.goes_on:
        reading = Reading(wanted.speakers or "sides", history, begins_reply=True)
        if not turn_stops(reading.marks, generation, model.tokenizer):
            _note(_NO_STOPS, notes)
        return TurnWriter(model, None, generation, reading, reranker=wanted.reranker)
    reading = _reading(model.config, roles.writes or roles.ranks or "", wanted)
    if roles.writes is None:
        assert roles.ranks is not None
        assert candidates is not None
        if wanted.reranker is not None:
            raise UserError(
                "candidates are ranked, and what is reranked are texts that were written: leave one out"
            )
        return Ranker(model, roles.ranks, candidates, reading)
    retriever = None
    if candidates is not None:
        retrieves = ranker or model
        name = ranking_task(retrieves.config, retrieves.tasks, roles.ranks)
        retriever = Ranker(retrieves, name, candidates, _reading(retrieves.config, name, ReplySettings()))
    return TurnWriter(model, roles.writes, generation, reading, retriever, wanted.reranker)


def _note(text: str, notes: list[str] | None) -> None:
    if notes is not None:
        notes.append(text)
    else:
        warnings.warn(text, stacklevel=5)  # points at the caller of the method


def check_reranked(config: Config, roles: Roles, generation: GenerationConfig) -> None:
    """Refuse to rerank what is one text for each conversation, or what a causal language model writes.

    Raises:
        UserError: it says which.
    """
    if roles.goes_on:
        raise UserError(
            f"reranking chooses among texts for a source, and this model ({config.kind_of_run}) has no task of kind "
            "seq2seq: leave it out"
        )
    check_several(texts_per_prompt(generation, resolve_method(generation, is_pair=False)))


def _reading(config: Config, task: str, wanted: ReplySettings) -> Reading:
    """Return how a task reads turns: as it was trained, or as it is wanted."""
    section: ConversationsConfig | None = getattr(config.finetune.tasks[task], "conversations", None)
    marks: Marks = "plain" if section is None else section.form
    history = None if section is None else section.history
    return Reading(wanted.speakers or marks, wanted.history or history)
