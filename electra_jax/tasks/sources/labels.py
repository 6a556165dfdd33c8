"""From the spelling of a label in a file to a label: a class, a number, or hidden."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from electra_jax.config.schema import TaskKind
from electra_jax.errors import UserError

Spelled = str | int | float | bool | None
Label = str | float | None


def label_reader(
    kind: TaskKind, spellings: Mapping[str, str], *, may_be_hidden: bool
) -> Callable[[Any, str], Label]:
    """A function of a spelled label and where it stands, which returns the label.

    Args:
        kind: "regression" reads numbers; every other kind classes.
        spellings: other spellings of a class.
        may_be_hidden: whether an empty cell (or null) is a hidden label, as in a file to predict.

    Returns:
        the function; it raises `UserError` where a label is missing, or should be a number and is not.
    """

    def read(spelled: Spelled, where: str) -> Label:
        if isinstance(spelled, list | dict):
            raise UserError(f"{where}: the label is a list or an object, not one value; mend the file.")
        if spelled is None or spelled == "":
            if may_be_hidden:
                return None
            raise UserError(f"{where} has no label; training and evaluation need one for every example.")
        if kind == "regression":
            return _number(spelled, where)
        # JSON's own spelling: 1 is "1" and true is "true".
        name = spelled if isinstance(spelled, str) else json.dumps(spelled)
        return spellings.get(name, name)

    return read


def _number(spelled: Spelled, where: str) -> float:
    try:
        if isinstance(spelled, bool):
            raise ValueError
        number = float(spelled)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: the label {spelled!r} is not a number; regression needs numbers.")
    return number
