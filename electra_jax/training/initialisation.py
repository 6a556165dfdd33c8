"""Starting a run from other parameters (``init_from``): what must fit, what is taken, what is initialised instead."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.fields import Section
from electra_jax.config.loading import validate
from electra_jax.config.networks import GeneratorConfig
from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import broadcast_from_host_0
from electra_jax.errors import UserError
from electra_jax.model.disentangled import TABLES, is_disentangled
from electra_jax.model.sizes import NetworkSizes, network_sizes
from electra_jax.objectives.kinds import same_objective
from electra_jax.partitioning.axes import KeyPath, parameter_axes, path_name
from electra_jax.partitioning.mesh import replicated
from electra_jax.tokenizers import Tokenizer, load_tokenizer
from electra_jax.training.checkpoints import (
    RunIdentity,
    find_checkpoint,
    read_identity,
    restore_params,
    saved_shapes,
)
from electra_jax.training.program import Program
from electra_jax.training.seed_selection import run_directory
from electra_jax.training.workdir import WorkDir

DISCRIMINATOR = ("embeddings", "encoder", "discriminator_head")
_MODEL_SIZES = (
    "model.block",
    *("model.hidden_size", "model.num_layers", "model.num_heads", "model.intermediate_size"),
    *("model.embedding_size", "model.max_positions", "model.type_vocab_size"),
)
# What changes no shape, but what the parameters mean.
_ATTENTION = ("model.local_attention", "model.rope_theta")


@dataclass(frozen=True)
class InitialCheckpoint:
    """The checkpoint that ``init_from`` names.

    Attributes:
        step: Its step.
        directory: The ``checkpoints`` directory it is in.
        identity: What it belongs to.
        config: The configuration it was trained or converted with.
    """

    step: int
    directory: Path
    identity: RunIdentity
    config: Config

    @property
    def path(self) -> Path:
        """The checkpoint itself."""
        return self.directory / str(self.step)

    @property
    def run(self) -> Path:
        """The work directory it belongs to."""
        return run_directory(self.directory)

    @property
    def tokenizer(self) -> Path:
        """The tokenizer beside it."""
        return WorkDir(self.run).tokenizer


@dataclass(frozen=True)
class Adaptation:
    """What of a checkpoint is not taken, or not as it is.

    Attributes:
        reinitialized: Names that start anew though the checkpoint has them.
        source_names: The names that parameters have in the checkpoint, by ours, where they differ.
        transforms: What is done to a parameter, by name; it keeps its shape.
        notes: Lines that say so.
    """

    reinitialized: frozenset[str] = frozenset()
    source_names: Mapping[str, str] = field(default_factory=dict)
    transforms: Mapping[str, Callable[[jax.Array], jax.Array]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# (the checkpoint, shapes of its parameters, shapes of the run's) → what is to be done.
Adapt = Callable[
    [InitialCheckpoint, Mapping[str, tuple[int, ...]], Mapping[str, tuple[int, ...]]], Adaptation
]


def find_initial_checkpoint(init_from: str) -> InitialCheckpoint:
    """Find the checkpoint of ``init_from``, and read what it belongs to.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    try:
        step, directory = find_checkpoint(Path(init_from))
    except UserError as error:
        raise UserError(
            f"init_from {init_from}: {error} (checkpoints of Hugging Face and TensorFlow are converted first: "
            "python -m electra_jax.convert --help)"
        ) from None
    identity = read_identity(directory, step)
    return InitialCheckpoint(step, directory, identity, validate(identity.config, str(directory / str(step))))


