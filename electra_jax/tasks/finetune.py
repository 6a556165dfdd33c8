"""Fine-tuning from examples to results; every seed is a run of the one training loop, in a directory of its own."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.fields import require
from electra_jax.config.keys import keys
from electra_jax.config.networks import ModelConfig
from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import TaskConfig
from electra_jax.distributed.agreement import (
    broadcast_from_host_0,
    gather_from_hosts,
    is_host_0,
    print_on_host_0,
)
from electra_jax.errors import UserError
from electra_jax.files.json_files import write_json
from electra_jax.model.attention.choice import choose_attention
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.tasks.decoder_start import FineTuningStart
from electra_jax.tasks.finetuning_data import FineTuningData, example_batches, read_finetuning_data
from electra_jax.tasks.head_transfer import HeadTransfer
from electra_jax.tasks.inputs import (
    FineTuningInputs,
    check_inputs,
    current_inputs,
    inputs_from_dict,
    path_keys,
    read_inputs,
    write_inputs,
)
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import Signed
from electra_jax.tasks.results import (
    PREDICTIONS,
    RESULT,
    Result,
    print_table,
    read_predictions,
    read_result,
    summarize_seeds,
)
from electra_jax.tasks.settings import can_be_exported, write_settings
from electra_jax.tasks.starting_point import starting_point
from electra_jax.tasks.submission import check_submission, write_submission
from electra_jax.tasks.workload import FineTuningWorkload
from electra_jax.training.checkpoints import saved_steps
from electra_jax.training.initialisation import resolve_checkpoint
from electra_jax.training.run import Experiment, run_experiment
from electra_jax.training.seed_selection import RESULTS, started_seeds
from electra_jax.training.start import check_data, check_run, check_tokenizer, initialize_workdir
from electra_jax.training.workdir import WorkDir

# Keys that decide, where they may change, what is predicted or what that is worth.
_PREDICTS = ("finetune.tasks.", "generation.")


def finetune(config: Config, workdir: WorkDir, submission: Path | None = None) -> dict[str, Any]:
    """Fine-tune with every seed in ``workdir``, or continue, and return the results over all seeds.

    Args:
        config: the configuration.
        workdir: has a directory for each seed.
        submission: a directory for GLUE's submission files; None writes none.

    Returns:
        What is written to results.json; {} if a signal stopped the run.

    Raises:
        UserError: anything the user can put right, before any device is used.
    """
    if not config.finetune.tasks:
        raise UserError(
            "finetune.tasks names no task: use one of configs/finetune, or name your own, such as "
            "'finetune.tasks.mine={kind: classification, train: a.csv, dev: b.csv, text: text, label: label}'"
        )
    config, tokenizer, notes = starting_point(config, workdir.tokenizer)
    begun = _read_begun(workdir)
    # The content at a path is compared below. An earlier version did not record it, so there the path must be the same.
    free_paths = path_keys(config.finetune.tasks) if begun is not None else frozenset()
    free_writing = _free_writing(config, workdir)
    changes = workdir.check_usable(config, free=free_paths | free_writing)
    check_tokenizer(config.init_from, workdir, tokenizer)
    data = read_finetuning_data(config, tokenizer, notes, free_paths)
    _check_same_on_all_hosts(data, workdir)
    start = (
        None if config.init_from is None else resolve_checkpoint(f"start of {workdir.root}", config.init_from)
    )
    data = replace(data, free_writing=free_writing, start=start)
    if submission is not None:
        check_submission(data.examples, data.tasks)
    inputs = _check_inputs(data, workdir, begun, notes)
    for number in range(config.finetune.seeds):
        check_seed(data, workdir, config.seed + number)
    mesh = make_mesh(config.mesh)
    check_batch(config.train, config.model, mesh)
    notes.append(choose_attention(config, mesh.devices.flat[0].platform).line)
    use_compilation_cache(config.compute, config.data, mesh.devices.flat[0].platform)

    initialize_workdir(config, workdir, tokenizer, start=0)
    if is_host_0() and begun is None and not started_seeds(workdir.root):
        write_inputs(workdir.root, inputs)
    for line in [*changes, *notes]:
        print_on_host_0(line)
    results = []
    for number in range(config.finetune.seeds):
        result = run_seed(data, workdir, config.seed + number, mesh)
        if result is None:  # stopped, and saved
            return {}
        results.append(result)
    f1_of = {name: task.f1_of for name, task in data.tasks.items() if task.f1_of is not None}
    signatures = {
        name: {split: task.signatures(data.examples[name][split]) for split in results[0]["scores"][name]}
        for name, task in data.tasks.items()
        if isinstance(task, Signed)
    }
    summary = summarize_seeds(config.init_from, config.finetune, results, f1_of, signatures)
    if is_host_0():
        write_json(workdir.root / RESULTS, summary)
        print_table(summary)
        print_next_steps(data, workdir)
        if submission is not None:
            write_submissions(data, workdir, summary, submission)
    return summary


def _check_same_on_all_hosts(data: FineTuningData, workdir: WorkDir) -> None:
    """Compare vocabulary and examples, of which each host reads a copy of its own.

    Raises:
        UserError: a host has others.
    """
    name = f"the examples of {workdir.root}"
    first, *others = gather_from_hosts(name, f"{data.tokenizer.fingerprint} {data.fingerprint}")
    if wrong := [str(host) for host, other in enumerate(others, start=1) if other != first]:
        raise UserError(
            f"{name}: host {', '.join(wrong)} has other examples, or another vocabulary, than host 0: all hosts must "
            "have the same files, or share them"
        )


def _free_writing(config: Config, workdir: WorkDir) -> frozenset[str]:
    """Return the keys of the section ``generation`` if all seeds that are asked for are trained to their end."""

    def trained() -> bool:
        # Predictions are written when a seed ends, and stay.
        seeds = (workdir.root / f"seed-{config.seed + n}" for n in range(config.finetune.seeds))
        return all((seed / PREDICTIONS).is_dir() for seed in seeds)

    if not broadcast_from_host_0(f"seeds of {workdir.root}", trained):
        return frozenset()
    return frozenset(key.name for key in keys() if key.name.startswith("generation."))


def _read_begun(workdir: WorkDir) -> FineTuningInputs | None:
    """Return what the fine-tuning in a work directory was begun with, on every host; see `read_inputs`."""
    found = broadcast_from_host_0(
        f"inputs of {workdir.root}",
        lambda: None if (read := read_inputs(workdir.root)) is None else asdict(read),
    )
    return None if found is None else inputs_from_dict(found)


def _check_inputs(
    data: FineTuningData, workdir: WorkDir, begun: FineTuningInputs | None, notes: list[str]
) -> FineTuningInputs:
    """Return what it begins with now, compared with what it was begun with; add a note where that is unknown.

    Raises:
        UserError: they differ.
    """
    classes = {name: task.labels for name, task in data.tasks.items()}

    def compare() -> dict[str, Any]:
        now = current_inputs(data.start, data.examples, classes)
        if begun is not None:
            check_inputs(workdir.root, begun, now)
        return asdict(now)

    if begun is None and started_seeds(workdir.root):
        notes.append(
            f"note: an earlier version began {workdir.root}, without noting what lay in init_from: only its path was "
            "compared"
        )
    return inputs_from_dict(broadcast_from_host_0(f"comparing inputs of {workdir.root}", compare))


def seed_config(data: FineTuningData, seed: int) -> Config:
    """Return the configuration of one seed as it is written down: the command's, with this seed."""
    return data.config.model_copy(update={"seed": seed})


