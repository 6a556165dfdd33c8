"""From the spelling of a label in a file to a label: a class, a number, or hidden."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.task import TaskKind
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Label

RawLabel = str | int | float | bool | None
SEPARATOR = "|"  # between the labels in a cell, unless label_separator says otherwise

# White space, and invisible characters that editors, web pages and joined files leave: soft hyphens, zero-width spaces
# and joiners, direction marks and byte order marks.
_UNSEEN = "[\\s\u00ad\u200b-\u200f\u2060\ufeff]+"
_AROUND = re.compile(f"^{_UNSEEN}|{_UNSEEN}$")
_MAX_EXACT = 2**53  # all larger floats are whole numbers


def strip_label(label: str) -> str:
    """Return a label without the blanks and invisible characters around it, which are no part of a class's name."""
    return _AROUND.sub("", label)


def label_reader(
    kind: TaskKind, spellings: Mapping[str, str], *, may_be_hidden: bool, padded: list[str] | None = None
) -> Callable[[Any, str], Label]:
    """Return a function that reads a label.

    Args:
        kind: "regression" reads numbers; every other kind classes.
        spellings: other spellings of a class.
        may_be_hidden: whether an empty cell (or null) is a hidden label, as in a file to predict.
        padded: if given, the places of labels with blanks around them are appended; the blanks are removed either way.

    Returns:
        A function of the raw label and its place in the file; it raises `UserError` where a label is missing, or should
        be a number and is not.
    """

    def read(raw: RawLabel, where: str) -> Label:
        if isinstance(raw, list | dict):
            several = ", or set multi_label where a text may have several" if kind == "classification" else ""
            raise UserError(
                f"{where}: the label is a list or an object, not one value; mend the file{several}."
            )
        if isinstance(raw, str) and raw != (bare := strip_label(raw)):
            raw = bare
            if padded is not None:
                padded.append(where)
        if raw is None or raw == "":
            if may_be_hidden:
                return None
            raise UserError(f"{where} has no label; training and evaluation need one for every example.")
        if kind == "regression":
            return _number(raw, where)
        if isinstance(raw, float):
            if not math.isfinite(raw):
                raise UserError(f"{where}: the label is {json.dumps(raw)}, which is no class; mend the file.")
            if raw.is_integer() and abs(raw) < _MAX_EXACT:
                raw = int(raw)
        # Spelled as in JSON: 1 is "1" and true is "true"; 1.0 is "1".
        name = raw if isinstance(raw, str) else json.dumps(raw)
        return spellings.get(name, name)

    return read


def label_list_reader(
    separator: str, *, may_be_hidden: bool, padded: list[str] | None = None
) -> Callable[[Any, str], Label]:
    """Return a function that reads the labels of a text with any number of them, sorted and without duplicates.

    Args:
        separator: between the labels in one cell of a table; the items of a list are not split.
        may_be_hidden: whether null means hidden labels, as in a file to predict.
        padded: if given, the places of labels in lists with blanks around them are appended; the blanks are removed
            either way.

    Returns:
        A function of the raw labels and their place in the file; it raises `UserError` where labels are missing, or one
        of them is not a label.
    """
    read_one = label_reader("classification", {}, may_be_hidden=True, padded=padded)

    def read(raw: Any, where: str) -> Label:
        if raw is None:
            if may_be_hidden:
                return None
            raise UserError(
                f"{where} has no labels; training and evaluation need them for every example, [] where there are none."
            )
        if isinstance(raw, str):
            return tuple(sorted({strip_label(part) for part in raw.split(separator)} - {""}))
        labels = raw if isinstance(raw, list) else [raw]
        if wrong := [label for label in labels if label is None or isinstance(label, list | dict)]:
            raise UserError(
                f"{where}: {json.dumps(wrong[0])} is no label; give a list of texts, such as "
                '["one", "two"], or [] where there are none.'
            )
        repeated = len(labels) > 2 or any(isinstance(label, float) for label in labels)
        if repeated and not any(isinstance(label, str) for label in labels) and set(labels) <= {0, 1}:
            # Labels of classes called 0 and 1 are at most two, without duplicates, and not floats.
            raise UserError(
                f"{where}: {json.dumps(labels)[:80]} looks like a 0 or 1 for each class; give the names of those the "
                "text has."
            )
        return tuple(sorted({str(label) for one in labels if (label := read_one(one, where)) is not None}))

    return read


def padding_notes(path: Path, padded: Sequence[str]) -> list[str]:
    """Return a line that says how many labels of a file had blanks around them, or [].

    Args:
        path: of the file.
        padded: the places of those labels.
    """
    if not padded:
        return []
    count = "1 label has" if len(padded) == 1 else f"{len(padded):,} labels have"
    return [
        f"{path}: {count} blanks around, or invisible characters, which are left out (the first is in {padded[0]})"
    ]


def _number(raw: RawLabel, where: str) -> float:
    try:
        # Python reads 1_0 as 10; other programs do not.
        if isinstance(raw, bool) or (isinstance(raw, str) and "_" in raw):
            raise ValueError
        number = float(raw)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: the label {raw!r} is not a number; regression needs numbers.")
    return number
