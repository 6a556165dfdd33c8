"""A tokenizer on disk: its file, and a description with a hash that is checked when it is read."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.files.file_names import is_file_name
from electra_jax.files.json_files import MAX_BYTES, read_object
from electra_jax.files.regular_files import read_regular
from electra_jax.tokenizers.normalize import RULES
from electra_jax.tokenizers.pinned_unicode import UNICODE

DESCRIPTION = "tokenizer.json"


def fingerprint_of(kind: str, options: Mapping[str, Any], content: bytes) -> str:
    """Return a hex hash of everything that decides a tokenizer's output."""
    head = json.dumps({"kind": kind, "options": dict(options), "rules": RULES}, sort_keys=True).encode()
    return hashlib.sha256(head + b"\0" + content).hexdigest()


def write_tokenizer(
    directory: Path, *, kind: str, options: Mapping[str, Any], file: str, content: bytes, fingerprint: str
) -> None:
    """Write the files beside ``directory`` and move them there in one step.

    The same tokenizer, there already, stays; so several processes may save it at once.

    Raises:
        UserError: the directory cannot be written, or holds something else.
    """
    description = {
        "kind": kind,
        "options": dict(options),
        "rules": RULES,
        "unicode": UNICODE,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "fingerprint": fingerprint,
    }
    if not (directory / DESCRIPTION).exists():
        _write_directory(
            directory, {file: content, DESCRIPTION: (json.dumps(description, indent=2) + "\n").encode()}
        )
    if fingerprint_of(*read_tokenizer(directory)) != fingerprint:
        raise UserError(f"{directory} holds another tokenizer: choose another directory, or delete it")


def _write_directory(directory: Path, files: Mapping[str, bytes]) -> None:
    temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        temporary.rename(directory)
    except OSError as error:
        if not (directory / DESCRIPTION).exists():  # not another process that was first
            reason = error.strerror or error
            raise UserError(f"cannot write the tokenizer to {directory}: {reason}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_tokenizer(directory: Path) -> tuple[str, dict[str, Any], bytes]:
    """Read a tokenizer's directory; return its kind, its options and the content of its file.

    Raises:
        UserError: not a tokenizer's directory, or its files were altered.
    """
    if not (directory / DESCRIPTION).is_file():
        raise UserError(f"{directory} does not hold a tokenizer: it has no {DESCRIPTION}")
    remedy = "restore it from a copy, or delete the directory to make it anew"
    description = read_object(directory / DESCRIPTION, remedy)
    try:
        kind, options, rules = description["kind"], dict(description["options"]), description["rules"]
        file = description["file"]
        if not is_file_name(file):
            raise ValueError(f"{file} is not a file beside it")
        content = read_regular(directory / file, MAX_BYTES)
        sha256, fingerprint = description["sha256"], description["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the tokenizer in {directory} cannot be read ({type(error).__name__}: {error}): {remedy}"
        ) from None
    # Descriptions from before Unicode was pinned do not name it; their rules, number 1, are those of the first pinned.
    unicode = description.get("unicode", UNICODE)
    if (rules, unicode) != (RULES, UNICODE):
        raise UserError(
            f"the tokenizer in {directory} was saved by a version of electra_jax that cleaned text by other rules "
            f"({rules} with Unicode {unicode}, here {RULES} with {UNICODE}): use that version, or delete the directory "
            "to make it anew"
        )
    intact = hashlib.sha256(content).hexdigest() == sha256
    if not intact or fingerprint_of(kind, options, content) != fingerprint:
        altered = DESCRIPTION if intact else description["file"]
        raise UserError(
            f"{directory / altered} is not what was saved (its hash differs): "
            "restore it from a copy, or delete the directory to make it anew"
        )
    return kind, options, content
