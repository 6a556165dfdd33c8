"""The state of a run, and how it is made, already sharded."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.objectives import Objective
from electra_jax.objectives.metrics import MetricSums
from electra_jax.partitioning.axes import parameter_specs


@struct.dataclass
class TrainState:
    """Everything a step changes; a checkpoint holds just this and the step decides the data.

    Attributes:
        step: int32 scalar, updates done.
        params: float32 parameters of all networks.
        opt_state: The optimizer's.
        metric_sums: Metric sums since the last line of metrics.jsonl, kept here so that a resumed run logs what an
            uninterrupted one would have.
    """

    step: Array
    params: Any
    opt_state: Any
    metric_sums: MetricSums


def init_state(
    objective: Objective[Any, Any, Any], optimizer: optax.GradientTransformation, batch: Any, rng: Array
) -> TrainState:
    """Make a fresh state; ``batch`` gives shapes only."""
    params = objective.init(rng)
    inputs = objective.draw_inputs(batch, rng)
    sums = jax.eval_shape(
        lambda p, d: objective.loss(p, d, objective.loss_normalizers(d), None)[1], params, inputs
    )
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        metric_sums=jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), sums),
    )


def state_shardings(abstract: TrainState, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Return a `NamedSharding` for every leaf: parameters and optimizer moments by the table, the rest replicated.

    Raises:
        UserError: A parameter that the mesh does not divide.
    """
    specs = parameter_specs(abstract.params, mesh)
    whole = PartitionSpec()
    opt_specs = optax.tree_utils.tree_map_params(
        optimizer,
        lambda moment, spec: moment if _is_left_out(moment) else spec,
        abstract.opt_state,
        specs,
        transform_non_params=lambda _: whole,
        is_leaf=lambda x: isinstance(x, PartitionSpec) or _is_left_out(x),
    )
    state = TrainState(
        step=whole,  # type: ignore[arg-type]
        params=specs,
        opt_state=opt_specs,
        metric_sums=jax.tree.map(lambda _: whole, abstract.metric_sums),
    )
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), state, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )


def _is_left_out(moment: Any) -> bool:
    """Return whether there is no moment here, the parameter being another optimizer's."""
    return isinstance(moment, optax.MaskedNode)
