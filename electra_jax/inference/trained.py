"""What a model was trained on, without its parameters."""

from pathlib import Path

from electra_jax.config.schema import Config
from electra_jax.convert.format_detection import detect_format
from electra_jax.files.local_paths import local_path
from electra_jax.tasks.settings import FILE, TaskSettings, read_settings
from electra_jax.training.checkpoints import find_checkpoint
from electra_jax.training.seed_selection import run_directory
from electra_jax.training.workdir import WorkDir


def trained_tasks(path: str | Path) -> tuple[Config, dict[str, TaskSettings]] | None:
    """Read the configuration of the model in ``path`` and its tasks, but not its parameters.

    Returns:
        None for a foreign checkpoint, which only `load` can read.

    Raises:
        UserError: nothing that can be read.
    """
    path = local_path(path, "the model")
    if detect_format(path).format != "electra_jax":
        return None
    workdir = WorkDir(run_directory(find_checkpoint(path)[1]))
    return workdir.load_config(), task_settings(workdir)


def task_settings(workdir: WorkDir) -> dict[str, TaskSettings]:
    """Return what a model remembers of its tasks, by name; of a pre-trained one nothing."""
    return read_settings(workdir.root) if (workdir.root / FILE).is_file() else {}
