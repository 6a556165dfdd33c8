"""JSON as text: the value that it spells, or why there is none."""

import json
from collections.abc import Callable
from typing import Any

# What a value is made of; each part takes tens of bytes of memory, whatever it takes in the text.
MAX_VALUES = 4_000_000


class NotJson(Exception):
    """A text that is no JSON, or not such as is read.

    Attributes:
        reason: what it is instead, to follow "it": "is nested too deeply".
        line: where, from 1.
        column: where, from 1; None: the text as a whole.
        syntax: what the grammar misses there, such as "Expecting value"; "" if it is another reason.
    """

    def __init__(self, reason: str, line: int = 1, column: int | None = None, syntax: str = ""):
        super().__init__(reason)
        self.reason, self.line, self.column, self.syntax = reason, line, column, syntax


def json_value(
    text: str,
    max_values: int = MAX_VALUES,
    make_object: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> Any:
    """Return the value that a JSON text spells.

    Args:
        text: the JSON.
        max_values: how many values it may hold.
        make_object: makes an object of its pairs; None: the last value of a name that is there twice counts.

    Raises:
        NotJson: it spells none, or one that is too large.
    """
    if len(text) > max_values and sum(map(text.count, ",[{")) > max_values:
        raise NotJson(f"holds more than {max_values:,} values")
    try:
        return json.loads(text, object_pairs_hook=make_object)
    except json.JSONDecodeError as error:
        reason = f"is not valid ({error.msg})"
        raise NotJson(reason, error.lineno, error.colno, syntax=error.msg) from None
    except RecursionError:
        raise NotJson("is nested too deeply") from None
    except ValueError:
        raise NotJson("holds a number of more digits than can be read") from None
