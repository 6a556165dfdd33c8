"""`embedded:python-docs`: English prose that every installation already has, as a TFDS dataset.

The documentation of Python's standard library and of the packages this one needs, cleaned of everything that is
not prose. What it holds depends on the versions installed, so it is built once for each environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from electra_jax.data.cache import cache_errors, new_directory, to_os_error
from electra_jax.data.sources.documentation_strings import (
    Package,
    documentation_strings,
    installed_packages,
    source_files,
)
from electra_jax.data.sources.fingerprints import json_fingerprint
from electra_jax.data.sources.prose import paragraphs

DATASET_NAME = "python_docs"  # As TFDS derives it from the name of the builder.
MAX_CHARACTERS = 8_000_000
MIN_DOCUMENT_CHARACTERS = 200

_EXTRACTION_MODULES = ("documentation_strings.py", "english.py", "prose.py", "python_docs.py")


class PythonDocs(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """The prose in the documentation strings of the packages that are installed."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded, so there are no checksums; TFDS's search for them needs a package it does not bring.
    url_infos = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="English prose from the documentation strings of installed Python packages.",
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            disable_shuffling=True,  # A document is a module; they stay in the order of the packages.
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing is downloaded.
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, str]]]:
        for number, document in enumerate(corpus_documents(installed_packages())):
            yield number, {"text": document}


def corpus_documents(packages: Sequence[Package]) -> Iterator[str]:
    """Yield the prose of each module that has some: paragraphs on lines, each paragraph once in the whole corpus."""
    seen: set[str] = set()
    size = 0
    for package in packages:
        for _, path in source_files(package):
            document = _module_prose(path, seen)
            if len(document) < MIN_DOCUMENT_CHARACTERS:
                continue
            size += len(document)
            if size > MAX_CHARACTERS:
                return
            yield document


def prepare_python_docs(cache_dir: Path) -> Path:
    """Return the TFDS data directory that holds the corpus of this environment, building it if there is none.

    Safe in processes that start together: each builds its own, the first to finish is kept.

    Raises:
        UserError: the cache cannot be written.
    """
    data_dir = cache_dir / "tfds" / f"python-docs-{_environment_key(installed_packages())}"
    if _is_complete(data_dir):
        return data_dir
    print("Building the embedded corpus from installed documentation, once ...", file=sys.stderr, flush=True)
    if data_dir.is_dir() and not _is_complete(data_dir):
        shutil.rmtree(data_dir)  # what a cleaner of old files has left of an earlier one
    with new_directory(data_dir) as building, cache_errors(data_dir.parent):
        _build(building)
    return data_dir


def _module_prose(path: Path, seen: set[str]) -> str:
    """Return the paragraphs of a file that are not in ``seen``, which they are added to."""
    fresh = []
    for documentation in documentation_strings(path.read_bytes()):
        for paragraph in paragraphs(documentation):
            if paragraph not in seen:
                seen.add(paragraph)
                fresh.append(paragraph)
    return "\n".join(fresh)


def _environment_key(packages: Sequence[Package]) -> str:
    """Return a hash of all that decides the corpus: the packages, their versions and the code that reads them."""
    here = Path(__file__).parent
    code = [hashlib.sha256((here / module).read_bytes()).hexdigest() for module in _EXTRACTION_MODULES]
    return json_fingerprint([[[package.name, package.version] for package in packages], code])[:16]


def _is_complete(data_dir: Path) -> bool:
    return any(data_dir.glob(f"{DATASET_NAME}/*/dataset_info.json"))


def _build(data_dir: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()), _no_progress_bars():
        try:
            PythonDocs(data_dir=data_dir, file_format="array_record").download_and_prepare()
        except RuntimeError as error:
            raise to_os_error(error) from error


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    tqdm_utils.display_progress_bar(False)
    try:
        yield
    finally:
        tqdm_utils.display_progress_bar(True)
