"""Checkpoints of the original TensorFlow 1 code: read and written without TensorFlow."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.loading import with_overrides
from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.huggingface_tokenizer import write_huggingface_tokenizer
from electra_jax.convert.names import scopes, tensorflow_table
from electra_jax.convert.tensorflow_bundle import (
    is_checkpoint_prefix,
    read_tensors,
    tensor_shapes,
    write_tensors,
)
from electra_jax.convert.vocabulary import find_tokenizer, tokenizer_settings
from electra_jax.convert.weights import Flat, Moments, Weights, check_complete, check_vocabulary
from electra_jax.errors import UserError

# The original's optimizer keeps its moments beside each variable under these names.
_MU, _NU = "adam_m", "adam_v"
_HEAD_SIZE = 64  # of every size the original has; its checkpoints do not say how many heads there are


def find_prefix(path: Path) -> Path | None:
    """The checkpoint prefix that ``path`` means: a prefix, one of its files, or a directory with a checkpoint.

    Raises:
        UserError: a directory with several and nothing that says which.
    """
    if not path.is_dir():
        stem = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name)
        prefix = path.with_name(stem)
        return prefix if is_checkpoint_prefix(prefix) else None
    state = path / "checkpoint"
    if state.is_file():
        named = re.search(r'^model_checkpoint_path: "(.+)"', state.read_text(errors="replace"), re.MULTILINE)
        if named and is_checkpoint_prefix(path / Path(named[1]).name):
            return path / Path(named[1]).name
    prefixes = sorted({file.with_suffix("") for file in path.glob("*.index")})
    if len(prefixes) > 1:
        names = ", ".join(prefix.name for prefix in prefixes)
        raise UserError(f"{path} holds several TensorFlow checkpoints: give one of them: {names}")
    return prefixes[0] if prefixes else None


def read_tensorflow(
    prefix: Path,
    *,
    overrides: Sequence[str] = (),
    vocab: Path | None = None,
    allow_missing: Collection[str] = (),
    optimizer: bool = False,
) -> Weights:
    """Reads both networks of a pre-training checkpoint; the configuration follows from the shapes.

    Args:
        prefix: the checkpoint's, without ``.index``.
        overrides: ``key.path=value`` for what shapes do not tell, such as model.num_heads.
        vocab: the vocabulary; None: ``vocab.txt`` beside the checkpoint, if there is one.
        allow_missing: patterns of names that may be missing, or are left out.
        optimizer: carry Adam's moments along.

    Raises:
        UserError: not a checkpoint of ELECTRA, an incomplete or damaged one.
    """
    table = tensorflow_table()
    known: dict[str, str] = {}
    unexpected: list[str] = []
    moments: list[str] = []
    shapes = tensor_shapes(prefix)
    for name in shapes:
        if name.rpartition("/")[2] in (_MU, _NU):
            moments.append(name)
        elif row := table.to_ours(name):
            known[name] = row.ours
        elif name != "global_step":
            unexpected.append(name)
    if "embeddings/word/embedding" not in known.values():
        raise UserError(
            f"{prefix} is not a checkpoint of ELECTRA: it has no electra/embeddings/word_embeddings, but "
            f"{', '.join(list(shapes)[:3]) or 'nothing'}"
        )
    found_shapes = {ours: shapes[name][1] for name, ours in known.items()}
    rows = found_shapes["embeddings/word/embedding"][0]
    tokenizer, notes = find_tokenizer(prefix.parent, vocab)
    if tokenizer is not None:
        check_vocabulary(str(prefix), tokenizer, rows)
    values = _configuration(prefix, found_shapes)
    if not any(override.startswith("model.num_heads=") for override in overrides):
        notes = (
            *notes,
            f"heads of {_HEAD_SIZE} assumed, as in every size of the original (model.num_heads=N)",
        )
    config = with_overrides(
        {**values, "tokenizer": tokenizer_settings(tokenizer, rows)}, overrides, str(prefix)
    )
    expected = _trained_parts(expected_shapes(config, rows), found_shapes)

    wanted = [*known, *(moments if optimizer else ()), *(("global_step",) if "global_step" in shapes else ())]
    tensors = read_tensors(prefix, wanted)
    parameters = {ours: _float32(tensors[name], name, prefix) for name, ours in known.items()}

    def foreign(name: str) -> str:
        row = table.to_foreign(name)
        return row.foreign if row else name

    check_complete(str(prefix), parameters, expected, unexpected, foreign, allow_missing)
    parameters = {name: parameters[name] for name in expected if name in parameters}
    return Weights(
        config=config,
        parameters=parameters,
        vocab_size=rows,
        tokenizer=tokenizer,
        step=int(tensors.get("global_step", 0)),
        moments=_moments(prefix, tensors, parameters, foreign) if optimizer else None,
        notes=notes,
    )


def _configuration(prefix: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Plain settings of model, generator and objective, from flat names and shapes."""

    def encoder(scope: str) -> tuple[int, int, int]:
        """(width, depth, feed-forward width)."""
        numbers = [int(n) for name in shapes for n in re.findall(rf"^{scope}/layers/(\d+)/", name)]
        try:
            kernel = shapes[f"{scope}/layers/0/intermediate/kernel"]
        except KeyError:
            raise UserError(f"{prefix} has no layer 0 of its {scope.replace('_', ' ')}") from None
        return kernel[0], 1 + max(numbers), kernel[1]

    width, depth, feed_forward = encoder("encoder")
    model = {
        "hidden_size": width,
        "num_layers": depth,
        "num_heads": _assumed_heads(width),
        "intermediate_size": feed_forward,
        "embedding_size": shapes["embeddings/word/embedding"][1],
        "max_positions": shapes["embeddings/position/embedding"][0],
        "type_vocab_size": shapes["embeddings/token_type/embedding"][0],
    }
    parts = scopes(shapes)
    settings: dict[str, Any] = {"model": model}
    if "generator_ltr" in parts:
        settings["objective"] = {"kind": "electric"}
    elif "generator_head" in parts and "discriminator_head" not in parts:
        settings["objective"] = {"kind": "masked_lm"}
    tower = next((part for part in ("generator_encoder", "generator_ltr") if part in parts), None)
    if tower:
        small, small_depth, small_feed_forward = encoder(tower)
        settings["generator"] = {
            "sharing": "none" if "generator_embeddings" in parts else "embeddings",
            "hidden_size": small,
            "num_layers": small_depth,
            "intermediate_size": small_feed_forward,
        }
        if "generator_embeddings" in parts:
            settings["generator"]["embedding_size"] = shapes["generator_embeddings/word/embedding"][1]
    elif {"generator_head", "discriminator_head"} <= parts:
        settings["generator"] = {"sharing": "all", "size_fraction": 1.0}
    positions = shapes["embeddings/position/embedding"][0]
    settings["data"] = {"sequence_length": min(128, positions)}
    return settings