def with_derived_steps(config: Config, steps_per_epoch: int) -> Config:
    """Return the configuration with steps, warm-up and evaluation interval derived from the examples where unset."""
    train, optimizer, finetune = config.train, config.optimizer, config.finetune
    if train.steps is None:
        epochs = require(finetune.epochs, "finetune.epochs")
        train = train.model_copy(update={"steps": max(1, round(epochs * steps_per_epoch))})
    if train.eval_every is None:
        train = train.model_copy(update={"eval_every": steps_per_epoch})
    if optimizer.warmup_steps is None:
        share = require(finetune.warmup_fraction, "finetune.warmup_fraction")
        least = 1 if optimizer.schedule == "inverse_sqrt" else 0  # which has no rate without a warm-up
        warmup = max(least, round(share * train.total_steps))
        optimizer = optimizer.model_copy(update={"warmup_steps": warmup})
    return config.model_copy(update={"train": train, "optimizer": optimizer})


def check_seed(data: FineTuningData, root: WorkDir, seed: int) -> None:
    """Refuse a seed that was begun, or finished, with another configuration or on other examples; write nothing.

    Raises:
        UserError: it was begun differently.
    """
    workdir = WorkDir(root.root / f"seed-{seed}")
    if not workdir.root.exists():
        return
    # First, since the examples decide settings such as the warm-up.
    check_data(workdir, data.fingerprint, "set of examples")
    saved_config = seed_config(data, seed)
    check_run(saved_config, workdir, free=data.free)
    workdir.check_usable(saved_config, free=data.free)
    check_tokenizer(saved_config.init_from, workdir, data.tokenizer)


def run_seed(data: FineTuningData, root: WorkDir, seed: int, mesh: jax.sharding.Mesh) -> Result | None:
    """Train one seed to its end and predict every split.

    Returns:
        ``{"seed", "steps", "scores": {task: {split: {metric: value}}}}``, also written to its directory; None if a
        signal stopped it.
    """
    workdir = WorkDir(root.root / f"seed-{seed}")
    saved_config = seed_config(data, seed)
    result = broadcast_from_host_0(
        f"result of {workdir.root}", lambda: _result_of(workdir, saved_config, data.free_writing)
    )
    if result is not None:
        return result
    experiment = seed_experiment(data, root, seed, mesh)
    finished, steps = run_experiment(experiment), experiment.config.train.total_steps
    trained = broadcast_from_host_0(
        f"end of {workdir.root}", lambda: steps in saved_steps(workdir.checkpoints)
    )
    if finished.stop_signal is not None and finished.start < steps and not trained:
        return None
    workload = finished.workload
    assert isinstance(workload, FineTuningWorkload)
    scores = workload.predict_all(workload.selected(finished.state.params))
    result = Result(seed=seed, steps=steps, scores=scores)
    if is_host_0():
        write_settings(workdir.root, workload.settings)
        write_json(workdir.root / RESULT, result)
    return result


