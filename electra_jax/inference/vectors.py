"""Vectors of texts: the pooled states behind a layer of the encoder.

The last layers of a discriminator are the worst for what a sentence means (Rep et al. 2024, arXiv 2402.13130).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.errors import UserError
from electra_jax.inference.items import as_items, text_of
from electra_jax.model.pooling import Pooling, pooled
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.kinds import is_causal
from electra_jax.tasks.protocol import Rows, TaskBatch

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


def encode(
    model: Model, texts: str | Iterable[str], pooling: Pooling, layer: int | None, cut: list[bool] | None
) -> np.ndarray:
    """Return a vector for each text; see `Model.encode`."""
    items, one = as_items(texts, "encode", "a text")
    if pooling not in ("mean", "first"):
        raise UserError(f"pooling is {pooling!r}, but must be 'mean' or 'first'")
    depth = model.config.model.num_layers
    layer = check_layer(layer, depth)
    checked = [text_of(text, f"encode: item {i}") for i, text in enumerate(items)]
    # The warning points at the caller of Model.encode.
    rows = model._rows(model.tokenizer.encode_batch(checked), cut, stacklevel=4)
    if not len(rows):
        return np.zeros((0, model.config.model.hidden_size), np.float32)
    vectors = pooled_states(model, rows, [layer], pooling)[:, 0]
    return vectors[0] if one else vectors


def check_layer(layer: int | None, depth: int) -> int:
    """Return the number of a layer of an encoder with ``depth`` of them; None is the last.

    Raises:
        UserError: it has no such layer.
    """
    if layer is None:
        return depth
    if not isinstance(layer, int) or isinstance(layer, bool) or not 0 <= layer <= depth:
        raise UserError(
            f"layer is {layer!r}, but must be a number from 0, the embeddings, to {depth}, the last layer"
        )
    return layer


def pooled_states(model: Model, rows: Rows, layers: Sequence[int], pooling: Pooling) -> np.ndarray:
    """Return of each row the pooled states behind some layers, float32 ``[rows, layers, hidden]``.

    The state behind a layer is what an encoder that ends with it would give; 0 are the embeddings, as wide as a layer.

    Raises:
        UserError: the model is a causal language model.
    """
    if is_causal(model.config.objective):
        raise UserError(
            "a causal language model sees only what is before a token, and has no vectors of texts: fine-tune it, "
            "which lets it see both sides, or load an encoder"
        )
    encoder = model._network.config.encoder
    networks = [
        TextEncoder(replace(model._network.config, encoder=replace(encoder, num_layers=layer)))
        for layer in layers
    ]

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        real = batch.inputs.segment_ids != 0
        vectors = []
        for layer, network in zip(layers, networks, strict=True):
            hidden: Any = network.apply(
                {"params": first_layers(params, layer)}, batch.inputs, None, method="encode"
            )
            vectors.append(pooled(hidden.astype(jnp.float32), real, pooling))
        return {"states": jnp.stack(vectors, axis=1)}

    return model._run(f"states {pooling} {list(layers)}", outputs, rows)["states"]


def first_layers(params: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return embeddings and encoder with the first layers alone; layers are stacked on a leading axis."""
    layers = jax.tree.map(lambda leaf: leaf[:depth], params["encoder"]["layers"])
    return {"embeddings": params["embeddings"], "encoder": {**params["encoder"], "layers": layers}}