def _trained_parts(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Without the generator, or the discriminator's head, of which the checkpoint has nothing: it may hold less."""
    parts = scopes(found)
    optional = {"generator_encoder", "generator_head", "generator_embeddings"}
    absent = optional if not optional & parts else set()
    return {name: shape for name, shape in expected.items() if name.partition("/")[0] not in absent}


def _float32(array: np.ndarray, name: str, prefix: Path) -> np.ndarray:
    if array.dtype.kind not in "fV" and array.dtype.name != "bfloat16":
        raise UserError(f"{prefix}: {name} is of type {array.dtype}, not a floating-point number")
    return np.asarray(array, np.float32)


def _moments(prefix: Path, tensors: Flat, parameters: Flat, foreign: Any) -> Moments:
    absent = [
        slot
        for name in parameters
        for slot in (f"{foreign(name)}/{_MU}", f"{foreign(name)}/{_NU}")
        if slot not in tensors
    ]
    if absent:
        raise UserError(
            f"{prefix} has no optimizer state for --optimizer to carry along: {absent[0]} is missing "
            f"({len(absent)} of {2 * len(parameters)})"
        )
    return Moments(
        mu={name: tensors[f"{foreign(name)}/{_MU}"] for name in parameters},
        nu={name: tensors[f"{foreign(name)}/{_NU}"] for name in parameters},
    )


def write_tensorflow(weights: Weights, directory: Path) -> list[str]:
    """Writes ``model.ckpt-STEP``, the file that says it is the newest, and the vocabulary.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: a parameter that the format has no name for.
    """
    table = tensorflow_table()
    tensors: dict[str, np.ndarray] = {"global_step": np.asarray(weights.step, np.int64)}
    for name, array in weights.parameters.items():
        row = table.to_foreign(name)
        if row is None:
            raise UserError(
                f"TensorFlow's format has no place for {name}: only pre-training checkpoints go there"
            )
        tensors[row.foreign] = array
        if weights.moments is not None:
            tensors[f"{row.foreign}/{_MU}"] = weights.moments.mu[name]
            tensors[f"{row.foreign}/{_NU}"] = weights.moments.nu[name]
    prefix = directory / f"model.ckpt-{weights.step}"
    write_tensors(prefix, tensors)
    (directory / "checkpoint").write_text(
        f'model_checkpoint_path: "{prefix.name}"\nall_model_checkpoint_paths: "{prefix.name}"\n'
    )
    notes = []
    if weights.tokenizer is not None:
        notes += write_huggingface_tokenizer(
            weights.tokenizer, directory, max_length=weights.config.model.max_positions
        )
        if weights.tokenizer.kind != "wordpiece":
            notes.append("the original reads WordPiece vocabularies only: it cannot tokenise for this model")
    heads = weights.config.model.num_heads
    if heads != _assumed_heads(weights.config.model.hidden_size):
        notes.append(
            "a TensorFlow checkpoint does not say how many attention heads there are; whoever reads it must be told: "
            f"{heads} (here: model.num_heads={heads})"
        )
    return notes


def _assumed_heads(width: int) -> int:
    return max(1, width // _HEAD_SIZE)
