"""Semantic textual similarity: how the cosine of two texts' vectors goes with how alike people find them.

Spearman's correlation, as for STS-B (Cer et al. 2017), over the pairs of all files together, as Gao et al. 2021 do
(SimCSE, arXiv 2104.08821).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.inference.model import Model
from electra_jax.inference.vectors import check_layer, pooled_states
from electra_jax.model.pooling import Pooling
from electra_jax.tasks.metrics import spearman
from electra_jax.tasks.protocol import TextExample


def layers_named(name: str | None, depth: int) -> list[int]:
    """Return the layers that a command is asked for: one by its number, "all", or with None the last.

    Raises:
        UserError: it names none that is there.
    """
    if name == "all":
        return list(range(depth + 1))
    if name is not None and not name.isdecimal():
        raise UserError(f"--layer is {name!r}, but must be the number of a layer, or all")
    return [check_layer(None if name is None else int(name), depth)]


def similarities(
    model: Model, pairs: Sequence[TextExample], layers: Sequence[int], pooling: Pooling, cut: list[bool]
) -> np.ndarray:
    """Return the cosine of the vectors of each pair by each of some layers, float32 ``[layers, pairs]``.

    Args:
        model: whose vectors they are.
        pairs: of texts.
        layers: from 0, the embeddings.
        pooling: of the states behind a layer.
        cut: whether each text was cut is appended.
    """
    texts = [pair.text for pair in pairs] + [pair.pair or "" for pair in pairs]
    rows = model._rows(model.tokenizer.encode_batch(texts), cut)
    vectors = pooled_states(model, rows, layers, pooling)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    products: np.ndarray = (vectors[: len(pairs)] * vectors[len(pairs) :]).sum(axis=-1).T
    return products


def sts_figures(
    model: Model,
    files: Sequence[tuple[str, Sequence[TextExample]]],
    layers: Sequence[int],
    pooling: Pooling,
) -> dict[str, Any]:
    """Return Spearman's correlation times 100 over the pairs of all files, with more layers or files for each.

    Args:
        model: whose vectors are compared.
        files: name and pairs of each, with scores.
        layers: whose states are pooled; the first figure is that of the last of them.
        pooling: of the states.
    """
    pairs = [pair for _, some in files for pair in some]
    gold: list[Any] = [pair.label for pair in pairs]
    cut: list[bool] = []
    found = similarities(model, pairs, layers, pooling, cut)
    by_layer = {str(layer): spearman(gold, of_one) for layer, of_one in zip(layers, found, strict=True)}
    figures: dict[str, Any] = {
        "spearman": by_layer[str(layers[-1])],
        "layer": layers[-1],
        "pooling": pooling,
        "pairs": len(pairs),
        "truncated": sum(cut),
    }
    if len(layers) > 1:
        figures["layers"] = by_layer
    if len(files) > 1:
        ends = np.cumsum([len(some) for _, some in files])
        split = np.split(np.arange(len(pairs)), ends[:-1])
        figures["files"] = {
            name: spearman([gold[n] for n in numbers], found[-1][numbers])
            for (name, _), numbers in zip(files, split, strict=True)
        }
    return figures
