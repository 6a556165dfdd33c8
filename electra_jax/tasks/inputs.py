"""What a fine-tuning was begun with, by content: its examples, its classes, and the parameters it started from.

Paths are not enough: another file may be where the old one was, or the same file may have moved. A run that is started
again continues only if the contents are the same, so that its table never mixes seeds of two different trainings.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import ConfigDict, TypeAdapter

from electra_jax.errors import UserError, listed
from electra_jax.files.json_files import write_json
from electra_jax.partitioning.axes import path_name
from electra_jax.tasks.protocol import Example
from electra_jax.tasks.sources import examples_fingerprint
from electra_jax.training.checkpoints import read_params
from electra_jax.training.initialisation import find_initial_checkpoint
from electra_jax.training.records import read_record

FILE = "inputs.json"


@dataclass(frozen=True)
class ContentHash:
    """The hash of something's content.

    Attributes:
        what: a description for messages, such as "8,551 examples", or the path of a checkpoint.
        sha256: of the content, in hex.
    """

    what: str
    sha256: str


@dataclass(frozen=True)
class FineTuningInputs:
    """What a fine-tuning was begun with; inputs.json has these fields.

    Attributes:
        examples: by ``TASK.SPLIT``.
        classes: of each task, in the order of their numbers.
        start: the parameters of ``init_from``; None without ``init_from``.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    examples: dict[str, ContentHash]
    classes: dict[str, tuple[str, ...]]
    start: ContentHash | None


_SHAPE = TypeAdapter(FineTuningInputs)


def read_inputs(root: Path) -> FineTuningInputs | None:
    """Read what the fine-tuning in ``root`` was begun with; None where it is new, or an earlier version began it.

    Raises:
        UserError: inputs.json is not what was written.
    """
    return read_record(root / FILE, _SHAPE)


def inputs_from_dict(values: Any) -> FineTuningInputs:
    """Return the inputs whose ``asdict`` this is, through JSON or not."""
    return _SHAPE.validate_python(values)


def write_inputs(root: Path, inputs: FineTuningInputs) -> None:
    """Write inputs.json, whole or not at all."""
    write_json(root / FILE, asdict(inputs))


def current_inputs(
    init_from: str | None,
    examples: Mapping[str, Mapping[str, Sequence[Example]]],
    classes: Mapping[str, tuple[str, ...]],
) -> FineTuningInputs:
    """Return what a fine-tuning is about to begin with.

    Args:
        init_from: of the configuration.
        examples: by task and split.
        classes: by task.

    Raises:
        UserError: the parameters of ``init_from`` cannot be read.
    """
    contents = {
        f"{name}.{split}": ContentHash(f"{len(some):,} examples", examples_fingerprint({split: some}))
        for name, splits in examples.items()
        for split, some in splits.items()
    }
    start = None
    if init_from is not None:
        origin = find_initial_checkpoint(init_from)
        start = ContentHash(str(origin.path), params_digest(read_params(origin.directory, origin.step)))
    return FineTuningInputs(contents, dict(classes), start)


def params_digest(params: Any) -> str:
    """Return the SHA-256, in hex, of names, dtypes, shapes and values of a tree of arrays."""
    digest = hashlib.sha256()
    leaves = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for name in sorted(leaves):
        array = np.ascontiguousarray(leaves[name])
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode("ascii"))
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def path_keys(tasks: Iterable[str]) -> frozenset[str]:
    """Return the keys of the configuration that are paths and compared by the content there, not by name."""
    files = ("data", "train", "dev", "test")
    return frozenset({"init_from", *(f"finetune.tasks.{name}.{file}" for name in tasks for file in files)})


def check_inputs(root: Path, begun: FineTuningInputs, now: FineTuningInputs) -> None:
    """Refuse examples, classes or parameters that differ from those the fine-tuning in ``root`` was begun with.

    Raises:
        UserError: it names all that differ.
    """
    if changed := list(_changes(begun, now)):
        raise UserError(
            f"--workdir {root} holds a fine-tuning that was begun with something else: {', '.join(changed)}; choose "
            "another --workdir, or restore what it was begun with"
        )


def _changes(begun: FineTuningInputs, now: FineTuningInputs) -> Iterator[str]:
    for name in dict.fromkeys((*begun.examples, *now.examples)):
        was, new = begun.examples.get(name), now.examples.get(name)
        if _hash(was) != _hash(new):
            yield f"finetune.tasks.{name}: {_show(was)} -> {_show(new)}"
    for name in dict.fromkeys((*begun.classes, *now.classes)):
        before, after = begun.classes.get(name, ()), now.classes.get(name, ())
        if before != after:
            yield f"classes of finetune.tasks.{name}: [{listed(before, limit=20)}] -> [{listed(after, limit=20)}]"
    if _hash(begun.start) != _hash(now.start):
        yield f"init_from: {_show(begun.start)} -> {_show(now.start)}"


def _hash(content: ContentHash | None) -> str | None:
    return None if content is None else content.sha256


def _show(content: ContentHash | None) -> str:
    return "(absent)" if content is None else f"{content.what} ({content.sha256[:12]})"
