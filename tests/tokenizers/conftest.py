"""A small corpus that every Python has, and a tokenizer of each sort."""

import functools
import importlib
import inspect

import pytest

from electra_jax.config.text import TokenizerConfig
from electra_jax.tokenizers import build_tokenizer

SORTS = ["wordpiece", "unigram", "bpe", "no_bytes", "characters", "newlines"]
MODULES = (
    ["argparse", "collections", "decimal", "difflib", "email.message", "heapq", "inspect", "json", "logging"]
    + ["os", "pathlib", "random", "re", "shutil", "socket", "statistics", "string", "subprocess", "tarfile"]
    + ["textwrap", "threading", "unittest", "zipfile"]
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [
    *[
        "[unused0]",
        *SPECIAL,
        "mask",
        "[",
        "]",
        "the",
        "un",
        "##aff",
        "##able",
        "##ing",
        "walk",
        ".",
        ",",
        "'",
    ],
    *["<", ">", "/", "ecole", "école", "日", "本", *"abcdefghijklmnopqrstuvwxyz", "σ"],
    *[f"##{c}" for c in "abcdefghijklmnopqrstuvwxyzé0123456789σς"],
]


@functools.cache
def docstrings() -> tuple[str, ...]:
    documents = []
    for name in MODULES:
        module = importlib.import_module(name)
        members = [value for _, value in sorted(vars(module).items(), key=lambda item: item[0])]
        for value in [module, *(m for m in members if inspect.isclass(m) or inspect.isroutine(m))]:
            if isinstance(value.__doc__, str) and value.__doc__.strip():
                documents.append(inspect.cleandoc(value.__doc__))
    return tuple(dict.fromkeys(documents))


@pytest.fixture(scope="session")
def corpus() -> tuple[str, ...]:
    return docstrings()


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """The path of a little vocab.txt whose special tokens are not at the front."""
    path = tmp_path_factory.mktemp("wordpiece") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make(vocabulary):
    """Builds a tokenizer by the name of its sort, with options of the configuration; built once."""

    @functools.cache
    def build(sort, **options):
        kinds = {
            "wordpiece": {"kind": "wordpiece", "vocab_file": str(vocabulary)},
            "unigram": {"vocab_size": 1000},
            "bpe": {"vocab_size": 1000, "model_type": "bpe"},
            "no_bytes": {"vocab_size": 1000, "byte_fallback": False},
            "characters": {"kind": "characters"},
            "newlines": {"vocab_size": 1000, "keep_newlines": True},
        }
        return build_tokenizer(TokenizerConfig(**kinds[sort], **options), lambda: iter(docstrings()))

    return build


@pytest.fixture(params=SORTS)
def sort(request) -> str:
    return request.param


@pytest.fixture(params=[(True, True), (True, False), (False, True), (False, False)], ids=str)
def options(request) -> dict[str, bool]:
    return dict(zip(("lowercase", "strip_accents"), request.param))
