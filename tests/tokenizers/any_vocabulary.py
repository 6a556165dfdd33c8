"""Any bytes to every reader of a vocabulary: a tokenizer or one sentence. Run as a program, in bounded memory.

    python any_vocabulary.py [EXAMPLES]

One line a reader on standard output: its name and "held", or what it raised and for which bytes.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from damaged_bytes import edited, edits_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import MAX_MESSAGE_LENGTH, UserError, one_line
from electra_jax.tokenizers import build_tokenizer, load_tokenizer, vocabulary_notes, what_is_lost
from electra_jax.tokenizers.storage import DESCRIPTION
from electra_jax.tokenizers.training import train_sentencepiece

MAX_MEMORY = 1 << 30  # beyond what the process has when it begins
MAX_SECONDS = 120  # of processor time, for all
TEXT = "The école [MASK] \ud800 日本 ｶﾞ \u0301\0 \U0001fae8 ▁ 12"

_PARTS = [
    *(
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b'"',
        b"\n",
        b"\r",
        b" ",
        b"\n\n\n",
        b"\xe3\x80\x80",
        b"##",
        b"\xef\xbb\xbf",
    ),
    *(b"[SEP]\n", b"[", b"]", b"{", b"}", b"null", b"1", b"true", b"\xff\xff\xff\xff\x7f", b"9" * 5000),
    *(b"\x0a\x02", b"\x08\x80\x80\x80\x80\x10", b"\x1a", b"[" * 3000, b'{"a":' * 2000),
]
_edit = edits_of(_PARTS, 2**17)


def mistaken(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with mistakes, or any bytes at all."""
    edits = st.lists(_edit, min_size=1, max_size=8)
    return edits.map(lambda some: edited(content, some)) | st.binary(max_size=300)


def use(tokenizer) -> None:
    """What is asked of a tokenizer that could be read."""
    ids = tokenizer.encode(TEXT)
    encoding = tokenizer.encode_with_offsets(TEXT)
    assert encoding.ids == ids
    assert all(0 <= begin <= end <= len(TEXT) for begin, end in encoding.offsets)
    tokenizer.decode(ids)
    tokenizer.detokenize(ids)
    what_is_lost(tokenizer)
    vocabulary_notes(tokenizer)


def readers(folder: Path) -> dict[str, tuple[str, bytes, Callable[[Path], object]]]:
    """Name → (file, what is in it when it is right, what reads it)."""
    vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdeé日", "##a", "the"]).encode()
    model = train_sentencepiece(
        TokenizerConfig(vocab_size=283, character_coverage=1.0),
        ["abc the école 日本"] * 9 + ["x yz jumps over"],
    )
    described = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
    fast = {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "BertNormalizer", "lowercase": True}]}
    }
    (folder / "vocab.txt").write_bytes(vocabulary)
    (folder / "model.model").write_bytes(model)
    wordpiece = TokenizerConfig(kind="wordpiece", vocab_file=str(folder / "vocab.txt"))
    sentencepiece = TokenizerConfig(vocab_file=str(folder / "model.model"))
    listed = json.dumps(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdeé日 \n"]).encode()
    (folder / "characters.json").write_bytes(listed)
    characters = TokenizerConfig(kind="characters", vocab_file=str(folder / "characters.json"))
    saved = {}
    for kind, config in (
        ("wordpiece", wordpiece),
        ("sentencepiece", sentencepiece),
        ("characters", characters),
    ):
        tokenizer = build_tokenizer(config, lambda: iter(()))
        tokenizer.save(folder / kind)
        saved[kind] = (folder / kind / DESCRIPTION).read_bytes()

    def built(config: TokenizerConfig) -> Callable[[Path], object]:
        return lambda _: use(build_tokenizer(config, lambda: iter(())))

    def loaded(kind: str) -> Callable[[Path], object]:
        return lambda where: use(load_tokenizer(where / kind))

    return {
        "vocab.txt": ("vocab.txt", vocabulary, built(wordpiece)),
        "model": ("model.model", model, built(sentencepiece)),
        "tokenizer_config.json": ("tokenizer_config.json", json.dumps(described).encode(), built(wordpiece)),
        "tokenizer.json": ("tokenizer.json", json.dumps(fast).encode(), built(wordpiece)),
        "characters.json": ("characters.json", listed, built(characters)),
        "saved characters": (f"characters/{DESCRIPTION}", saved["characters"], loaded("characters")),
        "saved vocab.txt": ("wordpiece/vocab.txt", vocabulary, loaded("wordpiece")),
        "saved wordpiece": (f"wordpiece/{DESCRIPTION}", saved["wordpiece"], loaded("wordpiece")),
        "saved sentencepiece": (
            f"sentencepiece/{DESCRIPTION}",
            saved["sentencepiece"],
            loaded("sentencepiece"),
        ),
    }


def check(file: Path, content: bytes, read: Callable[[], object]) -> None:
    """Writes the bytes, reads them, and wants a result or one sentence."""
    file.write_bytes(content)
    sentence = ""
    try:
        read()
    except UserError as error:
        sentence = str(error)
    assert sentence == one_line(sentence)
    assert len(sentence) <= MAX_MESSAGE_LENGTH


def _property(file: Path, right: bytes, read: Callable[[], object], examples: int) -> Callable[[], None]:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(mistaken(right))
    def holds(content):
        try:
            check(file, content, read)
        except Exception as error:
            raise AssertionError(f"for {content[:400]!r}") from error

    return holds


def main(examples: int) -> None:
    """Tries every reader; the last bytes are on disk beside a name that did not come out."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        found = readers(where)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS,) * 2)
        for name, (file, right, read) in found.items():
            path = where / file
            before = path.read_bytes() if path.exists() else None

            print(name, end=" ", flush=True)
            _property(path, right, lambda read=read: read(where), examples)()
            print("held", flush=True)
            path.unlink() if before is None else path.write_bytes(before)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
