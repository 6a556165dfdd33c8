"""How likely a task that writes finds texts that are there already, for sources."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from electra_jax.errors import UserError
from electra_jax.inference.source_writer import Source, example_of, named_task
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import NO_TARGET, Rows, TaskBatch
from electra_jax.tasks.teacher_forcing import token_log_probs

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Texts are padded to one of these, since for each and each length of sources a program is compiled.
_WIDTHS = np.array([16 << (2 * step) for step in range(8)])


def score_for_sources(
    model: Model, pairs: Sequence[tuple[Source, str]], name: str | None = None
) -> list[np.ndarray]:
    """Return log p of each token of texts for their sources, the end included, whoever wrote them.

    A text that is longer than the model can write is scored as far as that goes, without its end.

    Args:
        model: with a task that writes.
        pairs: (source, text), the source with what was retrieved for it, if the task reads that.
        name: of the task, where there are several.

    Returns:
        float32 ``[tokens]`` of each pair.

    Raises:
        UserError: no such task; a source that is too long, with ``long: error`` or ``chunks``.
    """
    task = named_task(model, name)
    tokenizer = model.tokenizer
    rows = task.encode(
        [example_of(str(i), source, task) for i, (source, _) in enumerate(pairs)], training=False
    )
    if len(rows) != len(pairs):
        raise UserError(
            f"a source has more than {task.max_length - 2:,} tokens, which {task.name} reads chunk by chunk (long: "
            "chunks): a text for all of it cannot be scored; leave that judge out, or shorten the source"
        )
    ids = tokenizer.encode_batch([text for _, text in pairs])
    targets = [np.array([*some, tokenizer.sep_id], np.int32)[: task.max_positions] for some in ids]
    objective = FineTuning(model._network, {task.name: task}, {})
    call = partial(token_log_probs, tokenizer=tokenizer)

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        named = batch.replace(task=task.name)  # type: ignore[attr-defined]
        return objective.apply(params, named, call)

    found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(pairs)
    widths = _WIDTHS[np.searchsorted(_WIDTHS, [len(target) for target in targets])]
    for width in np.unique(widths):
        here = np.flatnonzero(widths == width).tolist()
        wanted = np.full((len(here), width), NO_TARGET, np.int32)
        for place, number in enumerate(here):
            wanted[place, : len(targets[number])] = targets[number]
        some = Rows(
            [rows.input_ids[number] for number in here],
            [rows.token_type_ids[number] for number in here],
            {"target_ids": wanted},
            np.arange(len(here), dtype=np.int32),
        )
        scores = model._run(f"task {task.name}, given texts", outputs, some)["log_probs"]
        for place, number in enumerate(here):
            found[number] = scores[place, : len(targets[number])]
    return found
