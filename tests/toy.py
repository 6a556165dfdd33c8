"""A run of the real loop over an objective that compiles in a moment, and rows made up for it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from small_run import SmallVocabulary, small_config

from electra_jax.distributed.agreement import is_host_0
from electra_jax.objectives.metrics import mean, weighted_sum
from electra_jax.objectives.protocol import Subnetwork
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.checkpoints import RunIdentity
from electra_jax.training.loop import run_loop
from electra_jax.training.pretraining import PretrainingWorkload
from electra_jax.training.program import build_program
from electra_jax.training.start import restore_or_initialize
from electra_jax.training.workdir import WorkDir

# Tokens that spoil the step in which they come.
BAD_GENERATOR, BAD_DISCRIMINATOR, BAD_GRADIENT = 97, 98, 99
SPEEDS = ("sequences_per_second", "tokens_per_second", "model_flops_utilization")


class ToyObjective:
    """Learns one vector a token class; ``noise`` is drawn anew every step. Sums are over real tokens."""

    subnetworks = (
        Subnetwork("generator", ("generator_head",), "masked_lm_loss"),
        Subnetwork("discriminator", ("discriminator_head",), "disc_loss"),
    )
    examples = None
    text_metrics = None

    def init(self, rng):
        return {
            "discriminator_head": {"dense": {"kernel": jax.random.normal(rng, (8, 8)), "bias": jnp.zeros(8)}}
        }

    def draw_inputs(self, batch, rng):
        return {"rows": batch, "noise": jax.random.normal(rng, (*batch.shape, 8))}

    def loss_normalizers(self, inputs):
        return (inputs["rows"] != 0).sum().astype(jnp.float32)

    def loss(self, params, inputs, normalizers, dropout_rng):
        rows, dense = inputs["rows"], params["discriminator_head"]["dense"]
        real = rows != 0
        predicted = dense["kernel"][rows % 8] + dense["bias"]
        squared = jnp.square(predicted - 0.1 * inputs["noise"]).mean(axis=-1)
        first = jnp.where(rows == BAD_GENERATOR, jnp.nan, squared)
        second = jnp.where(rows == BAD_DISCRIMINATOR, jnp.inf, squared)
        # The root of 0 adds 0 to the loss, and what is not a number to the gradient.
        bad = rows == BAD_GRADIENT
        second += jnp.sqrt(jnp.where(bad, 0.0 * dense["bias"].sum(), 1.0)) - jnp.where(bad, 0.0, 1.0)
        sums = {
            "masked_lm_loss": weighted_sum(first, real),
            "disc_loss": weighted_sum(second, real),
            "token_mean": weighted_sum(rows, real),
        }
        return (sums["masked_lm_loss"][0] + sums["disc_loss"][0]) / (normalizers + 1e-6), sums

    def flops_per_row(self, length):
        return 2.0 * length

    def baselines(self, most_frequent_share):
        return None

    def summarize(self, sums):
        metrics = {name: mean(pair) for name, pair in sums.items()}
        return {"loss": metrics["masked_lm_loss"], **metrics, "tokens": float(sums["token_mean"][1])}


class ToyRows:
    """Stands in for prepared rows."""

    rows_per_block = 8
    sequence_length = 16

    def __init__(self, rows):
        self.rows = rows
        self.num_rows = len(rows)

    def read(self, numbers):
        return self.rows[numbers]


def toy_rows(count, seed=0):
    """Rows of tokens below 90 with 1 to 16 of them real."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(5, 90, (count, 16)).astype(np.int32)
    return np.where(np.arange(16) < rng.integers(1, 17, count)[:, None], rows, SmallVocabulary.pad_id)


def toy_config(**sections):
    return small_config(
        **{
            **sections,
            "train": {"steps": 12, "log_every": 4, "eval_every": 6, "checkpoint_every": 5}
            | sections.get("train", {}),
        }
    )


class ToyRun:
    """One run of the loop in ``folder``; ``wrap`` may put something around its train step."""

    def __init__(self, monkeypatch, folder, config, *, train=None, evaluation=None, devices=8, wrap=None):
        monkeypatch.setattr("electra_jax.training.program.build_objective", lambda *_: ToyObjective())
        folder.mkdir(exist_ok=True)
        self.config, self.workdir = config, WorkDir(folder)
        mesh = make_mesh(config.mesh, jax.devices()[:devices])
        self.program = build_program(config, SmallVocabulary(), mesh)
        self.prepared = SimpleNamespace(
            train=ToyRows(toy_rows(50) if train is None else train),
            eval=ToyRows(toy_rows(13, seed=1) if evaluation is None else evaluation),
            tokenizer=SmallVocabulary(),
        )
        self._wrap = wrap

    def __call__(self):
        """Trains to the end, or until stopped; (state, last held-out metrics, signal or None)."""
        start, state, self.notes = restore_or_initialize(
            self.program,
            self.prepared.tokenizer,
            self.workdir,
            objective=self.config.objective,
            init_from=self.config.init_from,
        )
        if is_host_0():
            self.workdir.truncate_metrics(start)
        program = self.program
        if self._wrap is not None:
            program = SimpleNamespace(
                **vars(program),
                on_mesh=program.on_mesh,
                to_global_batch=program.to_global_batch,
                host_share=program.host_share,
            )
            program.train_step = self._wrap(self.program.train_step)
        workload = PretrainingWorkload(self.config, self.prepared, program, self.workdir)
        identity = RunIdentity("t", "d", {})
        return run_loop(self.config.train, workload, program, self.workdir, identity, start, state)
