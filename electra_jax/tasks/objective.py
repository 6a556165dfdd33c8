"""Fine-tuning as an objective: the encoder with one head for each task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.config.schema import Config
from electra_jax.model.layers import split_or_none
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.metrics import Sums, mean, weighted
from electra_jax.objectives.protocol import Params, Subnetwork
from electra_jax.tasks.protocol import Task, TaskBatch


@dataclass(frozen=True)
class FineTuning:
    """The mean of a batch's losses, or with ``finetune.reference_quirks`` their sum, as the original has it.

    Attributes:
        config: the run's.
        network: its encoder.
        tasks: by name.
        examples: a batch of each task, for shapes.
    """

    config: Config
    network: TextEncoder
    tasks: Mapping[str, Task]
    examples: Mapping[str, TaskBatch]

    subnetworks: ClassVar[Sequence[Subnetwork]] = ()

    def init(self, rng: Array) -> Params:
        """Fresh parameters: ``embeddings``, ``encoder`` and ``heads/<task>``."""
        encoder_rng, head_rng = jax.random.split(rng)
        first = next(iter(self.examples.values()))
        params: Params = self.network.init(encoder_rng, first.inputs, None, method="encode")["params"]
        heads = {}
        for number, (name, task) in enumerate(self.tasks.items()):
            batch = self.examples[name]
            hidden = jnp.zeros((*batch.inputs.input_ids.shape, self.network.sizes.discriminator.hidden_size))

            def call(head: Any, task: Task = task, hidden: Array = hidden, batch: TaskBatch = batch) -> Array:
                return task.loss(head, hidden, batch, None)

            heads[name] = nn.init(call, task.head())(jax.random.fold_in(head_rng, number))["params"]
        return {**params, "heads": heads}

    def draw_inputs(self, batch: TaskBatch, rng: Array) -> TaskBatch:
        """Nothing is random but dropout."""
        del rng
        return batch

    def loss_normalizers(self, inputs: TaskBatch) -> Array:
        """The rows that count; 1 where losses are summed."""
        if self.config.finetune.reference_quirks:
            return jnp.float32(1.0)
        return jnp.maximum(inputs.weights.sum(), 1.0)

    def loss(
        self, params: Params, inputs: TaskBatch, normalizers: Array, dropout_rng: Array | None
    ) -> tuple[Array, Sums]:
        """Σ w·loss / total; the sums hold one loss a task, those of the other tasks empty."""
        encoder_rng, head_rng = split_or_none(dropout_rng, 2)
        hidden = self._encode(params, inputs, encoder_rng)
        task = self.tasks[inputs.task]
        losses: Any = nn.apply(lambda head: task.loss(head, hidden, inputs, head_rng), task.head())(
            {"params": params["heads"][inputs.task]}
        )
        sums = {f"{name}_loss": jnp.zeros(2, jnp.float32) for name in self.tasks}
        sums[f"{inputs.task}_loss"] = weighted(losses, inputs.weights)
        return (losses * inputs.weights).sum() / normalizers, sums

    def outputs(self, params: Params, batch: TaskBatch) -> dict[str, Array]:
        """What predictions are read from, without dropout."""
        hidden = self._encode(params, batch, None)
        task = self.tasks[batch.task]
        outputs: Any = nn.apply(lambda head: task.outputs(head, hidden, batch), task.head())(
            {"params": params["heads"][batch.task]}
        )
        return outputs

    def _encode(self, params: Params, batch: TaskBatch, rng: Array | None) -> Array:
        encoder = {name: params[name] for name in ("embeddings", "encoder")}
        hidden: Any = self.network.apply({"params": encoder}, batch.inputs, rng, method="encode")
        return hidden

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """The mean loss of each task, and of all rows."""
        means = {name: mean(pair) for name, pair in sums.items()}
        if len(means) == 1:
            return {"loss": next(iter(means.values()))}
        return {"loss": mean(sum(sums.values())), **means}
