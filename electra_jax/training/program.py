"""The compiled functions of a run on its mesh, and the layout of everything they touch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding

from electra_jax.config.schema import Config
from electra_jax.data.host_share import HostShare
from electra_jax.objectives import Objective, PretrainingObjective, build_objective
from electra_jax.objectives.metrics import MetricSums
from electra_jax.optim import build_optimizer, group_schedules, learning_rate_schedule
from electra_jax.partitioning.host_rows import host_share
from electra_jax.partitioning.mesh import batch_sharding, replicated, to_global_batch
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.compile_messages import WithCompileMessage, compile_message
from electra_jax.training.state import TrainState, init_state, state_shardings
from electra_jax.training.step import INIT_STREAM, Report, make_eval_step, make_train_step, stream_key

AnyObjective = TypeVar("AnyObjective", bound=Objective[Any, Any, Any])


@dataclass(frozen=True)
class Program(Generic[AnyObjective]):
    """Jitted functions of a run; call them inside `on_mesh`.

    Attributes:
        mesh: The devices.
        objective: What is trained.
        abstract: Shapes, dtypes and shardings of the state.
        init: () → state, created already sharded.
        train_step: (state, batch) → (state, report); the state passed in is donated.
        eval_step: (params, batch, number) → metric sums.
    """

    mesh: Mesh
    objective: AnyObjective
    abstract: TrainState
    init: Callable[[], TrainState]
    train_step: Callable[[TrainState, Array], tuple[TrainState, Report]]
    eval_step: Callable[[Any, Array, Any], MetricSums]

    @property
    def host_share(self) -> HostShare:
        """Which of a batch's rows this host reads."""
        return host_share(self.mesh)

    @contextmanager
    def on_mesh(self) -> Iterator[None]:
        """Make the mesh current, so that activations of functions traced inside are pinned to it."""
        with jax.set_mesh(self.mesh):
            yield

    def to_global_batch(self, rows: Any) -> Any:
        """Put this host's rows on the devices, as its part of the global batch.

        Args:
            rows: An array, or a tree of arrays, ``[rows, …]``.
        """
        return to_global_batch(self.mesh, rows)


class WithSeed:
    """A jitted function whose last argument is the run's seed: another seed needs no other compiled program."""

    def __init__(self, function: Any, seed: int, sharding: NamedSharding):
        self._function, self._seed, self._sharding = function, np.uint32(seed), sharding
        self._abstract = jax.ShapeDtypeStruct((), np.uint32, sharding=sharding)

    @cached_property
    def seed(self) -> Array:
        """The seed on the devices, uint32 scalar."""
        with jax.transfer_guard("allow"):  # once, and not by mistake
            return jax.make_array_from_callback((), self._sharding, lambda _: self._seed)

    def __call__(self, *args: Any) -> Any:
        """Call the jitted function with the seed behind these arguments."""
        return self._function(*args, self.seed)

    def trace(self, *args: Any) -> Any:
        """Trace the jitted function without running it, as ``jax.jit(…).trace`` does; nothing is put on a device."""
        return self._function.trace(*args, self._abstract)

    def lower(self, *args: Any) -> Any:
        """Lower the jitted function without compiling it; what it compiles to is called with the seed, too."""
        return self._function.lower(*args, self._abstract)


def build_program(
    config: Config, tokenizer: Tokenizer, mesh: Mesh
) -> Program[PretrainingObjective[Any, Any]]:
    """Build the program of a pre-training run; it compiles nothing yet.

    Raises:
        UserError: A parameter that the mesh does not divide; an attention back end that its devices do not have.
    """
    objective = build_objective(config, tokenizer, mesh.devices.flat[0].platform)
    shape = (config.train.batch_size, config.data.sequence_length)
    return program_for_objective(config, objective, np.zeros(shape, np.int32), mesh)


def run_once_options(mesh: Mesh) -> dict[str, int] | None:
    """Return compiler options of a program that runs once; the numbers are the same.

    On a CPU optimizing such a program takes longer than it saves.
    """
    cpu = mesh.devices.flat[0].platform == "cpu"
    lower_still = jax.config.values["jax_disable_most_optimizations"]
    return {"xla_backend_optimization_level": 1} if cpu and not lower_still else None


def program_for_objective(
    config: Config, objective: AnyObjective, batch: Any, mesh: Mesh
) -> Program[AnyObjective]:
    """Build optimizer and jitted steps for an objective; it compiles nothing yet.

    Args:
        config: Of the run.
        objective: What is trained.
        batch: Any batch of it; only shapes count.
        mesh: The devices.

    Raises:
        UserError: A parameter that the mesh does not divide.
    """
    whole, rows = replicated(mesh), batch_sharding(mesh)
    rng = stream_key(config.seed, INIT_STREAM)
    finetune = config.finetune if config.finetuning else None
    optimizer = build_optimizer(
        config.optimizer,
        jax.eval_shape(objective.init, rng),
        total_steps=config.train.total_steps,
        finetune=finetune,
        frozen_generator=config.generator.frozen_from is not None,
    )

    def fresh(rng: Array) -> TrainState:
        return init_state(objective, optimizer, batch, rng)

    with jax.set_mesh(mesh):  # the mesh it will run on, so that it is traced once
        shapes = jax.eval_shape(fresh, rng)
    shardings = state_shardings(shapes, optimizer, mesh)
    abstract = jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes, shardings
    )
    schedule = learning_rate_schedule(config.optimizer, config.train.total_steps)
    schedules = group_schedules(config.optimizer, finetune, config.train.total_steps)

    def train_step(state: TrainState, batch: Array, seed: Array) -> tuple[TrainState, Report]:
        step = make_train_step(
            objective,
            optimizer,
            schedule,
            seed=seed,
            accumulation_steps=config.train.accumulation_steps,
            usual_rows=config.train.batch_size if config.train.batch_size_schedule.to is not None else None,
            log_every=config.train.log_every,
            group_schedules=schedules,
            total_steps=config.train.total_steps,
        )
        return step(state, batch)

    def eval_step(params: Any, batch: Array, number: Array, seed: Array) -> MetricSums:
        pieces = config.train.accumulation_steps
        return make_eval_step(objective, seed=seed, pieces=pieces)(params, batch, number)

    jitted = jax.jit(fresh, out_shardings=shardings, compiler_options=run_once_options(mesh))

    def init() -> TrainState:
        with compile_message("the initialisation"):
            return jitted(rng)

    return Program(
        mesh=mesh,
        objective=objective,
        abstract=abstract,
        init=init,
        train_step=WithSeed(
            WithCompileMessage(
                jax.jit(
                    train_step,
                    in_shardings=(shardings, rows, whole),
                    out_shardings=(shardings, whole),
                    donate_argnums=0,
                ),
                "the training step",
            ),
            config.seed,
            whole,
        ),
        eval_step=WithSeed(
            WithCompileMessage(
                jax.jit(eval_step, in_shardings=(shardings.params, rows, whole, whole), out_shardings=whole),
                "the evaluation",
            ),
            config.seed,
            whole,
        ),
    )