def seed_experiment(
    data: FineTuningData, root: WorkDir, seed: int, mesh: jax.sharding.Mesh
) -> Experiment[FineTuning]:
    """Return the run of one seed, in a directory of its own."""
    saved_config, tokenizer = seed_config(data, seed), data.tokenizer
    config = with_derived_steps(saved_config, data.order(seed).steps_per_epoch)
    config = config.model_copy(update={"init_from": data.start})
    workdir = WorkDir(root.root / f"seed-{seed}")
    network = build_network(config, tokenizer.vocab_size, mesh.devices.flat[0].platform)
    objective = FineTuning(
        network, data.tasks, example_batches(data), sum_losses=config.finetune.reference_quirks
    )
    return Experiment(
        config=config,
        saved_config=saved_config,
        workdir=workdir,
        tokenizer=tokenizer,
        data=data.fingerprint,
        objective=objective,
        batch=next(iter(objective.examples.values())),
        mesh=mesh,
        make_workload=lambda program: FineTuningWorkload(
            config, saved_config, data, objective, program, workdir, root
        ),
        adapt=FineTuningStart(HeadTransfer(data.settings), data.config.finetune.tasks),
        # A model that starts from this one needs its classes.
        write_files=lambda: write_settings(workdir.root, data.settings),
    )


def _result_of(workdir: WorkDir, saved_config: Config, free: frozenset[str]) -> Result | None:
    """Return the result of a finished seed; None where it is not finished, or was scored with other settings.

    Settings that only decide what is done with predictions may have changed since: the parameters are the same, so it
    is only predicted and scored again.
    """
    result = read_result(workdir.root)
    if result is None or not workdir.config.is_file():
        return result
    changes = differences(workdir.load_config(), saved_config, free=free)
    if not any(change.free and change.key.startswith(_PREDICTS) for change in changes):
        return result
    (workdir.root / RESULT).unlink()
    print_on_host_0(f"seed {saved_config.seed} is predicted and scored anew: {format_differences(changes)}")
    return None


def print_next_steps(data: FineTuningData, root: WorkDir) -> None:
    """Print the commands that use the result, and which of its heads can be exported, if any."""
    folder = shlex.quote(str(root.root))
    print_on_host_0(
        f"to use it: python -m electra_jax.predict --workdir {folder} --input FILE (the best seed on dev)"
    )
    style, model = data.config.finetune.head_style, data.config.model
    own = {name: why for name, task in data.config.finetune.tasks.items() if (why := _only_here(task, model))}
    theirs = {
        name: can_be_exported(style, task, model.hidden_size, model.block)
        for name, task in data.settings.items()
        if name not in own
    }
    if any(theirs.values()):
        named = ", ".join(name for name, shared in theirs.items() if shared)
        print_on_host_0(f"to export {named} to Hugging Face: python -m electra_jax.convert {folder} DIR")
    named = ", ".join(
        name for name, shared in theirs.items() if not shared and data.settings[name].kind != "ranking"
    )
    if named:
        print_on_host_0(
            f"not to be exported to Hugging Face: {named}, whose head has the original's shape "
            "(finetune.head_style=huggingface trains one that can be)"
        )
    for name, why in own.items():
        print_on_host_0(f"not to be exported to Hugging Face: {name}, {why}")


def _only_here(task: TaskConfig, model: ModelConfig) -> str | None:
    """Return what of a task none of Hugging Face's classes has, whatever its head; None if there is nothing."""
    if isinstance(task, Seq2SeqConfig):
        if model.block == "modern":
            return "whose decoder has modern blocks"
        return "whose decoder has a copy mechanism" if task.decoder.copy_mechanism else None
    means = getattr(task, "pooling", None) == "mean" and task.kind != "ranking"
    return "which reads the mean over the tokens" if means and model.block == "bert" else None


def write_submissions(
    data: FineTuningData, root: WorkDir, summary: Mapping[str, Any], directory: Path
) -> None:
    """Write GLUE's submission files, of each task's best seed on its dev examples."""
    for name, task in data.tasks.items():
        best = summary["tasks"][name]["dev"][task.metric]["best_seed"]
        folder = root.root / f"seed-{best}" / PREDICTIONS
        splits = {}
        for split in data.examples[name]:
            if split.startswith("test"):
                splits[split] = read_predictions(folder / f"{name}.{split}.jsonl")
        for path in write_submission(directory, name, splits):
            print_on_host_0(f"for gluebenchmark.com: {path}")
