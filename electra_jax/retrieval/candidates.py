"""Candidates in a file: JSON lines, of which any is found without reading the others."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from electra_jax.errors import UserError

TEXTS, OFFSETS = "candidates.jsonl", "offsets.npy"


@dataclass(frozen=True)
class Candidate:
    """A text that may be found.

    Attributes:
        id: what its file calls it, or the number of its line.
        text: itself.
    """

    id: Any
    text: str


def write_candidates(directory: Path, candidates: Iterable[Candidate]) -> int:
    """Write ``candidates.jsonl``, and ``offsets.npy``: int64 ``[candidates + 1]``, where each line begins, and the end.

    Returns:
        how many there are.
    """
    offsets = [0]
    with (directory / TEXTS).open("wb") as file:
        for candidate in candidates:
            line = json.dumps({"id": candidate.id, "text": candidate.text}, ensure_ascii=False)
            offsets.append(offsets[-1] + file.write(f"{line}\n".encode()))
    np.save(directory / OFFSETS, np.array(offsets, np.int64))
    return len(offsets) - 1


class StoredCandidates(Sequence[Candidate]):
    """The candidates in a directory; each is read when it is asked for."""

    def __init__(self, directory: Path):
        """Open the files; nothing is read but their sizes.

        Raises:
            UserError: they are not what `write_candidates` wrote.
        """
        self._where = directory / TEXTS
        try:
            self._offsets = np.load(directory / OFFSETS, mmap_mode="r")
            with self._where.open("rb") as file:
                self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged() from error
        offsets = self._offsets
        if (
            offsets.ndim != 1
            or offsets.dtype != np.int64
            or len(offsets) < 2
            or offsets[-1] != len(self._lines)
        ):
            raise self._damaged()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, number: int) -> Candidate: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, number: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        start, end = map(int, self._offsets[number % len(self) :][:2])
        try:
            found = json.loads(self._lines[start:end])
            return Candidate(found["id"], found["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error

    def _damaged(self) -> UserError:
        return UserError(f"{self._where} or {OFFSETS} beside it is missing or damaged: build the index again")
