"""Our own work directories: checkpoints of a run, and directories of converted weights.

Converted weights are a work directory with one checkpoint and without logs. Without the state of an optimizer a run can
start from it (``init_from``) but not resume in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from electra_jax.config import dump_config
from electra_jax.config.compare import differences, format_differences
from electra_jax.config.loading import validate, with_overrides
from electra_jax.config.machines import MeshConfig
from electra_jax.config.schema import Config
from electra_jax.convert.flat_parameters import expected_shapes, flatten, unflatten
from electra_jax.convert.weights import AdamMoments, Weights
from electra_jax.errors import UserError
from electra_jax.model.disentangled import is_disentangled, materialised
from electra_jax.optim.adam import ElectraAdamState
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.settings import FILE, check_heads, read_settings, write_settings
from electra_jax.tokenizers import Tokenizer, load_tokenizer
from electra_jax.tokenizers.storage import DESCRIPTION
from electra_jax.training.checkpoints import (
    CheckpointWriter,
    RunIdentity,
    find_checkpoint,
    has_progress,
    is_step,
    read_identity,
    read_params,
    restore_state,
    write_params,
)
from electra_jax.training.program import build_program
from electra_jax.training.seed_selection import RESULTS, run_directory, started_seeds
from electra_jax.training.state import TrainState
from electra_jax.training.workdir import WorkDir


def is_native(path: Path) -> bool:
    """Return whether ``path`` is a work directory with checkpoints or finished seeds, or one of its checkpoints."""
    if (path / "checkpoints").is_dir() or (path.parent.name == "checkpoints" and is_step(path.name)):
        return True
    return (path / "config.yaml").is_file() and ((path / RESULTS).exists() or bool(started_seeds(path)))


def read_native(
    path: Path, *, step: int | None = None, overrides: Sequence[str] = (), optimizer: bool = False
) -> Weights:
    """Read a checkpoint.

    Args:
        path: a work directory, or ``…/checkpoints/STEP``, see `find_checkpoint`.
        step: which checkpoint; None: the newest.
        overrides: ``key.path=value``, which take precedence over the run's configuration.
        optimizer: whether to read Adam's moments.

    Raises:
        UserError: there is none, it cannot be read, or it has no such moments.
    """
    step, directory = find_checkpoint(path, step)
    where = directory / str(step)
    trained = validate(dict(read_identity(directory, step).config), str(where))
    config = with_overrides(trained.model_dump(), overrides, str(where)) if overrides else trained
    run = run_directory(directory)
    folder = WorkDir(run).tokenizer
    tokenizer = load_tokenizer(folder) if folder.exists() else None
    vocab_size = tokenizer.vocab_size if tokenizer else config.tokenizer.vocab_size
    if vocab_size is None:
        raise UserError(
            f"{folder} is missing, so the size of the vocabulary is not known: restore it from a copy"
        )
    _check_same_model(where, trained, config, vocab_size)
    moments = _read_moments(config, tokenizer, directory, step) if optimizer else None
    config, params = materialised(config, read_params(directory, step))
    tasks = read_settings(run) if (run / FILE).is_file() else {}
    if tasks:
        check_heads(run, tasks, params.get("heads", {}), trained.finetune.tasks)
    return Weights(
        config=config,
        parameters=flatten(params, vocab_size),
        vocab_size=vocab_size,
        tokenizer=tokenizer,
        step=step,
        moments=moments,
        notes=_notes(where, trained),
        tasks=tasks,
    )


def _notes(where: Path, trained: Config) -> tuple[str, ...]:
    if not is_disentangled(trained):
        return ()
    return (
        f"{where} was trained with generator.sharing=gdes: the discriminator's embeddings are added up, and the "
        "generator has its own (generator.sharing=none)",
    )


def _check_same_model(where: Path, trained: Config, config: Config, vocab_size: int) -> None:
    """Refuse overrides that would change the shapes of the parameters, or the tokenizer.

    Raises:
        UserError: they would.
    """
    changed = [change for change in differences(trained, config) if change.key.startswith("tokenizer.")]
    if config != trained and expected_shapes(config, vocab_size) != expected_shapes(trained, vocab_size):
        changed += [
            change
            for change in differences(trained, config)
            if change.key.startswith(("model.", "generator.", "objective."))
        ]
    if changed:
        raise UserError(
            f"the model in {where} cannot be converted as another: {format_differences(changed)}; leave these settings "
            "out"
        )


def _read_moments(config: Config, tokenizer: Tokenizer | None, directory: Path, step: int) -> AdamMoments:
    where = directory / str(step)
    if is_disentangled(config):
        raise UserError(
            f"{where} was trained with generator.sharing=gdes, whose differences are added up, and moments cannot be: "
            "leave --optimizer out"
        )
    if config.generator.frozen_from is not None:
        raise UserError(
            f"{where} was trained with generator.frozen_from, so its generator has no moments to carry along: leave "
            "--optimizer out"
        )
    if tokenizer is None or not has_progress(directory, step):
        raise UserError(f"{where} has no optimizer state for --optimizer to carry along: leave that out")
    program = build_program(config, tokenizer, make_mesh(MeshConfig()))
    state = restore_state(directory, step, program.abstract)
    adams = [part for part in jax.tree.leaves(state.opt_state, is_leaf=_is_adam) if _is_adam(part)]
    if not adams:
        raise UserError(
            f"{where} was trained with optimizer.kind={config.optimizer.kind}: --optimizer carries along the moments "
            "of electra_adam only, as the original has no other"
        )
    return AdamMoments(*(flatten(moment, tokenizer.vocab_size) for moment in (adams[0].mu, adams[0].nu)))


def _is_adam(part: Any) -> bool:
    return isinstance(part, ElectraAdamState)


def write_native(weights: Weights, directory: Path, final: Path) -> list[str]:
    """Write config.yaml, the tokenizer and one checkpoint.

    Args:
        weights: what to write.
        directory: an empty directory.
        final: where it will be moved, for the paths in config.yaml.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: moments without a tokenizer, or for another optimizer.
    """
    workdir = WorkDir(directory)
    config, tokenizer = weights.config, weights.tokenizer
    if tokenizer is not None:
        tokenizer.save(workdir.tokenizer)
        (file,) = (file for file in workdir.tokenizer.iterdir() if file.name != DESCRIPTION)
        vocab_file = str(final.absolute() / "tokenizer" / file.name)
        section = config.tokenizer.model_copy(update={"vocab_file": vocab_file})
        config = config.model_copy(update={"tokenizer": section})
    fingerprint = None if tokenizer is None else tokenizer.fingerprint
    identity = RunIdentity(tokenizer=fingerprint, data=None, config=config.model_dump())
    params = unflatten(weights.parameters, config.model.vocab_multiple)
    if weights.moments is None:
        write_params(workdir.checkpoints, weights.step, params, identity)
    else:
        state = _train_state(weights, config, params)
        writer = CheckpointWriter(workdir.checkpoints, config.train, identity)
        writer.save(weights.step, state)
        writer.close()
    workdir.config.write_text(dump_config(config))
    if weights.tasks:
        write_settings(directory, weights.tasks)
    return []


def _train_state(weights: Weights, config: Config, params: Any) -> TrainState:
    """Return a state that continues where the source stopped; the metric sums are 0."""
    assert weights.moments is not None
    if weights.tokenizer is None:
        raise UserError(
            "--optimizer needs the vocabulary, to build the state of a run: give it with --vocab FILE"
        )
    if config.optimizer.kind != "electra_adam":
        raise UserError(
            f"--optimizer carries along moments of electra_adam, not of optimizer.kind={config.optimizer.kind}"
        )
    multiple = config.model.vocab_multiple
    moments = ElectraAdamState(
        unflatten(weights.moments.mu, multiple), unflatten(weights.moments.nu, multiple)
    )
    program = build_program(config, weights.tokenizer, make_mesh(MeshConfig()))
    wanted: Any = jax.tree.structure(program.abstract.params)
    if wanted != jax.tree.structure(params):
        raise UserError("--optimizer needs both networks whole: a run cannot go on without one of them")

    def part(leaf: Any) -> Any:
        if _is_adam(leaf):
            return moments
        if isinstance(leaf, optax.ScaleByScheduleState):
            return optax.ScaleByScheduleState(count=np.asarray(weights.step, np.int32))
        return leaf

    opt_state = jax.tree.map(
        part,
        program.abstract.opt_state,
        is_leaf=lambda x: _is_adam(x) or isinstance(x, optax.ScaleByScheduleState),
    )
    return TrainState(
        step=np.asarray(weights.step, np.int32),  # type: ignore[arg-type]
        params=params,
        opt_state=opt_state,
        metric_sums=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), program.abstract.metric_sums),
    )
