"""Loading the examples of a task, as its configuration says."""

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Literal

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.seq2seq import ParallelFiles
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import TaskConfig
from electra_jax.config.tasks import nearest_benchmark
from electra_jax.data.sources.read_many import read_all
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Example
from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Benchmark
from electra_jax.tasks.sources.checks import check_examples
from electra_jax.tasks.sources.official import expected_files, find_official, folder_listing, read_official
from electra_jax.tasks.sources.own_files import read_own_file
from electra_jax.tasks.sources.parallel_texts import read_parallel_files
from electra_jax.tasks.sources.reply_examples import reply_examples
from electra_jax.tasks.sources.tfds_examples import read_tfds

_TFDS = "tfds:"


def load_examples(
    name: str,
    config: TaskConfig,
    *,
    tfds_data_dir: str | None = None,
    needs: Collection[str] = (),
    notes: list[str] | None = None,
    sequence_length: int | None = None,
) -> dict[str, list[Example]]:
    """Read and check all examples of a task.

    CoNLL-2000 and AG News have no dev examples. They are taken from the training examples: the last tenth of
    CoNLL-2000's sentences, and every tenth example of AG News, whose file is partly sorted by class.

    Args:
        name: of the task; the name of a benchmark decides files, columns and labels.
        config: section of the task.
        tfds_data_dir: directory of TFDS datasets; None is TFDS's default.
        needs: splits that must be there.
        notes: what was left out of the files is appended, a line each.
        sequence_length: tokens that are read of a text: a longer one of conversations need not be made whole.

    Returns:
        Examples by split: "train", "dev", "test", for MNLI also "dev_mismatched", "test_mismatched" and
        "test_diagnostic" (GLUE's AX); those that do not exist are absent.

    Raises:
        UserError: the examples cannot be read, are not what the configuration says, or a split of ``needs`` is missing.
    """
    where = f"finetune.tasks.{name}"
    files = {"train": config.train, "dev": config.dev, "test": config.test}
    own = {split: file for split, file in files.items() if file is not None}
    if (config.data is not None) == bool(own):
        both = f"both data and {', '.join(own)}" if own else "neither data nor files of its own"
        raise UserError(f"{where} names {both}; set either data, or train, dev and test.")
    notes = [] if notes is None else notes
    benchmark = BENCHMARKS.get(name) if config.data is not None else None
    there = f"given are {', '.join(own)}"
    if isinstance(config, Seq2SeqConfig | RankingConfig) and config.conversations is not None:
        paths = {split: _path(str(file)) for split, file in own.items()}
        examples = reply_examples(paths, config, config.conversations, where, notes, sequence_length)
    elif config.data is None:
        read = read_all(_reader(file, config, where, split, notes) for split, file in own.items())
        examples = dict(zip(own, read, strict=True))
    elif config.data.startswith(_TFDS):
        spec = config.data.removeprefix(_TFDS)
        examples = read_tfds(spec, config, benchmark, where, tfds_data_dir)
        there = f"{config.data} has {', '.join(examples)}"
    else:
        examples, there = _read_directory(name, config, where, notes)
    if benchmark is not None and benchmark.held_out is not None:
        examples = hold_out_dev(examples, benchmark.held_out)
    if missing := [split for split in needs if split not in examples]:
        official_files = ""
        if benchmark is not None and not config.data.startswith(_TFDS):  # type: ignore[union-attr]
            official = [split for split in missing if split in benchmark.files]
            official_files = f" ({expected_files(benchmark, official)})" if official else ""
        raise UserError(f"{where} has no {' and no '.join(missing)} examples{official_files}; {there}.")
    check_examples(examples, config, benchmark, where)
    return examples


def _reader(
    file: str | ParallelFiles, config: TaskConfig, where: str, split: str, notes: list[str]
) -> Callable[[], list[Example]]:
    if isinstance(file, ParallelFiles):
        return lambda: list(read_parallel_files(file, where, split, notes))
    return partial(read_own_file, _path(file), config, where, split, notes)


def hold_out_dev(
    examples: dict[str, list[Example]], how: Literal["end", "every_tenth"]
) -> dict[str, list[Example]]:
    """Move a tenth of train (rounded down) to dev, always the same examples, if there is no dev.

    Args:
        examples: by split.
        how: "end" moves the last tenth, "every_tenth" the 10th, 20th, ….
    """
    train = examples.get("train", [])
    size = len(train) // 10
    if "dev" in examples or not size:
        return examples
    moved = set(range(len(train) - size, len(train)) if how == "end" else range(9, len(train), 10))
    kept = [example for number, example in enumerate(train) if number not in moved]
    dev = [example for number, example in enumerate(train) if number in moved]
    return {"train": kept, "dev": dev, **{s: e for s, e in examples.items() if s != "train"}}


def _read_directory(
    name: str, config: TaskConfig, where: str, notes: list[str]
) -> tuple[dict[str, list[Example]], str]:
    """Return the examples, and a listing of the folder for messages."""
    benchmark = _official(name, config, where)
    folder = find_official(benchmark, _path(str(config.data)), where)
    return read_official(benchmark, folder, notes), f"found in {folder.path}: {folder_listing(folder.path)}"


def _official(name: str, config: TaskConfig, where: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise UserError(
            f"{where}.data is a folder, but {name!r} is no benchmark{nearest_benchmark(name)}; set train, dev and "
            f"test, or name the task {', '.join(BENCHMARKS)}."
        )
    benchmark = BENCHMARKS[name]
    if config.kind != benchmark.kind:
        raise UserError(f"{where}.kind is {config.kind}, but {name} is {benchmark.kind}; leave kind out.")
    if set_ := [key for key in ("id", "text", "pair", "label") if getattr(config, key, None) is not None]:
        raise UserError(f"{where}.{set_[0]} is set, but official files have known columns; leave it out.")
    return benchmark


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))