def resolve_checkpoint(name: str, init_from: str) -> str:
    """Return the path of the checkpoint that ``init_from`` names now, the same on every host.

    A run that is still training may save another one before it is read.

    Args:
        name: names this exchange between hosts; used once in a run.
        init_from: a work directory or one of its checkpoints.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    return broadcast_from_host_0(name, lambda: str(find_initial_checkpoint(init_from).path))


def check_initial_checkpoint(config: Config, init_from: str) -> None:
    """Refuse a checkpoint of another model.

    Raises:
        UserError: The encoders differ, or it has a generator and that differs; or it has none, and the run learns the
            differences to one's tables.
    """
    origin = find_initial_checkpoint(init_from)
    ours, theirs = (network_sizes(c.model, c.generator, vocab_size=1) for c in (config, origin.config))
    rotary = config.model.block == "modern"  # no position is learned
    if rotary or ours.max_positions > theirs.max_positions:  # the position table is stretched
        theirs = replace(theirs, max_positions=ours.max_positions)
    if (first := config.finetune.first_layers) is not None:
        depth = min(first, theirs.discriminator.num_layers)
        theirs = replace(theirs, discriminator=replace(theirs.discriminator, num_layers=depth))
    same_encoder = config.model.block == origin.config.model.block
    same_encoder &= _encoder_shapes(ours) == _encoder_shapes(theirs)
    keys: tuple[str, ...] = () if same_encoder else _MODEL_SIZES
    same_generator = _generator_shapes(config.generator, ours) == _generator_shapes(
        origin.config.generator, theirs
    )
    # Fine-tuning has no generator, whose depth follows from the encoder's.
    same_generator |= first is not None
    has_generator = _has_our_generator(config.objective, origin)
    if has_generator and not same_generator:
        keys = (*_MODEL_SIZES, "generator.")
    if keys:
        changes = [change for change in differences(origin.config, config) if change.key.startswith(keys)]
        raise UserError(
            f"init_from {init_from}: {origin.path} has the parameters of another model: "
            f"{format_differences(changes)}; set them as they were there"
        )
    if is_disentangled(config) and not has_generator:
        instead = "embeddings" if config.generator.frozen_from is None else "none"
        raise UserError(
            f"init_from {init_from}: {origin.path} has no generator of objective.kind=electra, to whose tables those "
            f"of generator.sharing=gdes are the differences: set generator.sharing={instead}"
        )


def attention_notes(config: Config, init_from: str) -> list[str]:
    """Return a line if attention has the parameters of ``init_from``, but other windows or wavelengths."""
    origin = find_initial_checkpoint(init_from)
    changes = [c for c in differences(origin.config, config) if c.key.startswith(_ATTENTION)]
    if not changes:
        return []
    return [f"note: attention is not as {origin.path} learned it: {format_differences(changes)}"]


def _encoder_shapes(sizes: NetworkSizes) -> tuple[object, ...]:
    return sizes.discriminator, sizes.embedding_size, sizes.max_positions, sizes.type_vocab_size


def _generator_shapes(generator: GeneratorConfig, sizes: NetworkSizes) -> tuple[object, ...]:
    return sizes.generator, sizes.generator_embedding_size, generator.sharing


def _has_our_generator(objective: Section, origin: InitialCheckpoint) -> bool:
    """Return whether the checkpoint has a generator at all, and for the same kind of objective."""
    return same_objective(objective, origin.config.objective) and any(
        _scope(name) not in DISCRIMINATOR for name in saved_shapes(origin.directory, origin.step)
    )


def check_vocabulary(init_from: str, tokenizer: Tokenizer) -> int:
    """Refuse a tokenizer whose ids do not mean what they meant in the checkpoint.

    Returns:
        How many ids the checkpoint knows; a larger vocabulary, the same up to there, extends it.

    Raises:
        UserError: They mean something else.
    """
    origin = find_initial_checkpoint(init_from)
    if origin.identity.tokenizer is None:
        known = origin.config.tokenizer.vocab_size or 0
        if tokenizer.vocab_size < known:
            raise UserError(
                f"init_from {init_from}: {origin.path} has embeddings of {known} tokens, this vocabulary only "
                f"{tokenizer.vocab_size}: use the vocabulary the checkpoint was trained with"
            )
        return known
    if origin.identity.tokenizer == tokenizer.fingerprint:
        return tokenizer.vocab_size
    old = load_tokenizer(origin.tokenizer)
    extends = old.kind == tokenizer.kind and old.vocab_size < tokenizer.vocab_size
    if not extends or any(old.token(i) != tokenizer.token(i) for i in range(old.vocab_size)):
        raise UserError(
            f"init_from {init_from} was trained with another vocabulary: use the one in {origin.tokenizer} "
            "(tokenizer.vocab_file and the other settings of its config.yaml), or one that only adds tokens at its end"
        )
    return old.vocab_size


def initial_params(
    objective: Section,
    init_from: str,
    tokenizer: Tokenizer,
    program: Program[Any],
    fresh: Any,
    adapt: Adapt | None = None,
) -> tuple[Any, list[str]]:
    """Restore the parameters to start from.

    Args:
        objective: The section ``objective`` of the run.
        init_from: The checkpoint's path, already checked.
        tokenizer: Of the run.
        program: Of the run, for layouts.
        fresh: Newly initialised parameters, used where the checkpoint has none.
        adapt: Says what of the checkpoint is not taken as it is; None takes all.

    Returns:
        Parameters laid out as ``program`` says, and lines about where they come from.

    Raises:
        UserError: Parameters that cannot be read, or of other shapes.
    """
    origin = find_initial_checkpoint(init_from)
    known = check_vocabulary(init_from, tokenizer)
    saved = saved_shapes(origin.directory, origin.step)
    usable = _has_our_generator(objective, origin)
    flat = flatten_dict(fresh, sep="/")
    adaptation = Adaptation()
    if adapt is not None:
        adaptation = adapt(origin, saved, {name: tuple(leaf.shape) for name, leaf in flat.items()})
    theirs = {name: adaptation.source_names.get(name, name) for name in flat}
    named = adaptation.source_names
    there = {
        name
        for name in flat
        if theirs[name] in saved and (usable or _scope(name) in DISCRIMINATOR or name in named)
    }
    taken = there - adaptation.reinitialized
    notes = [f"parameters from {origin.path}, optimizer fresh", *adaptation.notes]
    if absent := _summarize(flat.keys() - adaptation.reinitialized, taken):
        notes.append(f"initialised as configured, since {origin.path} has none for it: {', '.join(absent)}")
    if origin.identity.tokenizer is None:
        notes.append(f"note: {origin.path} does not hold its vocabulary: only the size was compared")
    notes += _stretched(saved, flat, taken, theirs)
    if known < tokenizer.vocab_size:
        notes.append(f"vocabulary: {known} rows kept, {tokenizer.vocab_size - known} added")

    abstract = flatten_dict(program.abstract.params, sep="/")
    wanted = {theirs[name]: abstract[name] for name in taken}
    # Not where the run has a generator to which they are the difference.
    differences_to = {} if usable or not is_disentangled(origin.config) else _bases(taken)
    wanted |= {base: abstract[name] for name, base in differences_to.items()}
    renamed = unflatten_dict(wanted, sep="/")
    read = restore_params(origin.directory, origin.step, _with_saved_rows(renamed, saved, program))
    read = flatten_dict(read, sep="/")
    read |= {name: jax.jit(jnp.add)(read[name], read[base]) for name, base in differences_to.items()}
    loaded = unflatten_dict({name: read[theirs[name]] for name in taken}, sep="/")

    def merge(path: KeyPath, old: Any, new: Any) -> Any:
        if (change := adaptation.transforms.get(path_name(path))) is not None:
            old = jax.jit(change, out_shardings=None if _is_vocabulary(path, new) else new.sharding)(old)
        if _first_axis(path, new) == "position" and old.shape != new.shape:
            return jax.jit(_tiled, static_argnums=1, out_shardings=new.sharding)(old, new.shape[0])
        if _first_axis(path, new) == "layers" and old.shape != new.shape:
            return jax.jit(_first_rows, static_argnums=1, out_shardings=new.sharding)(old, new.shape[0])
        if not _is_vocabulary(path, new):
            return old
        return jax.jit(_merge_rows, static_argnums=2, out_shardings=new.sharding)(old, new, known)

    merged = jax.tree_util.tree_map_with_path(merge, loaded, _select(fresh, taken))
    return unflatten_dict({**flat, **flatten_dict(merged, sep="/")}, sep="/"), notes


def _bases(taken: Collection[str]) -> dict[str, str]:
    """Return by name of a table of differences that of the table they are differences to."""
    tables = (f"embeddings/{name}/embedding" for name in TABLES)  # in the same order on all hosts
    return {name: f"generator_{name}" for name in tables if name in taken}


def _stretched(
    saved: Mapping[str, tuple[int, ...]],
    fresh: Mapping[str, Any],
    taken: Collection[str],
    theirs: Mapping[str, str],
) -> list[str]:
    """Return a line on position tables that are longer here than in the checkpoint."""
    lines = [
        f"positions: {saved[theirs[name]][0]:,} were learned, and are repeated up to {fresh[name].shape[0]:,}"
        for name in sorted(taken)
        if name.endswith("position/embedding") and fresh[name].shape[0] > saved[theirs[name]][0]
    ]
    return list(dict.fromkeys(lines))


def _tiled(old: Any, rows: int) -> Any:
    """Return a position table repeated up to ``rows`` (as Beltagy et al. 2020, section 5, start a longer model)."""
    return jnp.tile(old, (-(-rows // old.shape[0]), 1))[:rows]


def _first_rows(old: Any, rows: int) -> Any:
    return old[:rows]


def _select(tree: Any, names: Collection[str]) -> Any:
    """Return the leaves of these names."""
    return unflatten_dict({n: leaf for n, leaf in flatten_dict(tree, sep="/").items() if n in names}, sep="/")


def _summarize(names: Collection[str], taken: Collection[str]) -> list[str]:
    """Return the names that are not taken; a module of which nothing is taken is named as a whole."""
    partly = {prefix for name in taken for prefix in _prefixes(name)}
    absent = (name for name in names if name not in taken)
    return sorted({next(prefix for prefix in _prefixes(name) if prefix not in partly) for name in absent})


def _prefixes(name: str) -> Iterator[str]:
    """Yield the modules a parameter is in, the outermost first, and the parameter itself."""
    parts = name.split("/")
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _merge_rows(old: Any, new: Any, known: int) -> Any:
    """Return the first ``known`` rows of ``old``, and the others of ``new``."""
    rows = [(0, max(0, new.shape[0] - old.shape[0]))] + [(0, 0)] * (new.ndim - 1)
    old = jnp.pad(old, rows)[: new.shape[0]]
    kept = jnp.arange(new.shape[0]) < known
    return jnp.where(kept.reshape(-1, *[1] * (new.ndim - 1)), old, new)


def _with_saved_rows(abstract: Any, saved: Mapping[str, tuple[int, ...]], program: Program[Any]) -> Any:
    """Return ``abstract`` with as many layers, and rows of vocabulary and positions, as the checkpoint has.

    The rows are whole on each device.
    """

    def leaf(path: KeyPath, shape: Any) -> Any:
        name, axis = path_name(path), _first_axis(path, shape)
        if axis not in ("vocab", "position", "layers") or name not in saved:
            return shape
        rows = (saved[name][0], *shape.shape[1:])
        sharding = shape.sharding if axis == "layers" else replicated(program.mesh)
        return jax.ShapeDtypeStruct(rows, shape.dtype, sharding=sharding)

    return jax.tree_util.tree_map_with_path(leaf, abstract)


def _is_vocabulary(path: KeyPath, leaf: Any) -> bool:
    return _first_axis(path, leaf) == "vocab"


def _first_axis(path: KeyPath, leaf: Any) -> str:
    return parameter_axes(path_name(path), len(leaf.shape))[0]


def _scope(name: str) -> str:
    return name.partition("/")[0]
