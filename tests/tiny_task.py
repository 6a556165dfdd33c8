"""A task of any kind with a network of random weights, and its gradient on any mesh."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from small_run import small_config
from tiny import compiled
from tiny_writer import MODEL, NO_DROPOUT, letters

from electra_jax.config.machines import MeshConfig
from electra_jax.objectives import build_network
from electra_jax.partitioning.axes import path_name
from electra_jax.partitioning.mesh import make_mesh, to_global_batch
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.build import build_task
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.settings import TaskSettings
from electra_jax.training.state import init_state
from electra_jax.training.step import make_train_step


@dataclass(frozen=True)
class TinyTask:
    """A task called mine, what it belongs to, and weights."""

    task: Any
    objective: FineTuning
    params: Any

    def batch(self, examples, *, length=None, rows=None):
        """The examples as one batch for training; ``rows`` has the numbers of the rows, -1 for padding."""
        encoded = self.task.encode(examples, training=True)
        length = length or max(16, int(encoded.lengths.max()))
        numbers = np.arange(len(encoded)) if rows is None else np.array(rows)
        return make_batch(
            "mine", encoded, BatchPlan(length, numbers), self.task.tokenizer.pad_id, targets=True
        )

    def gradient(self, batch, pieces=1, **axes):
        """Loss and gradient, in so many microbatches, as one step of gradient descent gives them."""
        objective, optimizer = self.objective, optax.sgd(1.0)
        mesh = make_mesh(MeshConfig(**axes), jax.devices()[: math.prod(axes.values())])
        shapes = jax.eval_shape(lambda: init_state(objective, optimizer, batch, jax.random.key(0)))
        state = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes).replace(params=self.params)
        schedule = optax.constant_schedule(1.0)
        step = make_train_step(objective, optimizer, schedule, seed=0, accumulation_steps=pieces, log_every=1)
        with jax.set_mesh(mesh):
            shared = to_global_batch(mesh, batch)
            after, report = compiled(step, state, shared)(state, shared)
        change = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), state.params, after.params)
        return float(report["loss"]), change

    def predict(self, examples, *, devices=1, buckets=(8, 16), batch_size=8):
        """The predictions for the examples, and the outputs they were read from."""
        mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
        rows = self.task.encode(examples, training=False)
        step = make_predict_step(self.objective, mesh)
        outputs = predict_rows(
            step, mesh, self.params, "mine", rows, batch_size=batch_size, buckets=buckets, pad_id=0
        )
        return self.task.predictions(examples, rows, outputs), outputs


def tiny_task(section, examples, *, head_style="reference", length=16, settings=None, **model):
    """Build it.

    ``section`` has the keys of ``finetune.tasks.mine``, ``settings`` what was learned from its examples, ``model`` keys
    of that section.
    """
    config = small_config(
        objective={"kind": "finetune"},
        model={"max_positions": length, **MODEL, **NO_DROPOUT, **model},
        data={"sequence_length": length},
        finetune={"tasks": {"mine": section}, "head_style": head_style, "head_dropout": 0.0},
        tokenizer={"kind": "characters"},
    )
    tokenizer = letters()
    task = build_task("mine", settings or TaskSettings(kind=section["kind"]), config, tokenizer)
    network = build_network(config, tokenizer.vocab_size)
    batch = TinyTask(task, FineTuning(network, {"mine": task}, {}), None).batch(examples)
    objective = FineTuning(network, {"mine": task}, {"mine": batch})
    shapes = jax.eval_shape(lambda: objective.init(jax.random.key(0)))
    rng = np.random.default_rng(0)

    def weights(path, leaf):
        made = rng.normal(size=leaf.shape) * 0.5 + path_name(path).endswith("scale")
        return jnp.asarray(made, jnp.float32)

    return TinyTask(task, objective, jax.tree_util.tree_map_with_path(weights, shapes))


def assert_same_gradient(ours, theirs):
    """Losses and gradients are the same but for the order of sums."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    for one, other in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
