"""A tokenizer on disk: its file, and a description with hashes that is checked when it is read."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError

DESCRIPTION = "tokenizer.json"


def fingerprint_of(kind: str, options: Mapping[str, Any], content: bytes) -> str:
    """Hex hash of everything that decides a tokenizer's output."""
    head = json.dumps({"kind": kind, "options": dict(options)}, sort_keys=True).encode()
    return hashlib.sha256(head + b"\0" + content).hexdigest()


def write_tokenizer(
    directory: Path, *, kind: str, options: Mapping[str, Any], file: str, content: bytes, fingerprint: str
) -> None:
    """Writes the files beside ``directory`` and moves them there in one step; a tokenizer that is there stays."""
    if (directory / DESCRIPTION).exists():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        (temporary / file).write_bytes(content)
        description = {"kind": kind, "options": dict(options), "file": file, "fingerprint": fingerprint}
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        temporary.chmod(0o755)
        try:
            os.rename(temporary, directory)
        except OSError:
            if not (directory / DESCRIPTION).exists():  # not another process that was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_tokenizer(directory: Path) -> tuple[str, dict[str, Any], bytes]:
    """(kind, options, content of the file).

    Raises:
        UserError: not a tokenizer's directory, or its files were altered.
    """
    try:
        description = json.loads((directory / DESCRIPTION).read_text())
        kind, options = description["kind"], description["options"]
        content = (directory / description["file"]).read_bytes()
        expected = description["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory} does not hold a tokenizer that can be read: {error}") from None
    if fingerprint_of(kind, options, content) != expected:
        raise UserError(
            f"the tokenizer files in {directory} are not those that were saved (their hash differs): "
            "restore them from a copy, or delete the directory to make it anew"
        )
    return kind, options, content
