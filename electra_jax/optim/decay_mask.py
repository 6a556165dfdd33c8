"""Which parameters are decayed: matrices and embeddings, but no bias, no LayerNorm and no scale of scores."""

from typing import Any

import jax

from electra_jax.partitioning.axes import KeyPath, path_name


def weight_decay_mask(params: Any) -> Any:
    """Return which parameters are decayed: a pytree of bools shaped as ``params``.

    Raises:
        ValueError: a parameter that no rule covers.
    """
    uncovered: list[str] = []

    def rule(path: KeyPath, _: Any) -> bool:
        *modules, name = path_name(path).split("/")
        if (
            name.endswith("bias")
            or name == "log_scale"
            or (name == "scale" and modules and "layer_norm" in modules[-1])
        ):
            return False
        if name not in ("kernel", "embedding"):
            uncovered.append("/".join([*modules, name]))
        return True

    mask = jax.tree_util.tree_map_with_path(rule, params)
    if uncovered:
        raise ValueError(f"no weight-decay rule covers: {', '.join(uncovered)}")
    return mask
