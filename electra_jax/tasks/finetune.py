"""Fine-tuning from examples to results; every seed is a run of the one training loop, in a directory of its own."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.fields import require
from electra_jax.config.keys import keys
from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.distributed.agreement import broadcast_from_host_0, is_host_0, print_on_host_0
from electra_jax.errors import UserError
from electra_jax.files.json_files import write_json
from electra_jax.model.attention.choice import choose_attention
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.tasks.averaging import average_of_recent, keep_recent
from electra_jax.tasks.batches import BatchPlan, TrainingOrder, make_batch, share_of, usable_buckets
from electra_jax.tasks.build import build_task, learn_settings
from electra_jax.tasks.decoder_start import FineTuningStart
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
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import Example, Rows, Signed, Task, TaskBatch
from electra_jax.tasks.results import (
    BEST,
    PREDICTIONS,
    RESULT,
    Result,
    print_table,
    read_best,
    read_predictions,
    read_result,
    summarize_seeds,
    write_jsonl,
)
from electra_jax.tasks.settings import TaskSettings, can_be_exported, write_settings
from electra_jax.tasks.sources import examples_fingerprint, load_examples
from electra_jax.tasks.starting_point import starting_point
from electra_jax.tasks.submission import write_submission
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.checkpoints import RunIdentity, restore_params, saved_steps, write_params
from electra_jax.training.loop import Metrics
from electra_jax.training.program import Program
from electra_jax.training.run import Experiment, run_experiment
from electra_jax.training.seed_selection import RESULTS, nan_as_worst, started_seeds
from electra_jax.training.start import check_data, check_run, check_tokenizer, initialize_workdir
from electra_jax.training.workdir import WorkDir

Splits = Mapping[str, Sequence[Example]]

# Rows of a batch that is predicted, at least, where batches of training are counted in tokens.
_PREDICTED_TOGETHER = 32
_SHORT_TARGET = 8  # of a batch that only serves for shapes
# Keys that decide, where they may change, what is predicted or what that is worth.
_PREDICTS = ("finetune.tasks.", "generation.")


@dataclass(frozen=True)
class FineTuningData:
    """Everything the seeds of a fine-tuning have in common.

    Attributes:
        config: of the whole command.
        tokenizer: that of the checkpoint it starts from.
        examples: by task and split.
        settings: by task, what was learned from its examples.
        tasks: by name.
        rows: encoded training rows by task.
        fingerprint: a hash of all examples.
        free_paths: keys whose value, a path, may differ from that of the run before, as long as the content is the
            same.
        free_writing: keys of the section ``generation`` that may change since every seed is trained, even where what
            was written on dev decided which parameters are the best.
    """

    config: Config
    tokenizer: Tokenizer
    examples: Mapping[str, Splits]
    settings: Mapping[str, TaskSettings]
    tasks: Mapping[str, Task]
    rows: Mapping[str, Rows]
    fingerprint: str
    free_paths: frozenset[str] = frozenset()
    free_writing: frozenset[str] = frozenset()

    @property
    def free(self) -> frozenset[str]:
        """Keys that may differ from the run before, besides those that always may."""
        return self.free_paths | self.free_writing

    @property
    def buckets(self) -> tuple[int, ...]:
        """The lengths that rows are padded to."""
        return usable_buckets(self.config.finetune.length_buckets, self.config.data.sequence_length)

    def order(self, seed: int) -> TrainingOrder:
        """Return the order of the batches for a seed."""
        return TrainingOrder(
            lengths={name: rows.lengths for name, rows in self.rows.items()},
            batch_size=self.config.train.batch_size,
            buckets=self.buckets,
            seed=seed,
            weights={name: task.weight for name, task in self.config.finetune.tasks.items()},
            target_lengths={
                name: np.array([len(ids) for ids in rows.target_ids])
                for name, rows in self.rows.items()
                if len(rows.target_ids)
            },
            batch_tokens=self.config.finetune.batch_tokens,
            texts_per_row={name: rows.texts_per_row for name, rows in self.rows.items()},
        )

    @property
    def prediction_rows(self) -> int:
        """Rows of a batch that is predicted."""
        size = self.config.train.batch_size
        return size if self.config.finetune.batch_tokens is None else -(-_PREDICTED_TOGETHER // size) * size


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
    data = replace(data, free_writing=free_writing)
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
        now = current_inputs(data.config.init_from, data.examples, classes)
        if begun is not None:
            check_inputs(workdir.root, begun, now)
        return asdict(now)

    if begun is None and started_seeds(workdir.root):
        notes.append(
            f"note: an earlier version began {workdir.root}, without noting what lay in init_from: only its path was "
            "compared"
        )
    return inputs_from_dict(broadcast_from_host_0(f"comparing inputs of {workdir.root}", compare))


def read_finetuning_data(
    config: Config, tokenizer: Tokenizer, notes: list[str], free_paths: frozenset[str] = frozenset()
) -> FineTuningData:
    """Read, check and encode the examples of all tasks.

    Args:
        config: with the sizes of the checkpoint it starts from.
        tokenizer: that of the checkpoint.
        notes: what a user should know is appended, a line each.
        free_paths: see `FineTuningData`.

    Raises:
        UserError: examples that cannot be used.
    """
    examples = {}
    for name, task in config.finetune.tasks.items():
        left_out: list[str] = []
        examples[name] = load_examples(
            name, task, tfds_data_dir=config.data.tfds_data_dir, needs=("train", "dev"), notes=left_out
        )
        notes += [f"note: finetune.tasks.{name}: {line}" for line in left_out]
    settings: dict[str, TaskSettings] = {}
    tasks: dict[str, Task] = {}
    rows: dict[str, Rows] = {}
    for name, splits in examples.items():
        settings[name], warnings = learn_settings(name, config.finetune.tasks[name], splits)
        notes += [f"warning: finetune.tasks.{name}: {warning}" for warning in warnings]
        tasks[name] = build_task(name, settings[name], config, tokenizer)
        settings[name] = replace(settings[name], classes=tasks[name].labels)
        rows[name] = tasks[name].encode(splits["train"], training=True)
        notes += [_noted(name, "train", line) for line in rows[name].notes]
        for split in splits:
            if split != "train":
                encoded = tasks[name].encode(
                    splits[split], training=False
                )  # finds unknown labels now, not at the end
                notes += [_noted(name, split, line) for line in encoded.notes]
        notes.append(
            f"{name}: "
            + ", ".join(f"{len(splits[split]):,} {split}" for split in splits)
            + f" examples, {len(rows[name]):,} training rows"
        )
    fingerprint = examples_fingerprint(
        {f"{n}.{s}": e for n, splits in examples.items() for s, e in splits.items()}
    )
    return FineTuningData(config, tokenizer, examples, settings, tasks, rows, fingerprint, free_paths)


def _noted(name: str, split: str, line: str) -> str:
    kind, _, rest = line.partition(": ")
    return f"{kind}: finetune.tasks.{name}, {split}: {rest}"


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
    workdir = WorkDir(root.root / f"seed-{seed}")
    network = build_network(config, tokenizer.vocab_size, mesh.devices.flat[0].platform)
    objective = FineTuning(
        network, data.tasks, _example_batches(data), sum_losses=config.finetune.reference_quirks
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


def _example_batches(data: FineTuningData) -> dict[str, TaskBatch]:
    """Return a batch of each task, padded to the shortest bucket, for shapes."""
    size, length = data.config.train.batch_size, data.buckets[0]
    batches = {}
    for name, rows in data.rows.items():
        numbers = np.array([0, *[-1] * (size - 1)])
        plan = BatchPlan(length, numbers, _SHORT_TARGET if len(rows.target_ids) else 0)
        short = replace(
            rows,
            input_ids=[rows.input_ids[0][..., :length]],
            token_type_ids=[rows.token_type_ids[0][..., :length]],
            segment_ids=[ids[..., :length] for ids in rows.segment_ids[:1]],
            targets={
                target: values if isinstance(values, np.ndarray) else [values[0][:length]]
                for target, values in rows.targets.items()
            },
            target_ids=[ids[:_SHORT_TARGET] for ids in rows.target_ids[:1]],
        )
        batches[name] = make_batch(name, short, plan, data.tokenizer.pad_id, targets=True)
    return batches


class FineTuningWorkload:
    """Implements `loop.Workload`: bucketed batches, and the tasks' own metrics on their dev examples."""

    def __init__(
        self,
        config: Config,
        saved_config: Config,
        data: FineTuningData,
        objective: FineTuning,
        program: Program[FineTuning],
        workdir: WorkDir,
        root: WorkDir,
    ):
        self._config, self._data, self._program = config, data, program
        self._workdir, self._saved_config = workdir, saved_config
        self._step = make_predict_step(objective, program.mesh)
        self._shapes: list[
            tuple[int, int]
        ] = []  # rows and tokens of the batches since throughput was last logged
        self.settings = dict(data.settings)
        self.tokens_per_step = config.train.batch_size * config.data.sequence_length
        file, folder = (shlex.quote(str(path)) for path in (root.config, root.root))
        self.command = f"python -m electra_jax.train --config {file} --workdir {folder}"

    def batches(self, start: int) -> Iterator[TaskBatch]:
        """Yield this host's part of the batches after step ``start``."""
        data = self._data
        for name, plan in data.order(self._config.seed).plans(start, self._config.train.total_steps):
            batch = make_batch(name, data.rows[name], plan, data.tokenizer.pad_id, targets=True)
            written = len(plan.rows) * plan.target_length
            self._shapes.append((len(plan.rows), batch.inputs.input_ids.size + written))
            yield share_of(batch, *self._program.host_share)

    def throughput(self, seconds_per_step: float | None) -> Metrics:
        """Return sequences and tokens per second, padding included, since the last call."""
        shapes, self._shapes = self._shapes, []
        if not seconds_per_step or not shapes:
            return {"sequences_per_second": None, "tokens_per_second": None}
        rows, tokens = (float(value) / seconds_per_step for value in np.mean(shapes, axis=0))
        return {"sequences_per_second": rows, "tokens_per_second": tokens}

    def evaluate(self, params: Any, step: int) -> Metrics:
        """Return the metrics of the tasks on their dev examples; keep the parameters if they are the best so far."""
        metrics: Metrics = {}
        several = len(self._data.tasks) > 1
        primary = []
        for name, task in self._data.tasks.items():
            dev = self._data.examples[name]["dev"]
            scores = task.score(dev, task.predictions(dev, *self._outputs(params, task, "dev")))
            primary.append(scores[task.metric])
            metrics |= {f"{name}_{metric}" if several else metric: v for metric, v in scores.items()}
        if self._config.finetune.select == "best":
            self._keep_if_best(params, step, float(np.mean(primary)))
        elif self._config.finetune.select == "average":
            keep_recent(self._workdir.root, step, params, self._identity, self._config.finetune.average_last)
        return metrics

    @property
    def _identity(self) -> RunIdentity:
        """What parameters that are kept beside the checkpoints belong to."""
        return RunIdentity(self._data.tokenizer.fingerprint, None, self._saved_config.model_dump())

    def _keep_if_best(self, params: Any, step: int, value: float) -> None:
        best = self._workdir.root / "best"
        kept, saved = broadcast_from_host_0(
            f"step {step} of {best}", lambda: (read_best(best), saved_steps(best / "checkpoints"))
        )
        if kept is not None and kept["step"] < step and nan_as_worst(kept["value"]) >= nan_as_worst(value):
            return
        if step not in saved:
            write_params(best / "checkpoints", step, params, self._identity)
        if is_host_0():
            write_json(best / BEST, {"step": step, "value": value})

    def selected(self, params: Any) -> Any:
        """Return the parameters to keep (``finetune.select``): those given, the best on the dev examples, or a mean."""
        finetune, abstract = self._config.finetune, self._program.abstract.params
        if finetune.select == "last":
            return params
        if finetune.select == "average":
            last = self._config.train.total_steps
            return average_of_recent(
                self._workdir.root, last, finetune.average_last, self._identity, abstract
            )
        best = self._workdir.root / "best"
        kept = broadcast_from_host_0(f"best step of {best}", lambda: read_best(best))
        if kept is None:
            raise UserError(
                f"{best / BEST} is gone, so which parameters were the best is not known: restore it from a copy, or "
                f"delete {self._workdir.root} to train this seed anew"
            )
        return restore_params(best / "checkpoints", kept["step"], abstract)

    def _outputs(self, params: Any, task: Task, split: str) -> tuple[Rows, dict[str, np.ndarray]]:
        """Return the rows of a split, and the head's outputs for each row."""
        data = self._data
        rows = task.encode(data.examples[task.name][split], training=False)
        outputs = predict_rows(
            self._step,
            self._program.mesh,
            params,
            task.name,
            rows,
            batch_size=data.prediction_rows,
            buckets=data.buckets,
            pad_id=data.tokenizer.pad_id,
        )
        return rows, outputs

    def predict_all(self, params: Any) -> dict[str, dict[str, dict[str, float]]]:
        """Predict all splits but train, write the predictions, and return the scores of those with known labels."""
        scores: dict[str, dict[str, dict[str, float]]] = {}
        folder = self._workdir.root / PREDICTIONS
        for name, trained in self._data.tasks.items():
            scores[name] = {}
            splits = {split: some for split, some in self._data.examples[name].items() if split != "train"}
            outputs = {"dev": self._outputs(params, trained, "dev")}
            tuned = trained.tune(splits["dev"], trained.predictions(splits["dev"], *outputs["dev"]))
            self.settings[name] = replace(self.settings[name], **tuned.learned_settings)
            if tuned.note is not None:
                print_on_host_0(tuned.note)
            for split, examples in splits.items():
                found = outputs.pop(split) if split in outputs else self._outputs(params, tuned.task, split)
                predictions = tuned.task.predictions(examples, *found)
                if is_host_0():
                    write_jsonl(folder / f"{name}.{split}.jsonl", predictions)
                if not any(example.hidden for example in examples):
                    scores[name][split] = tuned.task.score(examples, predictions)
        return scores


def print_next_steps(data: FineTuningData, root: WorkDir) -> None:
    """Print the commands that use the result, and which of its heads can be exported, if any."""
    folder = shlex.quote(str(root.root))
    print_on_host_0(
        f"to use it: python -m electra_jax.predict --workdir {folder} --input FILE (the best seed on dev)"
    )
    if data.config.model.block == "modern":
        return  # Hugging Face's ELECTRA has other layers
    style = data.config.finetune.head_style
    width = data.config.model.hidden_size
    sections = data.config.finetune.tasks
    copying = [
        n for n, task in sections.items() if isinstance(task, Seq2SeqConfig) and task.decoder.copy_mechanism
    ]
    theirs = {
        name: can_be_exported(style, task, width)
        for name, task in data.settings.items()
        if name not in copying
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
    if copying:
        print_on_host_0(
            f"not to be exported to Hugging Face: {', '.join(copying)}, whose decoder has a copy mechanism"
        )


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
        write_submission(directory, name, splits)
