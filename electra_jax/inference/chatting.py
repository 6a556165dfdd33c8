"""A conversation with a model: what `Model.chat` begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.generation import GenerationConfig
from electra_jax.config.schema import Config
from electra_jax.dialogue.turns import alternating
from electra_jax.errors import UserError, listed
from electra_jax.inference.choosing import Candidates, Ranker, open_candidates
from electra_jax.inference.items import text_of
from electra_jax.inference.refining_replies import Refiner, refining_task
from electra_jax.inference.replying import Marks, Reading, Replier, Reply, TurnWriter
from electra_jax.inference.writing import generation_settings
from electra_jax.objectives.kinds import abilities
from electra_jax.retrieval.index import CandidateIndex

if TYPE_CHECKING:
    from electra_jax.inference.load import Model

_REPLYING = ("ranking", "seq2seq")


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


def begin(
    model: Model,
    candidates: CandidateIndex | str | Path | Iterable[str] | None,
    task: str | None,
    speakers: Marks | None,
    history: int | None,
    settings: Mapping[str, Any],
) -> Conversation:
    """Begin a conversation; see `Model.chat`.

    Raises:
        UserError: the model cannot reply so, a setting that does not fit, candidates that are none.
    """
    check_replies(model.config, task, candidates is not None)
    opened = None if candidates is None else open_candidates(candidates)
    return Conversation(
        make_replier(model, opened, task, speakers, history, generation_settings(model.config, settings))
    )


def make_replier(
    model: Model,
    candidates: Candidates | None,
    task: str | None,
    speakers: Marks | None,
    history: int | None,
    settings: GenerationConfig,
) -> Replier:
    """Return what replies with a model.

    Args:
        model: with a task that ranks or writes, or a causal language model.
        candidates: to choose from; None: the model writes.
        task: where several can reply.
        speakers: how they are marked; None: as the task was trained, not at all if it knows no conversations, and by
            sides for a language model.
        history: most turns that are read; None: as the task was trained, or as many as fit.
        settings: to write by.

    Raises:
        UserError: the model cannot reply so, or the index of the candidates is another's.
    """
    if history is not None and (isinstance(history, bool) or not isinstance(history, int) or history < 1):
        raise UserError(f"history is {history!r}, but must be a number of turns, 1 or more")
    name = check_replies(model.config, task, candidates is not None)
    if name is None:
        return TurnWriter(model, None, settings, Reading(speakers or "sides", history, begins_reply=True))
    section: ConversationsConfig | None = getattr(model.config.finetune.tasks[name], "conversations", None)
    reading = Reading(
        speakers or (section.form if section else "plain"), history or (section.history if section else None)
    )
    if candidates is not None and (found := refining_task(model.config, task)):
        ranker = make_replier(model, candidates, found[1], speakers, history, settings)
        return Refiner(ranker, TurnWriter(model, name, settings, reading))
    if candidates is not None:
        return Ranker(model, name, candidates, reading)
    return TurnWriter(model, name, settings, reading)


def check_replies(config: Config, task: str | None, has_candidates: bool) -> str | None:
    """Return the task that replies; None: a causal language model does.

    Raises:
        UserError: none does: a model that ranks has no candidates, one that writes has some, or it does neither.
    """
    kinds = {name: some.kind for name, some in config.finetune.tasks.items() if some.kind in _REPLYING}
    if task is not None and task not in kinds:
        raise UserError(
            f"the model has no task {task!r} that replies; there is: {listed(kinds) or 'none'} "
            f"(of kind {' or '.join(_REPLYING)})"
        )
    if not kinds:
        if "write" not in abilities(config.objective):
            raise UserError(
                f"this model ({config.kind_of_run}) can neither rank replies nor write them: use one with a task of "
                "kind ranking or seq2seq, or a causal language model (objective.kind=causal_lm)"
            )
        _check_writes(f"this model ({config.kind_of_run})", has_candidates)
        return None
    if has_candidates and (found := refining_task(config, task)):
        return found[0]
    wanted = "ranking" if has_candidates else "seq2seq"
    fitting = [name for name, kind in kinds.items() if kind == wanted and task in (None, name)]
    if len(fitting) > 1:
        raise UserError(f"the model has several tasks that reply: name one of {listed(fitting)} as the task")
    if not fitting:
        names = [task] if task else list(kinds)
        what = f"this model ({listed(f'{name}: {kinds[name]}' for name in names)})"
        _check_writes(what, has_candidates)
        raise UserError(
            f"{what} ranks replies and writes none: give it candidates to choose from, a text file with one a line"
        )
    return fitting[0]


def _check_writes(what: str, has_candidates: bool) -> None:
    if has_candidates:
        raise UserError(
            f"{what} writes its replies and ranks none: leave the candidates out, or use a model with a task of kind "
            "ranking"
        )
