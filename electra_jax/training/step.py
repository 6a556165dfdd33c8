"""One optimizer update, and one evaluation step, as pure functions to be jitted."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from electra_jax.objectives import Objective
from electra_jax.objectives.metrics import MetricSums, add_sums
from electra_jax.objectives.protocol import Subnetwork
from electra_jax.objectives.scheduled import ScheduledObjective
from electra_jax.training.state import TrainState

# float32 scalars of one step: loss, grad_norm (of everything, and of each subnetwork), learning_rate, that of
# each group of parameters with one of its own, each *_loss
Report = dict[str, Array]

# Independent streams of random numbers from the one seed.
INIT_STREAM, TRAIN_STREAM, EVAL_STREAM, EXAMPLES_STREAM = range(4)


def stream_key(seed: int | Array, which: int) -> Array:
    """Return the key of one of the independent streams."""
    return jax.random.fold_in(jax.random.key(seed), which)


def make_train_step(
    objective: Objective[Any, Any, Any],
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    seed: int | Array,
    accumulation_steps: int,
    log_every: int,
    usual_rows: int | None = None,
    group_schedules: Mapping[str, optax.Schedule] = MappingProxyType({}),
    total_steps: int | None = None,
) -> Callable[[TrainState, Array], tuple[TrainState, Report]]:
    """Return the update of a state by a batch int32 ``[batch, length]``.

    Every random number comes from ``fold_in(seed, step)``, and the gradient is that of the whole batch however many
    microbatches it is computed in: each microbatch's loss is divided by the normalizers of the whole batch. A batch
    that is a multiple of ``usual_rows`` is computed in as many times the microbatches; None: any is in as many. The
    schedules are those of the optimizer, and only reported. What the objective changes on its way follows from the
    share of ``total_steps`` that is done, and so from the step alone; None leaves it as at the end of a run.
    """
    base = stream_key(seed, TRAIN_STREAM)

    def train_step(state: TrainState, batch: Array) -> tuple[TrainState, Report]:
        draw_rng, dropout_rng = jax.random.split(jax.random.fold_in(base, state.step))
        current = objective
        if total_steps is not None and isinstance(objective, ScheduledObjective):
            current = objective.at(state.step.astype(jnp.float32) / total_steps)
        inputs = current.draw_inputs(batch, draw_rng)
        loss, sums, gradients = _accumulate(
            current,
            state.params,
            inputs,
            current.loss_normalizers(inputs),
            dropout_rng,
            accumulation_steps * (batch.shape[0] // usual_rows if usual_rows else 1),
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        report = {
            "loss": loss,
            **_gradient_norms(gradients, objective.subnetworks),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            **{
                f"{name}_learning_rate": jnp.asarray(own(state.step), jnp.float32)
                for name, own in group_schedules.items()
            },
            **{name: pair[0] / (pair[1] + 1e-6) for name, pair in sums.items() if name.endswith("_loss")},
        }
        starts_anew = state.step % log_every == 0
        kept = jax.tree.map(lambda s: jnp.where(starts_anew, jnp.zeros_like(s), s), state.metric_sums)
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            metric_sums=add_sums(kept, sums),
        ), report

    return train_step


def _gradient_norms(gradients: Any, subnetworks: Sequence[Subnetwork]) -> Report:
    """Return the norm of all gradients, and of those of each subnetwork, which tell where one is not finite."""
    alone = {
        part.name: [gradients[name] for name in gradients if name in part.parameters] for part in subnetworks
    }
    return {
        "grad_norm": optax.tree.norm(gradients),
        **{f"{name}_grad_norm": optax.tree.norm(leaves) for name, leaves in alone.items() if leaves},
    }


def _accumulate(
    objective: Objective[Any, Any, Any], params: Any, inputs: Any, normalizers: Any, rng: Array, pieces: int
) -> tuple[Array, MetricSums, Any]:
    """Compute loss, metric sums and gradient of the whole batch in ``pieces`` microbatches."""

    def piece_loss(params: Any, piece: Any, piece_rng: Array) -> tuple[Array, MetricSums]:
        return objective.loss(params, piece, normalizers, piece_rng)

    value_and_grad = jax.value_and_grad(piece_loss, has_aux=True)
    if pieces == 1:
        (loss, sums), gradients = value_and_grad(params, inputs, rng)
        return loss, sums, gradients

    microbatches = _microbatches(inputs, pieces)

    def body(carry: Any, piece_and_number: tuple[Any, Array]) -> tuple[Any, None]:
        piece, number = piece_and_number
        (loss, sums), gradients = value_and_grad(params, piece, jax.random.fold_in(rng, number))
        return jax.tree.map(jnp.add, carry, (loss, sums, gradients)), None

    shapes = jax.eval_shape(value_and_grad, params, jax.tree.map(lambda x: x[0], microbatches), rng)
    (loss_shape, sums_shape), gradient_shape = shapes
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (loss_shape, sums_shape, gradient_shape))
    (loss, sums, gradients), _ = jax.lax.scan(body, zeros, (microbatches, jnp.arange(pieces)))
    return loss, sums, gradients


def _microbatches(inputs: Any, pieces: int) -> Any:
    """Cut ``[batch, …]`` into ``[pieces, batch / pieces, …]``.

    Strided, so that every microbatch lies over all the devices as the batch does.
    """
    return jax.tree.map(
        lambda x: x.reshape(x.shape[0] // pieces, pieces, *x.shape[1:]).swapaxes(0, 1), inputs
    )


def make_eval_step(
    objective: Objective[Any, Any, Any], *, seed: int | Array, pieces: int = 1
) -> Callable[[Any, Array, Array], MetricSums]:
    """Return the metric sums of one held-out batch; its masks depend on the seed and the batch's number alone.

    Every evaluation of a run therefore meets the same masks, and evaluations can be compared.

    Args:
        objective: what is measured.
        seed: of the run.
        pieces: microbatches that a batch is computed in, as in training: else a batch that can be trained on in
            pieces may be too large to evaluate.
    """
    base = stream_key(seed, EVAL_STREAM)

    def eval_step(params: Any, batch: Array, number: Array) -> MetricSums:
        inputs = objective.draw_inputs(batch, jax.random.fold_in(base, number))
        normalizers = objective.loss_normalizers(inputs)

        def sums_of(piece: Any) -> MetricSums:
            return objective.loss(params, piece, normalizers, None)[1]

        if pieces == 1:
            return sums_of(inputs)
        microbatches = _microbatches(inputs, pieces)
        shapes = jax.eval_shape(sums_of, jax.tree.map(lambda x: x[0], microbatches))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def body(sums: MetricSums, piece: Any) -> tuple[MetricSums, None]:
            return add_sums(sums, sums_of(piece)), None

        return jax.lax.scan(body, zeros, microbatches)[0]

    return eval_step
