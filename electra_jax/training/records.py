"""Small JSON files that a run keeps beside its checkpoints, read back with their shape checked."""

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from electra_jax.errors import UserError
from electra_jax.files.json_files import read_json

T = TypeVar("T")


def read_record(path: Path, expected: TypeAdapter[T]) -> T | None:
    """Read a JSON file; return None where there is no such file.

    Args:
        path: Of the file.
        expected: The type it must have, exactly: no text where a number belongs.

    Raises:
        UserError: It cannot be read, is not JSON, or has another shape.
    """
    if not os.path.lexists(path):
        return None
    value = read_json(path)
    try:
        return expected.validate_json(json.dumps(value), strict=True)  # as JSON, where a tuple is a list
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: restore it from a copy") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is not what was written there ({place + ': ' if place else ''}{first['msg']}): restore it from a "
            "copy"
        ) from None
