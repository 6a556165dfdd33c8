"""The configurations that come with the package, found by name."""

import difflib
from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path

# In a checkout this is a link to configs/ beside the package; in a wheel it is a copy.
FOLDER = Path(__file__).resolve().parents[1] / "configs"


def preset_names() -> list[str]:
    """Return every name `find_config` knows: those of pre-training by themselves, others with their folder."""
    paths = sorted(FOLDER.rglob("*.yaml"))
    return [path.relative_to(FOLDER).with_suffix("").as_posix().removeprefix("pretrain/") for path in paths]


def find_config(name: str | Path, folder: Path = Path()) -> Path:
    """Return the file that ``name`` means: a path from ``folder``, or where there is none the preset of that name.

    ``small`` is ``pretrain/small``; ``finetune/mrpc`` and ``finetune/small/mrpc`` are named by their folders. An
    ending ``.yaml`` and a leading ``configs/`` are allowed, as a checkout has them.

    Returns:
        A path; a name that is plainly a path is returned though there is nothing, for the reader to refuse.

    Raises:
        UserError: ``name`` is no file, and no preset's; it names the nearest presets.
    """
    path = folder / local_path(name, "configuration file")
    if path.is_file():
        return path
    wanted = Path(name).as_posix().removeprefix("configs/").removesuffix(".yaml").removeprefix("pretrain/")
    names = preset_names()
    if wanted in names:
        inside = FOLDER / f"{wanted}.yaml"
        return inside if inside.is_file() else FOLDER / "pretrain" / inside.name
    if path.exists() or Path(name).is_absolute() or path.suffix in (".yaml", ".yml"):
        return path
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    raise UserError(
        f"there is no file {path}, and no preset of that name; "
        + (f"near it: {', '.join(near)}" if near else f"presets are: {', '.join(names)}")
    )


def is_preset(path: Path) -> bool:
    """Return whether a file is one of those that come with the package."""
    return path.resolve().is_relative_to(FOLDER.resolve())
