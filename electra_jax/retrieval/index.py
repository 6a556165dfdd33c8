"""An index: a directory with candidates, their vectors as one memory-mapped array, and what made them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object, write_json
from electra_jax.files.local_paths import check_folder
from electra_jax.retrieval.candidates import Candidate, StoredCandidates, write_candidates

DESCRIPTION, VECTORS = "index.json", "vectors.npy"
VERSION = 1
_REMEDY = "build the index again"


@dataclass(frozen=True)
class Description:
    """What an index is; index.json has these fields.

    Attributes:
        model: hash of the vocabulary and of the parameters that made the vectors.
        task: of the model.
        encoder: of the task: "bi" or "poly".
        candidates: how many there are.
        width: of a vector.
        version: of the files.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    model: str
    task: str
    encoder: str
    candidates: int
    width: int
    version: int = VERSION


@dataclass(frozen=True, eq=False)
class CandidateIndex:
    """Candidates and their vectors, in memory or in files.

    Attributes:
        description: what made them.
        candidates: in the order of their numbers; of files each is read when it is asked for.
        vectors: float32 ``[candidates, width]``; of files a memory-mapped array.
        origin: the directory, or "memory".
    """

    description: Description
    candidates: Sequence[Candidate]
    vectors: np.ndarray
    origin: str = "memory"

    def __len__(self) -> int:
        return len(self.candidates)

    def __repr__(self) -> str:
        """Show how much there is, of what."""
        made = self.description
        return (
            f"<CandidateIndex of {len(self):,} candidates, vectors of {made.width} by the task {made.task}; "
            f"from {self.origin}>"
        )


def check_new(directory: Path) -> None:
    """Refuse a directory in which no index can be built; write nothing.

    Raises:
        UserError: it exists already, or cannot be made.
    """
    if os.path.lexists(directory):
        raise UserError(f"the index {directory} exists already: name another directory, or delete it first")
    check_folder(directory, "the index")


@contextmanager
def new_vectors(
    directory: Path, candidates: Sequence[Candidate], description: Description
) -> Iterator[np.ndarray]:
    """Yield the vectors of an index to be filled, ``[candidates, width]``, in a file.

    The index appears under its name when the block ends well, and vanishes otherwise. A process that is killed leaves
    a hidden directory beside it that ends in ``.unfinished``.

    Args:
        directory: of the index; it must not exist.
        candidates: of the index.
        description: of the index.
    """
    temporary = directory.with_name(f".{directory.name[:100]}.{secrets.token_hex(4)}.unfinished")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"the index {directory} cannot be made: {error.strerror}; name a directory that can be written"
        ) from None
    try:
        write_candidates(temporary, candidates)
        shape = (description.candidates, description.width)
        vectors = np.lib.format.open_memmap(temporary / VECTORS, mode="w+", dtype=np.float32, shape=shape)
        _take_room(temporary / VECTORS)
        yield vectors
        vectors.flush()
        write_json(temporary / DESCRIPTION, asdict(description))
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _take_room(path: Path) -> None:
    """Take the room that a file is to have: to write into a file with holes on a full disk would end the process.

    Raises:
        OSError: there is not as much.
    """
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # of file systems that cannot
                    raise


def read_description(directory: Path) -> Description:
    """Read what an index is.

    Raises:
        UserError: the directory holds no index, or one of another version.
    """
    if not (directory / DESCRIPTION).is_file():
        raise UserError(
            f"{directory} holds no index: build one with python -m electra_jax.search build, or name another"
        )
    found = read_object(directory / DESCRIPTION, _REMEDY)
    if found.get("version") != VERSION:
        raise UserError(f"{directory} is an index of another version of electra_jax: {_REMEDY}")
    try:
        return TypeAdapter(Description).validate_python(found)
    except ValidationError:
        raise UserError(f"{directory / DESCRIPTION} is not what was written there: {_REMEDY}") from None


def open_index(directory: Path) -> CandidateIndex:
    """Open an index; vectors and candidates stay in their files until they are needed.

    Raises:
        UserError: it is no index, or it is damaged.
    """
    description = read_description(directory)
    candidates = StoredCandidates(directory)
    try:
        vectors = np.load(directory / VECTORS, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{directory / VECTORS} is missing or damaged: {_REMEDY}") from error
    shape = (description.candidates, description.width)
    if vectors.shape != shape or vectors.dtype != np.float32 or len(candidates) != description.candidates:
        raise UserError(f"{directory} has files of different indexes: {_REMEDY}")
    return CandidateIndex(description, candidates, vectors, str(directory))
