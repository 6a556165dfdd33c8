"""What is asked of every run, how much of it, and the files that a user names for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from electra_jax.config.yaml_format import parse
from electra_jax.errors import UserError, listed
from electra_jax.files.local_paths import local_path
from electra_jax.files.regular_files import read_regular

PARTS = ("exam", "errors", "pairs", "probes", "finetune")
DATA_FILE = "benchmark.yaml"
_MAX_BYTES = 1 << 20
_TASK_FILES = ("data", "train", "dev", "test")


@dataclass(frozen=True)
class Suite:
    """How much is asked.

    Attributes:
        sentences: of the exam.
        replaced_share: of their words that are replaced.
        pairs: of each group of a file of minimal pairs, at most.
        layers: that are probed, at most, spread evenly up to the last.
        probe_examples: that a probe is trained on, at most.
        seeds: of each fine-tuning.
        samples: draws of a bootstrap.
    """

    sentences: int
    replaced_share: float
    pairs: int
    layers: int
    probe_examples: int
    seeds: int
    samples: int


SUITES = {
    "small": Suite(2000, 0.15, 200, 4, 4000, 3, 200),
    "full": Suite(10_000, 0.15, 1_000_000, 12, 1_000_000, 5, 1000),
}


@dataclass(frozen=True)
class ExamData:
    """The files that a user named; what is missing is skipped.

    Attributes:
        exam: a text that no run was trained on.
        errors: files of words marked right or wrong, by name.
        pairs: files of minimal pairs, by name.
        probes: sections of tasks, as ``finetune.tasks`` has them, by name.
        finetune: likewise.
        settings: overrides of every fine-tuning, such as "train.batch_size=16".
    """

    exam: Path | None = None
    errors: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    pairs: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    finetune: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    settings: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the parts that nothing is given for."""
        return [part for part in PARTS if not getattr(self, part)]


def read_exam_data(path: Path) -> ExamData:
    """Read the YAML file that names the data, or ``benchmark.yaml`` in a directory; paths in it begin there.

    Raises:
        UserError: it cannot be read, or is no such file.
    """
    path = path / DATA_FILE if path.is_dir() else path
    try:
        text = read_regular(path, _MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        raise UserError(f"--data {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    values = parse(text, f"--data {path}")
    known = (*PARTS, "settings")
    if not isinstance(values, dict) or (odd := [key for key in values if key not in known]):
        there = f"the key {odd[0]!r}" if isinstance(values, dict) else "no keys"
        raise UserError(f"--data {path} has {there}; it names data by the keys {', '.join(known)}")
    root = path.parent
    exam, settings = values.get("exam"), values.get("settings") or []
    if exam is not None and not isinstance(exam, str):
        raise UserError(f"{path}: exam is {exam!r}, but must be the path of a text")
    if not isinstance(settings, list) or not all(isinstance(some, str) for some in settings):
        raise UserError(f"{path}: settings must be a list of overrides, such as [train.batch_size=16]")
    files = {
        part: {
            name: root / local_path(file, f"{path}: {part}.{name}")
            for name, file in _named(path, values, part, str, "the path of a file").items()
        }
        for part in ("errors", "pairs")
    }
    tasks = {
        part: {
            name: {key: _from(root, key, value) for key, value in section.items()}
            for name, section in _named(
                path, values, part, dict, "a section as finetune.tasks has it"
            ).items()
        }
        for part in ("probes", "finetune")
    }
    return ExamData(
        None if exam is None else root / local_path(exam, f"{path}: exam"),
        files["errors"],
        files["pairs"],
        tasks["probes"],
        tasks["finetune"],
        tuple(settings),
    )


def _named(path: Path, values: Mapping[str, Any], part: str, kind: type, what: str) -> dict[str, Any]:
    found = values.get(part) or {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: {part} must have a name for each of its parts, as in {part}: {{name: …}}")
    if odd := [name for name, value in found.items() if not isinstance(value, kind)]:
        raise UserError(f"{path}: {part}.{odd[0]} is {found[odd[0]]!r}, but must be {what}")
    return {str(name): value for name, value in found.items()}


def _from(root: Path, key: str, value: Any) -> Any:
    """Return the value of a task's key, with the paths in it, one, or those of parallel files, begun at ``root``."""
    if key not in _TASK_FILES:
        return value
    if isinstance(value, dict):
        return {name: _from(root, key, of_one) for name, of_one in value.items()}
    if isinstance(value, list):
        return [_from(root, key, of_one) for of_one in value]
    is_path = isinstance(value, str) and not value.startswith("tfds:")
    return str(root / local_path(value, key)) if is_path else value


def chosen_parts(only: str | None, data: ExamData) -> list[str]:
    """Return the parts that are run: those named, or all, for which there is data.

    Raises:
        UserError: one is unknown, or there is data for none.
    """
    wanted = list(PARTS) if only is None else [part.strip() for part in only.split(",")]
    if odd := [part for part in wanted if part not in PARTS]:
        raise UserError(f"--only {odd[0]!r} is no part; there are {listed(PARTS)}")
    chosen = [part for part in wanted if part not in data.missing()]
    if not chosen:
        raise UserError(f"--data names nothing for {listed(wanted)}, so there is nothing to run")
    return chosen
