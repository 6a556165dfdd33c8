"""Which tasks of a model reply in a conversation: one that ranks, one that writes, or both, retrieve-and-refine."""

from __future__ import annotations

from dataclasses import dataclass

from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.errors import UserError, listed
from electra_jax.objectives.kinds import abilities

_REPLYING = ("ranking", "seq2seq")


@dataclass(frozen=True)
class Roles:
    """The tasks that reply.

    Attributes:
        ranks: the task that ranks candidates: the reply, or what the task that writes reads; None: there is none, or it
            is another model's.
        writes: the task that writes; None: there is none.
        goes_on: whether the model is a causal language model, which goes on from the turns.
    """

    ranks: str | None = None
    writes: str | None = None
    goes_on: bool = False


def reply_roles(config: Config, task: str | None, *, has_candidates: bool, has_ranker: bool) -> Roles:
    """Return what the tasks of a model do in a conversation.

    Args:
        config: of the model.
        task: that is asked for; None: the only one that fits.
        has_candidates: whether there are candidates.
        has_ranker: whether another model ranks them.

    Raises:
        UserError: no task replies so (a model that ranks has no candidates, one that writes has some and was not
            trained to read what is retrieved, or it does neither), or several do.
    """
    kinds = {name: some.kind for name, some in config.finetune.tasks.items() if some.kind in _REPLYING}
    if task is not None and task not in kinds:
        raise UserError(
            f"the model has no task {task!r} that replies; there is: {listed(kinds) or 'none'} "
            f"(of kind {' or '.join(_REPLYING)})"
        )
    if not kinds and "write" not in abilities(config.objective):
        raise UserError(
            f"this model ({config.kind_of_run}) can neither rank replies nor write them: use one with a task of "
            "kind ranking or seq2seq, or a causal language model (objective.kind=causal_lm)"
        )
    if has_ranker and not has_candidates:
        raise UserError(
            "another model that ranks needs candidates to retrieve from: give some, or leave it out"
        )
    asked = {task: kinds[task]} if task else kinds
    what = f"this model ({listed(f'{name}: {kind}' for name, kind in asked.items()) or config.kind_of_run})"
    rankers = [name for name, kind in kinds.items() if kind == "ranking"]
    if not has_candidates:
        if not kinds:
            return Roles(goes_on=True)
        if writers := [name for name, kind in asked.items() if kind == "seq2seq"]:
            return Roles(writes=_only(writers))
        raise UserError(
            f"{what} ranks replies and writes none: give it candidates to choose from, a text file with one a line"
        )
    refining = [name for name in asked if _reads_retrieved(config, name)]
    if refining and (has_ranker or rankers):
        return Roles(ranks=None if has_ranker else _only(rankers), writes=_only(refining))
    if has_ranker:
        raise UserError(
            f"{what} has no task that reads what another model retrieves (kind seq2seq with retrieval): leave that "
            "model out"
        )
    if ranking := [name for name in rankers if name in asked]:
        return Roles(ranks=_only(ranking))
    raise UserError(
        f"{what} writes its replies and ranks none: "
        + ("name a model that ranks the candidates for it" if refining else "leave the candidates out")
        + ", or use a model with a task of kind ranking"
    )


def _reads_retrieved(config: Config, name: str) -> bool:
    section = config.finetune.tasks[name]
    return isinstance(section, Seq2SeqConfig) and section.retrieval is not None


def _only(names: list[str]) -> str:
    if len(names) > 1:
        raise UserError(f"the model has several tasks that reply: name one of {listed(names)} as the task")
    return names[0]
