"""Checkpoints of the original TensorFlow 1 code: read and written without TensorFlow."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.blocks import default_heads
from electra_jax.config.fields import MAX_SIZE
from electra_jax.config.loading import validate, with_overrides
from electra_jax.config.networks import ModelConfig
from electra_jax.convert.files.tensorflow_bundle import (
    is_checkpoint_prefix,
    read_tensors,
    tensor_shapes,
    write_tensors,
)
from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.huggingface_tokenizer import write_huggingface_tokenizer
from electra_jax.convert.names import scopes, tensorflow_table
from electra_jax.convert.vocabulary import (
    apply_tokenizer_overrides,
    find_tokenizer,
    pad_vocabulary,
    tokenizer_settings,
)
from electra_jax.convert.weights import (
    AdamMoments,
    FlatParams,
    Weights,
    check_complete,
    check_num_layers,
    check_patterns_used,
    check_vocabulary,
    is_rounded,
    num_layers_of,
)
from electra_jax.errors import UserError, listed
from electra_jax.files.file_names import is_file_name
from electra_jax.files.regular_files import read_regular
from electra_jax.model.sizes import network_sizes
from electra_jax.objectives.kinds import is_causal
from electra_jax.training.checkpoints import MAX_STEPS

# The original's optimizer keeps its moments beside each variable under these names.
_MU, _NU = "adam_m", "adam_v"


def find_prefix(path: Path) -> Path | None:
    """Return the checkpoint prefix that ``path`` means: a prefix, one of its files, or a directory with a checkpoint.

    Raises:
        UserError: a directory with several checkpoints, and nothing says which.
    """
    if not path.is_dir():
        stem = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name)
        prefix = path.with_name(stem) if stem else path
        return prefix if is_checkpoint_prefix(prefix) else None
    state = path / "checkpoint"
    if state.is_file():
        named = re.search(r'^model_checkpoint_path: "(.+)"', _text(state), re.MULTILINE)
        if named and is_file_name(Path(named[1]).name) and is_checkpoint_prefix(path / Path(named[1]).name):
            return path / Path(named[1]).name
    prefixes = sorted({file.with_suffix("") for file in path.glob("*.index")})
    if len(prefixes) > 1:
        names = ", ".join(prefix.name for prefix in prefixes)
        raise UserError(f"{path} holds several TensorFlow checkpoints: give one of them: {names}")
    return prefixes[0] if prefixes else None


def _text(state: Path) -> str:
    try:
        return read_regular(state, max_bytes=1 << 20).decode(errors="replace")
    except OSError as error:
        raise UserError(
            f"{state} cannot be read ({error.strerror}): give the prefix of a checkpoint"
        ) from None


def read_tensorflow(
    prefix: Path,
    *,
    overrides: Sequence[str] = (),
    vocab: Path | None = None,
    allow_missing: Collection[str] = (),
    optimizer: bool = False,
) -> Weights:
    """Read both networks of a pre-training checkpoint; the configuration follows from the shapes.

    Args:
        prefix: of the checkpoint, without ``.index``.
        overrides: ``key.path=value`` for what shapes do not tell, such as model.num_heads.
        vocab: the vocabulary; None: ``vocab.txt`` beside the checkpoint, if there is one.
        allow_missing: patterns of names that may be missing, or are left out.
        optimizer: whether to read Adam's moments.

    Raises:
        UserError: not a checkpoint of ELECTRA, or an incomplete or damaged one.
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
            f"{listed(shapes, limit=3) or 'nothing'}"
        )
    found_shapes = {ours: shapes[name][1] for name, ours in known.items()}
    values = _derive_config(prefix, found_shapes)
    rows = found_shapes["embeddings/word/embedding"][0]
    tokenizer, notes = find_tokenizer(prefix.parent, vocab)
    if tokenizer is not None:
        tokenizer, row_notes = pad_vocabulary(tokenizer, rows)
        notes = (*notes, *row_notes)
        check_vocabulary(str(prefix), tokenizer, rows)
    values["tokenizer"] = tokenizer_settings(tokenizer, rows)
    derived, config = validate(values, str(prefix)), with_overrides(values, overrides, str(prefix))
    tokenizer = apply_tokenizer_overrides(tokenizer, config.tokenizer, derived.tokenizer, str(prefix))
    if not any(override.startswith("model.num_heads=") for override in overrides):
        notes = (*notes, "heads of 64 assumed, as in every size of the original (model.num_heads=N)")
    check_num_layers(str(prefix), found_shapes, network_sizes(config.model, config.generator, rows))
    expected = _trained_parts(expected_shapes(config, rows), found_shapes)

    wanted = [*known, *(moments if optimizer else ()), *(("global_step",) if "global_step" in shapes else ())]
    tensors = read_tensors(prefix, wanted)
    parameters = {ours: _float32(tensors[name], name, prefix) for name, ours in known.items()}
    if rounded := [name for name, ours in known.items() if is_rounded(tensors[name], parameters[ours])]:
        notes = (*notes, f"{prefix}: rounded from float64 to float32: {listed(rounded, limit=3)}")
    ours = {*expected, *parameters}
    spellings = {*ours, *(table.foreign_or_same(name).foreign for name in ours), *unexpected}
    check_patterns_used(str(prefix), spellings, allow_missing)
    check_complete(str(prefix), parameters, expected, unexpected, table.foreign_or_same, allow_missing)
    parameters = {name: parameters[name] for name in expected if name in parameters}
    return Weights(
        config=config,
        parameters=parameters,
        vocab_size=rows,
        tokenizer=tokenizer,
        step=_step(prefix, tensors.get("global_step", np.zeros((), np.int64))),
        moments=_moments(prefix, tensors, parameters) if optimizer else None,
        notes=notes,
    )


