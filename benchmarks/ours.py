"""What this project does with a workload: the compiled step of a run, and the discriminator's forward pass."""

from __future__ import annotations

from collections.abc import Callable

import jax

from benchmarks.workload import Workload
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives import build_objective
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.training.program import build_program


def start(workload: Workload) -> Callable[[int], None]:
    """Return a function that runs ``n`` steps of ``workload``; its first call compiles."""
    return _inference(workload) if workload.kind == "inference" else _training(workload)


def _training(workload: Workload) -> Callable[[int], None]:
    config = workload.config()
    program = build_program(config, Vocabulary(), make_mesh(config.mesh))
    with program.on_mesh():
        batch, state = program.to_global_batch(workload.rows()), program.init()

    def run(steps: int) -> None:
        nonlocal state
        with program.on_mesh():
            for _ in range(steps):
                state, report = program.train_step(state, batch)
                float(report["loss"])

    return run


def _inference(workload: Workload) -> Callable[[int], None]:
    one_device_per_core()  # as `electra_jax.predict` does
    config = workload.config()
    program = build_program(config, Vocabulary(), make_mesh(config.mesh))
    network = build_objective(config, Vocabulary()).network

    @jax.jit
    def logits(params: dict, ids: jax.Array) -> jax.Array:
        inputs = packed_inputs(ids, pad_id=0, cls_id=workload.cls_id, sep_id=workload.sep_id)
        found: jax.Array = network.apply({"params": params}, inputs, None, method="discriminate")
        return found

    with program.on_mesh():
        params, ids = program.init().params, program.to_global_batch(workload.rows())

    def run(steps: int) -> None:
        with program.on_mesh():
            for _ in range(steps):
                logits(params, ids).block_until_ready()

    return run


class Vocabulary:
    """A vocabulary of BERT's size without words: batches are ids already."""

    vocab_size = 30522
    pad_id, unk_id, cls_id, sep_id, mask_id = 0, 100, 101, 102, 103
