"""The tensors of a Hugging Face folder by our names, and a folder of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.convert.huggingface_config import ARCHITECTURES
from electra_jax.convert.huggingface_folder import CONFIG
from electra_jax.convert.huggingface_heads import Head
from electra_jax.convert.huggingface_tokenizer import write_huggingface_tokenizer
from electra_jax.convert.modernbert_tensors import as_modernbert
from electra_jax.convert.names import NameTable, huggingface_table
from electra_jax.convert.weight_files import SAFETENSORS, write_safetensors
from electra_jax.convert.weights import FlatParams, Weights
from electra_jax.errors import UserError, listed


def to_flat_names(
    folder: Path, tensors: FlatParams, table: NameTable
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the parameters by flat name, and the names that are not in the table.

    Raises:
        UserError: none is in the table, or one is not of floating-point numbers, such as a quantised one.
    """
    found: dict[str, np.ndarray] = {}
    unexpected: list[str] = []
    for name, array in tensors.items():
        row = table.to_ours(name)
        if row is None:
            unexpected.append(name)
        elif array.dtype != np.float32:
            raise UserError(
                f"{folder}: {name} is of type {array.dtype}, not a floating-point number: give the original weights, "
                "not quantised ones"
            )
        else:
            found[row.ours] = np.ascontiguousarray(array.T) if row.transposed else array
    if not found:
        raise UserError(
            f"{folder} holds no weights of ELECTRA, but {listed(unexpected, limit=3) or 'nothing'}: give the folder of "
            f"an {' or '.join(ARCHITECTURES.values())}"
        )
    return found, unexpected


def table_with_head(head: Head) -> NameTable:
    """Return the names of the encoder with a head of fine-tuning, in place of the pre-training head."""
    encoder = [
        row
        for row in huggingface_table("discriminator", block=head.block).rows
        if not row.ours.startswith("discriminator_head/")
    ]
    return NameTable((*encoder, *head.rows))


def write_folder(
    weights: Weights,
    folder: Path,
    table: NameTable,
    parameters: FlatParams,
    description: Mapping[str, Any],
    *,
    as_prompts: bool = False,
) -> list[str]:
    """Write one folder with the parameters in the table and the tokenizer; return notes on the tokenizer."""
    tensors = {}
    for name, array in parameters.items():
        row = table.to_foreign(name)
        if row is not None:
            tensors[row.foreign] = np.ascontiguousarray(array.T if row.transposed else array)
    modern = weights.config.model.block == "modern"
    if modern:
        tensors = as_modernbert(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / SAFETENSORS, tensors)
    (folder / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if weights.tokenizer is None:
        return []
    return write_huggingface_tokenizer(
        weights.tokenizer,
        folder,
        max_length=weights.config.model.max_positions,
        as_prompts=as_prompts,
        token_types=not modern,
    )
