"""The directory that a conversion writes: it appears whole or not at all."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from electra_jax.convert.format_detection import is_checkpoint
from electra_jax.convert.huggingface_folder import CONFIG, is_huggingface_folder
from electra_jax.errors import UserError, listed
from electra_jax.files.json_files import read_object
from electra_jax.training.literal_path import check_literal

# All files that a conversion writes: --overwrite refuses a directory with others, which would be lost.
_WRITTEN = re.compile(
    r"checkpoints|tokenizer|config\.yaml|tasks\.json"  # ours
    r"|discriminator|generator"  # Hugging Face's
    r"|checkpoint|model\.ckpt-\d+\.(index|data-\d{5}-of-\d{5})"  # TensorFlow's, and the vocabulary beside it
    r"|vocab\.txt|characters\.json|spiece\.model|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json"
)
# And to sentence-transformers, where its list of modules says that it is that.
_MODULES = "modules.json"
_SENTENCE_TRANSFORMERS = re.compile(
    r"1_Pooling|modules\.json|sentence_bert_config\.json|config_sentence_transformers\.json|config\.json"
    r"|model\.safetensors"
)


def check_destination(path: Path, *, overwrite: bool, sources: list[Path]) -> None:
    """Refuse a destination that must not be replaced, or cannot be written; write nothing.

    Args:
        path: of the destination.
        overwrite: whether a converted checkpoint there may be replaced.
        sources: what is converted.

    Raises:
        UserError: it exists and ``overwrite`` is not given; a conversion did not write it; it is a source, or contains
            or lies in one; its parent directory cannot be written to.
    """
    final = _resolved(path)
    check_literal(final)
    for source in sources:
        held = _resolved(source)
        if final in (held, *held.parents):
            raise UserError(
                f"{path} is, or holds, what is to be converted ({source}): choose another destination"
            )
        if held in final.parents:
            raise UserError(
                f"{path} lies in what is to be converted ({source}): choose a destination outside of it"
            )
    existing_parent = next(parent for parent in final.parents if parent.exists())
    if not existing_parent.is_dir():
        raise UserError(f"{path} cannot be made: {existing_parent} is a file, not a directory")
    if not os.access(existing_parent, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be made: no permission to write in {existing_parent}")
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{path} exists already: choose another destination, or give --overwrite")
    if not (final.is_dir() and (is_checkpoint(final) or _holds_tasks(final))):
        raise UserError(
            f"{path} holds no checkpoint, so not even --overwrite replaces it: choose another destination"
        )
    names = [entry.name for entry in final.iterdir()]
    if more := sorted(name for name in names if not _is_written(name, final)):
        raise UserError(
            f"{path} holds more than a converted checkpoint ({listed(more)}), so not even --overwrite replaces it: "
            "choose another destination"
        )


def _is_written(name: str, folder: Path) -> bool:
    """Return whether a conversion writes a file or folder of that name in ``folder``."""
    vectors = (folder / _MODULES).is_file() and _SENTENCE_TRANSFORMERS.fullmatch(name)
    # Folders of tasks lie beside nothing else: in a checkpoint they are somebody's own.
    task = not is_checkpoint(folder) and _is_task(folder / name)
    return bool(_WRITTEN.fullmatch(name) or vectors or task)


def _is_task(folder: Path) -> bool:
    """Return whether a folder is a model of Hugging Face's for a task, as a conversion writes one for each."""
    if not is_huggingface_folder(folder) or not (folder / CONFIG).is_file():
        return False
    try:
        return "finetuning_task" in read_object(folder / CONFIG, "")
    except UserError:
        return False


def _holds_tasks(folder: Path) -> bool:
    return any(_is_task(entry) for entry in folder.iterdir())


def _resolved(path: Path) -> Path:
    """Return the path with links resolved.

    Raises:
        UserError: links lead in a circle.
    """
    resolved = Path(os.path.realpath(path))
    if any(part.is_symlink() for part in (resolved, *resolved.parents)):
        raise UserError(f"{path} is, or lies behind, a link that leads in a circle: give another path")
    return resolved


@contextmanager
def new_destination(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that takes its place when the block ends without an error.

    Otherwise it is removed, with the parent directories that were created for it, and what was at ``path`` stays. A
    process that is killed leaves the directory, under a hidden name that ends in ``.unfinished``.
    """
    path = path.resolve()
    made = [parent for parent in path.parents if not parent.exists()]
    temporary = path.with_name(f".{_beginning(path.name)}.{secrets.token_hex(4)}.unfinished")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _replace(path, temporary)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            error.filename = str(path)  # not a file of a directory that is gone
        for parent in made:
            with suppress(OSError):  # it does not exist, or another program uses it by now
                parent.rmdir()
        raise


def _beginning(name: str) -> str:
    """Return as much of a name as leaves room, in the 255 bytes that a name may have, for what is put around it."""
    return name.encode()[:200].decode(errors="ignore")


def _remove(directory: Path) -> None:
    """Remove a directory for good: after a failed write, tensorstore's threads write on and create it again."""
    looks_without = 0
    for _ in range(100):
        shutil.rmtree(directory, ignore_errors=True)
        looks_without = 0 if directory.exists() else looks_without + 1
        if looks_without == 6:
            return
        time.sleep(0.05)


def _replace(path: Path, new: Path) -> None:
    """Move ``new`` to ``path``; what was there is removed only once the new directory is in its place."""
    if not path.exists():
        new.rename(path)
        return
    old = path.with_name(f".{_beginning(path.name)}.{secrets.token_hex(4)}.replaced")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