def _derive_config(prefix: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the settings of model, generator and objective that follow from flat names and shapes."""

    def encoder(scope: str) -> tuple[int, int, int]:
        """Return (width, depth, feed-forward width)."""
        try:
            kernel = shapes[f"{scope}/layers/0/intermediate/kernel"]
        except KeyError:
            raise UserError(f"{prefix} has no layer 0 of its {scope.replace('_', ' ')}") from None
        _check_matrix(prefix, f"{scope}/layers/0/intermediate/kernel", kernel)
        return kernel[0], num_layers_of(shapes, scope), kernel[1]

    def table(name: str) -> tuple[int, ...]:
        """Return rows and columns."""
        shape = shapes.get(f"{name}/embedding", ())
        _check_matrix(prefix, f"{name}/embedding", shape)
        return shape

    width, depth, feed_forward = encoder("encoder")
    model = {
        "hidden_size": width,
        "num_layers": depth,
        "num_heads": default_heads(width),
        "intermediate_size": feed_forward,
        "embedding_size": table("embeddings/word")[1],
        "max_positions": table("embeddings/position")[0],
        "type_vocab_size": table("embeddings/token_type")[0],
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
            settings["generator"]["embedding_size"] = table("generator_embeddings/word")[1]
    elif {"generator_head", "discriminator_head"} <= parts:
        settings["generator"] = {"sharing": "all", "size_fraction": 1.0}
    settings["data"] = {"sequence_length": min(128, model["max_positions"])}
    return settings


def _check_matrix(prefix: Path, ours: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or not all(0 < size <= MAX_SIZE for size in shape):
        raise UserError(
            f"{prefix} has no matrix {tensorflow_table().foreign_or_same(ours).foreign}, from which sizes follow: "
            "give a checkpoint of ELECTRA's pre-training"
        )


def _trained_parts(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Return the expected shapes without those of the generator, if the checkpoint has no part of it.

    Checkpoints without a generator are complete, too.
    """
    parts = scopes(found)
    optional = {"generator_encoder", "generator_head", "generator_embeddings"}
    absent = optional if not optional & parts else set()
    return {name: shape for name, shape in expected.items() if name.partition("/")[0] not in absent}


def _step(prefix: Path, counted: np.ndarray) -> int:
    """Return the number of updates, which becomes part of file names."""
    if counted.size != 1 or counted.dtype.kind not in "iuf" or not 0 <= counted.item() <= MAX_STEPS:
        shown = f"{counted.dtype} {counted.item()}" if counted.size == 1 else f"of shape {counted.shape}"
        raise UserError(f"{prefix}: global_step is {shown}, which is no number of updates: save it again")
    return int(counted.item())


def _float32(array: np.ndarray, name: str, prefix: Path) -> np.ndarray:
    if array.dtype.kind not in "fV" and array.dtype.name != "bfloat16":
        raise UserError(f"{prefix}: {name} is of type {array.dtype}, not a floating-point number")
    with np.errstate(over="ignore"):  # infinite parameters are noted later, for every format
        return np.asarray(array, np.float32)


def _moments(prefix: Path, tensors: FlatParams, parameters: FlatParams) -> AdamMoments:
    theirs = {name: tensorflow_table().foreign_or_same(name).foreign for name in parameters}
    slots = {name: (f"{foreign}/{_MU}", f"{foreign}/{_NU}") for name, foreign in theirs.items()}
    absent = [slot for pair in slots.values() for slot in pair if slot not in tensors]
    if absent:
        raise UserError(
            f"{prefix} has no optimizer state for --optimizer to carry along: {absent[0]} is missing "
            f"({len(absent)} of {2 * len(parameters)}), leave that out"
        )
    for name, pair in slots.items():
        if odd := [slot for slot in pair if tensors[slot].shape != parameters[name].shape]:
            raise UserError(
                f"{prefix}: {odd[0]} has not the shape of {theirs[name]}: it cannot be carried along"
            )
    mu, nu = (
        {name: _float32(tensors[pair[which]], pair[which], prefix) for name, pair in slots.items()}
        for which in (0, 1)
    )
    return AdamMoments(mu, nu)


def write_tensorflow(weights: Weights, directory: Path) -> list[str]:
    """Write ``model.ckpt-STEP``, the file that says it is the newest, and the vocabulary.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: a parameter that the format has no name for.
    """
    if is_causal(weights.config.objective):
        raise UserError(
            "the original has no causal language model, and would read this one as a masked one: convert it to "
            "huggingface"
        )
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
    if not_stored := _settings_not_stored(weights):
        notes.append(
            "a TensorFlow checkpoint does not hold all of the configuration; whoever reads it must be told: "
            f"{' '.join(not_stored)}"
        )
    return notes


def _settings_not_stored(weights: Weights) -> list[str]:
    """Return settings that change what the networks compute, follow from no shape, and differ from the original's."""
    config = weights.config
    sizes = network_sizes(config.model, config.generator, weights.vocab_size)
    encoders = {"model": sizes.discriminator}
    if scopes(weights.parameters) & {"generator_encoder", "generator_ltr"}:
        encoders["generator"] = sizes.generator
    not_stored = [
        f"{section}.num_heads={encoder.num_heads}"
        for section, encoder in encoders.items()
        if encoder.num_heads != default_heads(encoder.hidden_size)
    ]
    default = ModelConfig().layer_norm_epsilon
    if config.model.layer_norm_epsilon != default:
        not_stored.append(f"model.layer_norm_epsilon={config.model.layer_norm_epsilon}")
    return not_stored
