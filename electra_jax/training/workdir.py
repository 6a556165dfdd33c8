"""The work directory: what it holds, whether it may be used, and its log of metrics."""

import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from electra_jax.config import dump_config, load_config
from electra_jax.config.compare import differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.files.atomic import write_atomically
from electra_jax.files.json_files import parse_json
from electra_jax.files.local_paths import check_folder, local_path
from electra_jax.training.literal_path import check_literal


class WorkDir:
    """Paths of a work directory."""

    def __init__(self, root: Path):
        """Take a path as a user gives it.

        Raises:
            UserError: It is a URL, or no name that can be written.
        """
        self.root = root = local_path(root, "work directory")
        self.config = root / "config.yaml"
        self.metrics = root / "metrics.jsonl"
        self.tensorboard = root / "tensorboard"
        self.checkpoints = root / "checkpoints"
        self.tokenizer = root / "tokenizer"

    def load_config(self, overrides: list[str] | None = None) -> Config:
        """Load the configuration of the run in this directory.

        Raises:
            UserError: It is not a work directory.
        """
        if not self.config.is_file():
            problem = "it has no config.yaml" if self.root.is_dir() else "there is no such directory"
            raise UserError(f"{self.root} is not a work directory: {problem}")
        saved = _load_saved_config(self.config)  # without the overrides: a mistake in them is no damage
        return load_config(self.config, overrides) if overrides else saved

    def check_usable(self, config: Config, *, free: Collection[str] = ()) -> list[str]:
        """Refuse a directory that belongs to something else; nothing is written.

        Args:
            config: Of the run that is to be in it.
            free: Keys that may change here, besides those that always may.

        Returns:
            The changes from the last run that are allowed, as lines to show.

        Raises:
            UserError: Another run's directory, one that is no work directory at all, or none that can be written.
        """
        check_literal(self.root)
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"--workdir {self.root} is a file, not a directory")
        check_folder(self.root, "--workdir")
        if not self.config.exists():
            if self.root.is_dir() and not all(map(self._is_partial_config, self.root.iterdir())):
                raise UserError(
                    f"--workdir {self.root} is not empty and holds no run (no config.yaml): choose another directory"
                )
            return []
        changes = differences(self.load_config(), config, free=free)
        refused = [change for change in changes if not change.free]
        if refused:
            raise UserError(
                f"--workdir {self.root} holds another run, or its config.yaml was edited; these settings decide the "
                f"model, the data order or the results and cannot change: {format_differences(refused)}; choose "
                "another --workdir, or set them back"
            )
        return [format_differences([change]) for change in changes]

    def _is_partial_config(self, path: Path) -> bool:
        """Return whether a file is what a process left that was killed while it wrote the first config.yaml."""
        return re.fullmatch(rf"\.{self.config.stem}\.[0-9a-f]{{16}}\.yaml", path.name) is not None

    def write_config(self, config: Config) -> None:
        """Create the directory and write config.yaml, whole or not at all.

        Raises:
            UserError: The directory cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--workdir {self.root} cannot be made: {error.strerror}") from error
        write_atomically(self.config, dump_config(config))

    def wait_for_config(self, seconds: float = 60) -> bool:
        """Wait up to ``seconds`` for config.yaml, and return whether it is there.

        What another host wrote may take a while to be seen.
        """
        end = time.monotonic() + seconds
        while not (there := self.config.exists()) and time.monotonic() < end:
            time.sleep(1)
        return there

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines of steps after ``step``, which a resumed run will write again."""
        text = self._metrics_text()
        records = ((line, _record_of(line)) for line in text.splitlines())
        kept = "".join(
            line + "\n" for line, record in records if record is not None and record["step"] <= step
        )
        if kept != text:
            write_atomically(self.metrics, kept)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, without what was cut short when its writer was killed."""
        lines = self._metrics_text().splitlines()
        return [record for line in lines if (record := _record_of(line)) is not None]

    def _metrics_text(self) -> str:
        if not self.metrics.exists():
            return ""
        return self.metrics.read_text(encoding="utf-8", errors="replace")


def _load_saved_config(path: Path) -> Config:
    try:
        return load_config(path)
    except UserError as error:
        raise UserError(
            f"{error}; this file, written when the run began, is damaged or was edited: restore it (train with "
            f"--print-config and the run's settings prints it)"
        ) from None


def _record_of(line: str) -> dict[str, Any] | None:
    """Return a line of metrics; None for one cut short when its writer was killed."""
    try:
        record = parse_json(line.encode(), "metrics", "")
    except UserError:
        return None
    return record if isinstance(record, dict) and type(record.get("step")) is int else None
