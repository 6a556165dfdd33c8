"""`tfds:NAME[/CONFIG][:SPLIT]`: a prepared TFDS dataset as a source, read without TensorFlow."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.text import DataConfig
from electra_jax.data.sources.fingerprints import documents_fingerprint, json_fingerprint
from electra_jax.data.sources.held_out import divide_documents
from electra_jax.errors import UserError

DEFAULT_SPLIT = "train"
_READ_AT_ONCE = 256


@dataclass(frozen=True)
class TfdsSource:
    """One text field of one split of a prepared dataset."""

    name: str
    fingerprint: str
    num_documents: int
    directory: str
    split: str
    field: str

    def documents(self) -> Iterator[str]:
        """Yield the documents; see `TextSource.documents`."""
        return read_documents(self.name, self.directory, self.split, self.field)

    def divided(self, fraction: float) -> Iterator[tuple[bool, str]]:
        """Yield the documents with which of them are held out; see `TextSource.divided`."""
        return divide_documents(self.documents(), fraction)


def open_tfds(spec: str, config: DataConfig) -> TfdsSource:
    """Open a dataset that has been prepared, having read its first document.

    Args:
        spec: ``NAME[/CONFIG][:SPLIT]``; the split may be a slice, as in ``train[:10%]``.
        config: says where the dataset is and which field is the text.

    Raises:
        UserError: no such dataset, split or field, or it is not prepared or cannot be read.
    """
    dataset, _, split = spec.partition(":")
    if not dataset:
        raise UserError("tfds: names no dataset; write for example tfds:wikipedia/20230601.en:train.")
    name, split, field = f"tfds:{spec}", split or DEFAULT_SPLIT, config.text_field
    builder = find_builder(name, dataset, config.tfds_data_dir)
    check_format(name, builder)
    split_info = _split_info(name, builder, split)
    _check_field(name, builder, field)
    directory = str(builder.data_dir)
    files = [
        [Path(part.filename).name, part.skip, part.take, _file_size(name, part.filename)]
        for part in split_info.file_instructions
    ]
    if next(read_documents(name, directory, split, field), None) is None:
        raise UserError(f"{name} has no text in its field {field!r}; name another split or data.text_field.")
    identity = {"dataset": builder.info.full_name, "split": split, "field": field, "files": files}
    return TfdsSource(name, json_fingerprint(identity), split_info.num_examples, directory, split, field)


def open_embedded(corpus: str, config: DataConfig) -> TfdsSource:
    """Open the embedded corpus, which is prepared first where it is not.

    Raises:
        UserError: there is no corpus of this name, or the cache cannot be written.
    """
    name = f"embedded:{corpus}"
    check_embedded(corpus)
    # Imported here because importing TFDS takes a while and other sources do without.
    from electra_jax.data.sources.python_docs import DATASET_NAME, prepare_python_docs

    data_dir = prepare_python_docs(Path(os.path.expanduser(config.cache_dir)))
    field = "text"  # The corpus's own, whatever the field of the user's files is called.
    builder = find_builder(name, DATASET_NAME, str(data_dir))
    directory = str(builder.data_dir)
    fingerprint = documents_fingerprint(read_documents(name, directory, DEFAULT_SPLIT, field))
    count = builder.info.splits[DEFAULT_SPLIT].num_examples
    return TfdsSource(name, fingerprint, count, directory, DEFAULT_SPLIT, field)


def check_embedded(corpus: str) -> None:
    """Refuse a name that no embedded corpus has.

    Raises:
        UserError: there is none of this name.
    """
    if corpus != "python-docs":
        raise UserError(f"embedded:{corpus} is unknown; the embedded corpus is embedded:python-docs.")


def read_documents(name: str, directory: str, split: str, field: str) -> Iterator[str]:
    """Yield the non-empty texts of a field of a dataset directory, in the order of the records.

    Raises:
        UserError: a record cannot be read, or is not UTF-8.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(directory)
    first = 0
    try:
        source = builder.as_data_source(split=split)
        for first in range(0, len(source), _READ_AT_ONCE):
            records = source.__getitems__(range(first, min(first + _READ_AT_ONCE, len(source))))
            for number, record in enumerate(records, start=first):
                if document := _decoded(name, number, record[field]).strip():
                    yield document
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"{name}: the records from {first} on in {directory} cannot be read ({first_line(error)}); "
            "delete that folder and prepare the dataset again."
        ) from error


