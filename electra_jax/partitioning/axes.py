"""The one strict table: which logical axis each parameter dimension is, and which mesh axes it lies on.

Every axis is listed, the replicated ones too, so that a typo is an error and never a silent replication.
"""

import math
import re
from typing import Any

import jax
from jax.sharding import PartitionSpec

from electra_jax.errors import UserError

BATCH_AXES = ("data", "fsdp")

KeyPath = tuple[Any, ...]  # of a leaf in a tree, as jax.tree_util gives it

# Logical axis → mesh axes. The batch lies over data and fsdp both: fsdp is data parallelism with sharded state.
RULES: dict[str, tuple[str, ...]] = {
    "batch": BATCH_AXES,
    "length": (),
    "activation": (),
    "vocab_logits": ("tensor",),
    # An embedding table sharded on its features would have to be rematerialised whole; its rows are safe.
    "vocab": ("tensor", "fsdp"),
    "embedding": (),
    "position": (),
    "token_type": (),
    "layers": (),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "mlp": ("tensor",),
    "norm": (),
    "single": (),
}

_ENCODER = "((generator_)?encoder|generator_(ltr|rtl)|heads/[^/]+/decoder)"
_LM_HEAD = "((generator|cloze)_head|heads/[^/]+/lm_head)"

# Parameter path → logical axes of its dimensions; first match of the whole path.
PARAMETER_AXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(generator_)?embeddings/word/embedding", ("vocab", "embedding")),
    (r"(generator_)?embeddings/position/embedding", ("position", "embedding")),
    (r"(generator_)?embeddings/token_type/embedding", ("token_type", "embedding")),
    (r"(generator_)?embeddings/layer_norm/(scale|bias)", ("norm",)),
    (rf"{_ENCODER}/embeddings_project/kernel", ("embedding", "embed")),
    (rf"{_ENCODER}/embeddings_project/bias", ("norm",)),
    (rf"{_ENCODER}/layers/(cross_)?attention/(query|key|value)/kernel", ("layers", "embed", "heads")),
    (rf"{_ENCODER}/layers/(cross_)?attention/(query|key|value)/bias", ("layers", "heads")),
    (rf"{_ENCODER}/layers/(cross_)?attention/output/kernel", ("layers", "heads", "embed")),
    (rf"{_ENCODER}/layers/(intermediate|gate)/kernel", ("layers", "embed", "mlp")),
    (rf"{_ENCODER}/layers/intermediate/bias", ("layers", "mlp")),
    (rf"{_ENCODER}/layers/output/kernel", ("layers", "mlp", "embed")),
    (rf"{_ENCODER}/layers/((cross_)?attention/)?output/bias", ("layers", "norm")),
    (rf"{_ENCODER}/layers/\w+_layer_norm/(scale|bias)", ("layers", "norm")),
    (rf"{_ENCODER}/final_layer_norm/scale", ("norm",)),
    (rf"{_LM_HEAD}/dense/kernel", ("embed", "embedding")),
    (rf"{_LM_HEAD}/dense/bias", ("norm",)),
    (rf"{_LM_HEAD}/layer_norm/(scale|bias)", ("norm",)),
    (rf"{_LM_HEAD}/output_bias", ("vocab",)),
    (r"discriminator_head/dense/kernel", ("embed", "mlp")),
    (r"discriminator_head/dense/bias", ("mlp",)),
    (r"discriminator_head/layer_norm/scale", ("norm",)),
    (r"discriminator_head/prediction/kernel", ("mlp", "single")),
    (r"discriminator_head/prediction/bias", ("single",)),
    (r"heads/[^/]+/encoder_projection/kernel", ("embed", "norm")),
    (r"heads/[^/]+/encoder_projection/bias", ("norm",)),
    (r"heads/[^/]+/copy_head/(query|key)/kernel", ("embed", "heads")),
    (r"heads/[^/]+/copy_head/query/bias", ("heads",)),
    (r"heads/[^/]+/copy_head/generate/kernel", ("embed", "single")),
    (r"heads/[^/]+/copy_head/generate/bias", ("single",)),
    (r"heads/[^/]+/(dense|(end|answerable)_hidden)/kernel", ("embed", "mlp")),
    (r"heads/[^/]+/(dense|(end|answerable)_hidden)/bias", ("mlp",)),
    (r"heads/[^/]+/layer_norm/scale", ("norm",)),
    (r"heads/[^/]+/codes/embedding", ("single", "embedding")),
    (r"heads/[^/]+/log_scale", ()),
    # Few columns, and rows that are the encoder's width or that of a hidden layer.
    (r"heads/[^/]+/(prediction|start|end|answerable_prediction)/kernel", ("embed", "single")),
    (r"heads/[^/]+/(prediction|start|end|answerable_prediction)/bias", ("single",)),
)


