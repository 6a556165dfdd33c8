"""Which task of a model ranks, and the vectors that it makes of contexts and of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.objectives.kinds import abilities
from electra_jax.tasks.inputs import params_digest
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import Rows
from electra_jax.tasks.ranking import RankingTask
from electra_jax.tasks.ranking_rows import Side
from electra_jax.tasks.ranking_vectors import VectorsOf

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Rows of up to so many tokens are little work: a batch of them has more for each device than one of longer rows.
_SHORT, _SHORT_ROWS, _LONG_ROWS = 48, 128, 32


def ranking_task(config: Config, tasks: Iterable[str], name: str | None) -> str:
    """Return the name of the task that ranks.

    Args:
        config: of the model.
        tasks: its own, by name.
        name: that is asked for; None: the only one.

    Raises:
        UserError: the model has no such task, or several and none is named.
    """
    tasks = list(tasks)
    kinds = {task: config.finetune.tasks[task].kind for task in tasks}
    fitting = [task for task, kind in kinds.items() if kind == "ranking"]
    if not fitting:
        writes = "write" in abilities(config.objective) or "seq2seq" in kinds.values()
        does = "writes and cannot rank" if writes else "has no task that ranks"
        raise UserError(
            f"this model ({config.kind_of_run}) {does}: use one that was fine-tuned on a task of kind ranking "
            "(docs/ranking.md)"
        )
    if name is None and len(fitting) == 1:
        return fitting[0]
    if name not in fitting:
        asked = f"no task {name!r} that ranks" if name else "several tasks that rank"
        raise UserError(f"this model has {asked}: name one of {', '.join(fitting)}")
    return name


def searching_task(config: Config, tasks: Iterable[str], name: str | None) -> str:
    """Return the name of the task that makes vectors of candidates.

    Raises:
        UserError: as `ranking_task`; or it reads context and candidate together.
    """
    name = ranking_task(config, tasks, name)
    if cast(RankingConfig, config.finetune.tasks[name]).encoder == "cross":
        raise UserError(
            f"the task {name} is a cross-encoder, which reads each candidate with its context and has no vectors of "
            "candidates to keep: search with encoder bi or poly, and rank what was found with this one"
        )
    return name


def side_vectors(
    model: Model, name: str, side: Side, texts: Sequence[str]
) -> tuple[np.ndarray, float, list[bool]]:
    """Return vectors of texts, float32 ``[texts, codes, width]``, the scale of scores, and which texts were cut."""
    one_side = VectorsOf(cast(RankingTask, model.tasks[name]), side)
    rows = one_side.encode(texts)
    objective = FineTuning(model._network, {name: cast(Any, one_side)}, {})
    lengths = rows.lengths
    vectors: np.ndarray | None = None
    scale = 1.0
    for chosen, most in ((lengths <= _SHORT, _SHORT_ROWS), (lengths > _SHORT, _LONG_ROWS)):
        numbers = np.flatnonzero(chosen)
        if not len(numbers):
            continue
        at_once = most if len(numbers) >= most else _LONG_ROWS
        found = model._run(
            f"{side} vectors {name}", objective.outputs, _some(rows, numbers), name, rows_per_device=at_once
        )
        if vectors is None:
            vectors = np.empty((len(texts), *found["vectors"].shape[1:]), np.float32)
        vectors[numbers] = found["vectors"]
        scale = float(found["scale"][0])
    if vectors is None:
        vectors = np.zeros((0, 1, model.config.model.hidden_size), np.float32)
    return vectors, scale, list(rows.details)


def _some(rows: Rows, numbers: np.ndarray) -> Rows:
    return Rows(
        [rows.input_ids[n] for n in numbers],
        [rows.token_type_ids[n] for n in numbers],
        {},
        np.arange(len(numbers), dtype=np.int32),
        segment_ids=[rows.segment_ids[n] for n in numbers],
    )


def fingerprint(model: Model, task: str) -> str:
    """Return a hash of what vectors depend on: the vocabulary, the encoder, and the task's head."""
    if task not in model._fingerprints:
        parts: Mapping[str, Any] = {name: model._params[name] for name in ("embeddings", "encoder")}
        digest = params_digest({**parts, "head": model._params["heads"][task]})
        model._fingerprints[task] = f"{digest}-{model.tokenizer.fingerprint}"
    return model._fingerprints[task]