def _decoded(name: str, number: int, value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: the text of record {number} is not UTF-8 at byte {error.start}.") from error


def find_builder(name: str, dataset: str, data_dir: str | None) -> Any:
    """Return the builder of a dataset on disk, made from its files: the code that prepared it is not needed.

    Args:
        name: as the user wrote it, for messages.
        dataset: ``NAME[/CONFIG]``.
        data_dir: where datasets are; None is TFDS's own place.

    Raises:
        UserError: it is not there, or cannot be opened.
    """
    from google.protobuf import json_format
    from tensorflow_datasets.core import read_only_builder, registered

    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
    try:
        return read_only_builder.builder_from_files(dataset, data_dir=data_dir)
    except registered.DatasetNotFoundError as error:
        raise _not_found(name, dataset, data_dir) from error
    except (ValueError, OSError, json_format.Error) as error:  # Not a name, in two directories, or damaged.
        raise UserError(f"{name} cannot be opened: {first_line(error)}") from error


def _not_found(name: str, dataset: str, data_dir: str | None) -> UserError:
    import tensorflow_datasets as tfds
    import tensorflow_datasets.text
    from tensorflow_datasets.core.utils import file_utils

    folders = [str(folder) for folder in file_utils.list_data_dirs(given_data_dir=data_dir)]
    base = dataset.partition("/")[0]
    on_disk = {entry for folder in folders if os.path.isdir(folder) for entry in os.listdir(folder)}
    known = {*tfds.list_builders(with_community_datasets=False), *on_disk}
    if base not in known:
        nearest = difflib.get_close_matches(base, sorted(known), n=1)
        hint = (
            f"did you mean tfds:{nearest[0]}?"
            if nearest
            else "see tensorflow.org/datasets/catalog for the names."
        )
        raise UserError(f"{name}: TFDS has no dataset {base!r} and none is in {', '.join(folders)}; {hint}")
    prepared = sorted(
        entry.name
        for folder in folders
        if os.path.isdir(os.path.join(folder, base))
        for entry in os.scandir(os.path.join(folder, base))
        if entry.is_dir() and not entry.name.startswith(".")
    )
    there = f" (of {base}, {', '.join(prepared)} is there)" if prepared else ""
    without, _, last = dataset.rpartition("/")
    if re.fullmatch(r"\d+\.\d+\.\d+", last):
        return UserError(f"{name} names a version: leave it out, as in tfds:{without}; the newest is taken.")
    where = f" --data_dir={data_dir}" if data_dir else ""
    return UserError(
        f"{name} is not prepared in {', '.join(folders)}{there}; run: pip install 'electra_jax[tfds-prepare]' && "
        f"tfds build {dataset} --file_format=array_record{where}"
    )


def check_format(name: str, builder: Any) -> None:
    """Refuse a dataset whose files have no random access.

    Raises:
        UserError: they have none; it says how to convert them.
    """
    from tensorflow_datasets.core import file_adapters

    available = builder.info.available_file_formats()
    if not available & file_adapters.FileFormat.with_random_access():
        formats = ", ".join(sorted(item.value for item in available)) or "no known format"
        raise UserError(
            f"{name} is prepared as {formats}, which has no random access; convert it: "
            "pip install 'electra_jax[tfds-prepare]' && tfds convert_format "
            f"--dataset_version_dir={builder.data_dir} --out_file_format=array_record"
        )


def _split_info(name: str, builder: Any, split: str) -> Any:
    try:
        info = builder.info.splits[split]
    except (KeyError, ValueError, NotImplementedError) as error:
        splits = ", ".join(sorted(builder.info.splits))
        raise UserError(
            f"{name}: {split!r} is not a split or a slice of one; the splits are: {splits}."
        ) from error
    if info.num_examples <= 0:  # of a slice that ends before it begins, fewer
        raise UserError(f"{name}: the split {split!r} is empty; name another after the colon.")
    return info


def _check_field(name: str, builder: Any, field: str) -> None:
    features = builder.info.features
    texts = sorted(key for key in features if _is_text(features[key]))
    if field not in texts:
        found = ", ".join(sorted(features))
        problem = "is not text" if field in features else "does not exist"
        raise UserError(
            f"{name}: data.text_field {field!r} {problem}; the fields are {found}, "
            f"of which text: {', '.join(texts) or 'none'}."
        )


def _is_text(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    is_scalar = isinstance(feature, tfds.features.Tensor) and feature.shape == ()
    return is_scalar and np.dtype(feature.np_dtype) == np.dtype(object)


def _file_size(name: str, filename: str) -> int:
    from etils import epath

    try:
        return epath.Path(filename).stat().length
    except OSError as error:
        raise UserError(
            f"{name}: its file {filename} cannot be read ({error.strerror}); prepare the dataset again."
        ) from error


def first_line(error: Exception) -> str:
    """Return what an error of a library says, for a message of one sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0]