def partition_spec(axes: tuple[str, ...]) -> PartitionSpec:
    """Return the mesh axes of each logical axis.

    Raises:
        KeyError: an axis that is not in the table.
    """
    return PartitionSpec(*(_mesh_axes(axis) for axis in axes))


def _mesh_axes(axis: str) -> tuple[str, ...] | str | None:
    if axis not in RULES:
        raise KeyError(f"logical axis {axis!r} is not in the table of electra_jax.partitioning.axes")
    mesh_axes = RULES[axis]
    return None if not mesh_axes else mesh_axes[0] if len(mesh_axes) == 1 else mesh_axes


def path_name(path: KeyPath) -> str:
    """Return a pytree path as ``a/b/c``."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def parameter_axes(name: str, ndim: int) -> tuple[str, ...]:
    """Return the logical axes of the parameter ``name``, one for each of its ``ndim`` dimensions.

    Raises:
        KeyError: the parameter is in no row of the table, or has another number of dimensions.
    """
    for pattern, axes in PARAMETER_AXES:
        if re.fullmatch(pattern, name):
            if len(axes) != ndim:
                raise KeyError(f"parameter {name} has {ndim} dimensions, its row in the table {len(axes)}")
            return axes
    raise KeyError(f"parameter {name} is in no row of electra_jax.partitioning.axes.PARAMETER_AXES")


def parameter_specs(params: object, mesh: jax.sharding.Mesh) -> object:
    """Return the `PartitionSpec` of every parameter, as a tree like ``params``.

    Args:
        params: pytree of arrays or of their abstract shapes.
        mesh: the mesh they will lie on.

    Raises:
        UserError: a dimension that the mesh axes do not divide.
    """

    def spec(path: KeyPath, leaf: jax.ShapeDtypeStruct) -> PartitionSpec:
        name = path_name(path)
        axes = parameter_axes(name, len(leaf.shape))
        for size, axis in zip(leaf.shape, axes, strict=True):
            parts = 1
            for mesh_axis in RULES[axis]:
                parts *= mesh.shape[mesh_axis]
            if size % parts:
                raise UserError(_uneven(name, axis, size, mesh))
        return partition_spec(axes)

    return jax.tree_util.tree_map_with_path(spec, params)


def _uneven(name: str, axis: str, size: int, mesh: jax.sharding.Mesh) -> str:
    """Return a sentence that the mesh does not divide a dimension, in words of the configuration."""
    parts = math.prod(mesh.shape[mesh_axis] for mesh_axis in RULES[axis])
    over = " x ".join(f"mesh.{mesh_axis}={mesh.shape[mesh_axis]}" for mesh_axis in RULES[axis])
    if axis == "vocab":
        return (
            f"{over} does not divide the {size} rows of the vocabulary ({name}): nearest "
            f"{nearest_divisors(parts, size)}; or make model.vocab_multiple a multiple of {parts}"
        )
    decoder = re.match(r"heads/([^/]+)/(decoder|lm_head|copy_head)/", name)
    section = "generator" if name.startswith("generator") else "model"
    if decoder:
        section = f"finetune.tasks.{decoder[1]}.decoder"
    within_layer = "/layers/" in name and axis == "mlp"
    key = f"{section}.{'intermediate_size' if within_layer else 'hidden_size'}"
    return f"{over} does not divide {key} {size} ({name}): nearest {nearest_divisors(parts, size)}"


def nearest_divisors(wrong: int, size: int) -> str:
    """Return the divisors of ``size`` next to ``wrong``, as ``is 1`` or ``are 2 and 4``."""
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    below = [n for n in divisors if n < wrong][-1:]
    above = [n for n in divisors if n > wrong][:1]
    return f"{'are' if below and above else 'is'} {' and '.join(map(str, below + above))}"
