"""Files of JSON: written whole, and read to plain values or refused in one sentence, whoever wrote or altered them.

Every file that is one JSON value is read here. In UTF-8, with a byte order mark or without; bounded in size; no name
twice in an object, of which other readers take the first, the last, or either; no half of a character, which could
not be written again.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.files.atomic import write_atomically
from electra_jax.files.json_text import NotJson, json_value
from electra_jax.files.regular_files import read_regular

# The largest of them are descriptions of tokenizers, with a quarter of a million entries in 20 MB.
MAX_BYTES = 64 << 20

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(path: Path, remedy: str = "restore it from a copy", max_bytes: int = MAX_BYTES) -> Any:
    """Return the value in a JSON file.

    Args:
        path: of the file.
        remedy: what the reader of the message is to do, if it is not JSON.
        max_bytes: it may have.

    Raises:
        UserError: it is not there, cannot be read, or is not JSON; it says where.
    """
    try:
        content = read_regular(path, max_bytes)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {remedy}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', error)}): {remedy}") from None
    return parse_json(content, str(path), remedy)


def read_object(
    path: Path, remedy: str = "restore it from a copy", max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """Return the object in a JSON file, as `read_json`.

    Raises:
        UserError: see `read_json`; or it holds something else.
    """
    value = read_json(path, remedy, max_bytes)
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object in braces but {_kind(value)}: {remedy}")
    return value


def write_json(path: Path, value: Any) -> None:
    """Replace a file of JSON in one move, indented and in UTF-8; directories on the way are made.

    What is no file, such as ``/dev/stdout``, is written into; see `new_file`.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def parse_json(content: bytes, where: str, remedy: str) -> Any:
    """Return the value that JSON in UTF-8 stands for.

    Raises:
        UserError: it is not JSON; ``where`` begins the message and ``remedy`` ends it.
    """
    try:
        value = json_value(content.decode("utf-8-sig"), make_object=_object)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}, line {line}: not UTF-8 ({error.reason}): {remedy}") from None
    except NotJson as error:
        if error.syntax:
            raise UserError(
                f"{where}, line {error.line}: not valid JSON ({error.syntax}): {remedy}"
            ) from None
        raise UserError(f"{where} {error.reason}: {remedy}") from None
    except _DuplicateName as error:
        raise UserError(f"{where} names {error.args[0]!r} twice in one object: {remedy}") from None
    if b"\\u" in content and _has_surrogates(value):
        raise UserError(f"{where} holds half of a character (\\ud800 to \\udfff): {remedy}")
    return value


class _DuplicateName(Exception):
    """A name that is in an object twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _DuplicateName(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return made


def _has_surrogates(value: Any) -> bool:
    """Return whether a string in it holds a surrogate; without recursion, since JSON nests deeper than Python calls."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                if _SURROGATE.search(text):
                    return True
            case Mapping() as inner:
                left += inner.keys()
                left += inner.values()
            case list(inner):
                left += inner
    return False


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
