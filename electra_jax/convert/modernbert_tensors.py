"""Tensors of Hugging Face's ModernBERT, between how they are stored and the names of the table (`names`).

Stored, query, key and value are one matrix, and so are the two halves of a gated feed-forward layer; the first block
has no LayerNorm before its attention. Here each part is a tensor, and that LayerNorm is there, of ones, and never read.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.names import FUSED
from electra_jax.convert.state_dicts import NetworkStateDict, canonical_name, first_parts
from electra_jax.convert.weights import FlatParams
from electra_jax.errors import UserError, listed

_WORDS, _TIED = "model.embeddings.tok_embeddings.weight", "decoder.weight"
_FIRST_NORM = "layers.0.attn_norm.weight"
_BARE = ("embeddings.", "layers.", "final_norm.")
_FUSED = re.compile(rf"(.+\.({'|'.join(map(re.escape, FUSED))}))\.weight", re.DOTALL)


def is_modernbert(names: Iterable[str]) -> bool:
    """Return whether tensors of these names are a ModernBERT's."""
    return any(name.endswith(_WORDS.removeprefix("model.")) for name in names)


def modernbert_state_dict(
    where: str, stored: FlatParams, others: Iterable[str] = ()
) -> tuple[NetworkStateDict, list[str]]:
    """Return the one network in a file, by the names of the table, and notes on which tensors are used.

    Args:
        where: the file, for messages.
        stored: its tensors by the names they have there.
        others: names of what else is in it.

    Raises:
        UserError: there is none, or several; two names mean one parameter; or its output table is not its word table.
    """
    canonical = {name: canonical_name(name) for name in stored}
    words = _WORDS.removeprefix("model.")
    roots = [name.removesuffix(words) for name in canonical.values() if name.endswith(words)]
    if len(roots) != 1:
        raise UserError(
            f"{where} holds {'no ModernBERT' if not roots else 'several networks'} ({words} is there {len(roots)} "
            "times): save the state dict of the one that is meant"
        )
    bare = roots[0].rpartition(".")[0].rpartition(".")[2] != "model"
    root = roots[0] if bare else roots[0].removesuffix("model.")
    tensors: dict[str, np.ndarray] = {}
    left = [name for name in others if name]
    for name, full in canonical.items():
        if not full.startswith(root):
            left.append(name)
            continue
        own = full[len(root) :]
        own = f"model.{own}" if bare and own.startswith(_BARE) else own
        if own in tensors:
            raise UserError(f"{where} holds {own} twice: save it once")
        tensors[own] = stored[name]
    tied = tensors.pop(_TIED, None)
    if tied is not None and (difference := first_difference(tied, tensors[_WORDS])):
        raise UserError(
            f"{where}: {_TIED} is not the word table ({_WORDS}), they differ {difference}; here both are one table"
        )
    notes = []
    if root or left:
        under = f" under {root}" if root else ""
        notes.append(
            f"{where}: taken are {len(tensors)} tensors{under}, left {listed(first_parts(left)) or 'none'}"
        )
    return NetworkStateDict(_in_parts(tensors), bare=bare, tied=tied is not None), notes


def _in_parts(tensors: FlatParams) -> dict[str, np.ndarray]:
    """Return the tensors with each part of a fused matrix by itself, and the LayerNorm of the first block."""
    made: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        if (fused := _FUSED.fullmatch(name)) and array.ndim:
            parts = FUSED[fused[2]]
            pieces = np.array_split(array, len(parts))
            made |= {f"{fused[1]}.{part}.weight": piece for part, piece in zip(parts, pieces, strict=True)}
        else:
            made[name] = array
    if (norm := tensors.get("model.final_norm.weight")) is not None:
        made.setdefault(f"model.{_FIRST_NORM}", np.ones_like(norm))
    return made


def as_modernbert(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tensors by the names of the table as a ModernBERT stores them."""
    made = {name: array for name, array in tensors.items() if not name.endswith(_FIRST_NORM)}
    for name in tensors:
        for fused, parts in FUSED.items():
            before, found, after = name.rpartition(f".{fused}.{parts[0]}.")
            if found:
                pieces = [made.pop(f"{before}.{fused}.{part}.{after}") for part in parts]
                made[f"{before}.{fused}.{after}"] = np.concatenate(pieces)
    return made
