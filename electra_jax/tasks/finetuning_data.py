"""The examples of a fine-tuning, read, checked and encoded: what all its seeds have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from electra_jax.config.schema import Config
from electra_jax.tasks.batches import BatchPlan, TrainingOrder, make_batch, usable_buckets
from electra_jax.tasks.build import build_task, learn_settings
from electra_jax.tasks.protocol import Example, Rows, Task, TaskBatch
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tasks.sources import examples_fingerprint, load_examples
from electra_jax.tasks.text_rows import check_token_types
from electra_jax.tokenizers import Tokenizer

Splits = Mapping[str, Sequence[Example]]

# Rows of a batch that is predicted, at least, where batches of training are counted in tokens.
_PREDICTED_TOGETHER = 32
_SHORT_TARGET = 8  # of a batch that only serves for shapes


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
        start: the checkpoint that ``init_from`` named when the command began, which every seed starts from.
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
    start: str | None = None

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
            name,
            task,
            tfds_data_dir=config.data.tfds_data_dir,
            needs=("train", "dev"),
            notes=left_out,
            sequence_length=config.data.sequence_length,
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
        check_token_types(name, rows[name], config.model)
        notes += [_noted(name, "train", line) for line in rows[name].notes]
        for split in splits:
            if split != "train":
                # Finds unknown labels now, not at the end.
                encoded = tasks[name].encode(splits[split], training=False)
                check_token_types(name, encoded, config.model)
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


def example_batches(data: FineTuningData) -> dict[str, TaskBatch]:
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
