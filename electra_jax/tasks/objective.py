"""Fine-tuning as an objective: the encoder with one head for each task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.metrics import MetricSums, mean, weighted_sum
from electra_jax.objectives.protocol import Params, Subnetwork
from electra_jax.tasks.protocol import SummedLoss, Task, TaskBatch


@dataclass(frozen=True)
class FineTuning:
    """The encoder with a head for each task; implements `Objective`.

    The loss is the mean over a batch, or with ``finetune.reference_quirks`` the sum, as in the original.

    Attributes:
        network: the encoder.
        tasks: by name.
        examples: a batch of each task, for shapes.
        sum_losses: sum the losses of a batch instead of averaging them.
    """

    network: TextEncoder
    tasks: Mapping[str, Task]
    examples: Mapping[str, TaskBatch]
    sum_losses: bool = False

    subnetworks: ClassVar[Sequence[Subnetwork]] = ()

    def init(self, rng: Array) -> Params:
        """Initialise the parameters ``embeddings``, ``encoder`` and ``heads/<task>``."""
        encoder_rng, head_rng = jax.random.split(rng)
        first = next(iter(self.examples.values()))
        inputs = _text_by_text(first.inputs)
        params: Params = self.network.init(encoder_rng, inputs, None, method="encode")["params"]
        heads = {}
        for number, (name, task) in enumerate(self.tasks.items()):
            batch = self.examples[name]
            hidden = jnp.zeros((*batch.inputs.input_ids.shape, self.network.sizes.discriminator.hidden_size))

            def call(head: Any, task: Task = task, hidden: Array = hidden, batch: TaskBatch = batch) -> Any:
                return task.loss(head, hidden, batch, None)

            made = nn.init(call, task.head())(jax.random.fold_in(head_rng, number))["params"]
            heads[name] = _without(made, {own: params[shared] for own, shared in task.shares})
        return {**params, "heads": heads}

    def draw_inputs(self, batch: TaskBatch, rng: Array) -> TaskBatch:
        """Return the batch as it is: nothing is random but dropout."""
        del rng
        return batch

    def loss_normalizers(self, inputs: TaskBatch) -> Array:
        """Return the weight of the rows, added up; 1 where losses are summed."""
        if self.sum_losses:
            return jnp.float32(1.0)
        return jnp.maximum(inputs.weights.sum(), 1.0)

    def loss(
        self, params: Params, inputs: TaskBatch, normalizers: Array, dropout_rng: Array | None
    ) -> tuple[Array, MetricSums]:
        """Return Σ w·loss / normalizer, and sums with one loss per task, those of the other tasks zero."""
        encoder_rng, head_rng = split_or_none(dropout_rng, 2)
        hidden = self._encode(params, inputs, encoder_rng)
        task = self.tasks[inputs.task]
        losses: Any = nn.apply(lambda head: task.loss(head, hidden, inputs, head_rng), task.head())(
            {"params": self._head_parameters(params, task)}
        )
        if not isinstance(losses, SummedLoss):
            losses = SummedLoss((losses * inputs.weights).sum(), losses)
        sums = {f"{name}_loss": jnp.zeros(2, jnp.float32) for name in self.tasks}
        sums[f"{inputs.task}_loss"] = weighted_sum(losses.rows, inputs.weights)
        return losses.total / normalizers, sums

    def outputs(self, params: Params, batch: TaskBatch) -> dict[str, Array]:
        """Return what predictions are read from, without dropout; see `Task.outputs`."""
        return self.apply(params, batch, self.tasks[batch.task].outputs)

    def apply(
        self, params: Params, batch: TaskBatch, function: Callable[[Any, Array, TaskBatch], Any]
    ) -> Any:
        """Return what a function makes of the head of the batch's task, the encoder's states and the batch."""
        hidden = self._encode(params, batch, None)
        task = self.tasks[batch.task]
        return nn.apply(lambda head: function(head, hidden, batch), task.head())(
            {"params": self._head_parameters(params, task)}
        )

    def _head_parameters(self, params: Params, task: Task) -> Params:
        """Return what a head is applied with: its own, and what it shares with the encoder."""
        shared = {own: params[name] for own, name in task.shares}
        return _merged(params["heads"][task.name], shared)

    def _encode(self, params: Params, batch: TaskBatch, rng: Array | None) -> Array:
        encoder = {name: params[name] for name in ("embeddings", "encoder")}
        inputs = _text_by_text(batch.inputs)
        hidden: Any = self.network.apply({"params": encoder}, inputs, rng, method="encode")
        return jnp.reshape(hidden, (*batch.inputs.input_ids.shape, hidden.shape[-1]))

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Return the mean loss of each task, and of all rows."""
        means = {name: mean(pair) for name, pair in sums.items()}
        if len(means) == 1:
            return {"loss": next(iter(means.values()))}
        return {"loss": mean(sum(sums.values())), **means}


def _text_by_text(inputs: EncoderInputs) -> EncoderInputs:
    """Return ``[batch, texts, length]`` as ``[batch · texts, length]``; each device keeps whole rows of the batch."""
    return jax.tree.map(lambda ids: jnp.reshape(ids, (-1, ids.shape[-1])), inputs)


def _merged(own: Any, shared: Any) -> Any:
    """Return two trees as one; no leaf is in both."""
    if not isinstance(own, Mapping) or not isinstance(shared, Mapping):
        raise ValueError("a head has parameters of its own where it shares the encoder's")
    both = {name: _merged(own[name], shared[name]) for name in own.keys() & shared.keys()}
    return {**own, **shared, **both}


def _without(tree: Any, shared: Any) -> Any:
    """Return a tree without the leaves that another has too."""
    kept = {
        name: _without(branch, shared[name]) if name in shared else branch
        for name, branch in tree.items()
        if name not in shared or isinstance(branch, Mapping)
    }
    return {name: branch for name, branch in kept.items() if not isinstance(branch, Mapping) or branch}
