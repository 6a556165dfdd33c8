"""Which tokens of a text look replaced: what `Model.detect` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
from jax import Array

from electra_jax.errors import UserError
from electra_jax.inference.items import as_items, text_of
from electra_jax.tasks.protocol import TaskBatch

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


@dataclass(frozen=True)
class Token:
    """A token of a text, and how likely it is that it was replaced.

    Attributes:
        text: its characters in the text.
        start: the first of them.
        end: the character after the last.
        replaced: the probability that the token was replaced.
    """

    text: str
    start: int
    end: int
    replaced: float


def detect(model: Model, texts: Any, cut: list[bool] | None, most_rows: int | None = None) -> Any:
    """Find how likely each token of one text or many was replaced; see `Model.detect`.

    Args:
        model: with a discriminator.
        texts: a list of texts, or one.
        cut: as there.
        most_rows: of a batch; None: as many as are efficient where there are many texts.

    Raises:
        UserError: the model has no discriminator's head; something that is not a text.
    """
    items, one = as_items(texts, "detect", "a text")
    if "discriminator_head" not in model._params:
        raise UserError(
            f"this model ({model.config.kind_of_run}) has no discriminator's head: detect needs a pre-trained "
            "ELECTRA, not fine-tuned"
        )
    checked = [text_of(text, f"detect: item {i}") for i, text in enumerate(items)]
    encodings = [model.tokenizer.encode_with_offsets(text) for text in checked]

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        used = {name: params[name] for name in ("embeddings", "encoder", "discriminator_head")}
        logits: Any = model._network.apply({"params": used}, batch.inputs, None, method="discriminate")
        return {"replaced": jax.nn.sigmoid(logits)}

    rows = model._rows([encoding.ids for encoding in encodings], cut, stacklevel=4)
    found = model._run("detect", outputs, rows, most_rows=most_rows)
    results = []
    for number, (text, encoding) in enumerate(zip(checked, encodings, strict=True)):
        spans = encoding.offsets[: model.max_length - 2]
        results.append(
            [
                Token(text[begin:end], begin, end, float(found["replaced"][number, place + 1]))
                for place, (begin, end) in enumerate(spans)
            ]
        )
    return results[0] if one else results
