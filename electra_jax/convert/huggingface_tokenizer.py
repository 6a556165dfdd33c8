"""Tokenizers as files of Hugging Face's transformers, written and read.

They are written so that `AutoTokenizer.from_pretrained` loads them: ``tokenizer.json``, the whole tokenizer for the
Rust library `tokenizers`; the vocabulary itself (``vocab.txt`` or ``spiece.model``); and ``tokenizer_config.json``,
which names the generic class `PreTrainedTokenizerFast`. The classes of BERT would do for WordPiece, but since
transformers 5 they rebuild their tokenizer and limit words to 100 characters.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from electra_jax.convert.tokenizer_agreement import resolve_cleaning
from electra_jax.errors import UserError
from electra_jax.tokenizers.build import KINDS
from electra_jax.tokenizers.characters_tokenizer import CHARACTERS_FILE, CharactersTokenizer
from electra_jax.tokenizers.cleaning import (
    CONFIG_FILE,
    FAST_FILE,
    describe_cleaning,
    normalizer_steps,
    read_optional_object,
)
from electra_jax.tokenizers.pinned_unicode import UNICODE
from electra_jax.tokenizers.protocol import Tokenizer
from electra_jax.tokenizers.sentencepiece_tokenizer import SPACE, SentencePieceTokenizer
from electra_jax.tokenizers.vocabulary_file import read_vocabulary
from electra_jax.tokenizers.wordpiece_tokenizer import (
    CONTINUATION,
    MAX_CHARACTERS_PER_WORD,
    WordPieceTokenizer,
)

WORDPIECE_FILE = "vocab.txt"
SENTENCEPIECE_FILE = "spiece.model"
_VOCABULARIES = (WORDPIECE_FILE, SENTENCEPIECE_FILE, CHARACTERS_FILE)

# Classes that read a vocab.txt as it is read here.
_PLAIN_CLASSES = {
    *("BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "ElectraTokenizerFast"),
    *("PreTrainedTokenizerFast", "TokenizersBackend"),
}
# Values of SentencePiece's protocol buffers.
_UNIGRAM, _BPE = 1, 2
_NORMAL, _USER_DEFINED, _UNUSED = 1, 4, 5

_TYPED_SPECIALS = (
    "Hugging Face reads [MASK] and other special tokens typed in a text as tokens; here they are text."
)
_WORDPIECE_NOTES = (
    _TYPED_SPECIALS,
    "Hugging Face lower-cases a final Σ to σ instead of ς, does not set apart the Chinese characters U+2B820 to "
    "U+2B91F, and removes or keeps a few characters that are newer than its Unicode tables, or than Unicode "
    f"{UNICODE}, which decides here (newer ones are removed).",
    f"Hugging Face's BertTokenizer and ElectraTokenizer take words of more than 100 characters for [UNK], here and "
    f"with AutoTokenizer it is more than {MAX_CHARACTERS_PER_WORD}.",
)
_SENTENCEPIECE_NOTES = (
    _TYPED_SPECIALS,
    "Hugging Face's tokenizer of this SentencePiece model may give other ids for characters that are newer than its "
    "Unicode tables, for several accents on one letter or one on a full-width letter where accents are kept, and "
    "where two segmentations are almost equally likely.",
)


_CHARACTERS_NOTES = (
    _TYPED_SPECIALS,
    "Hugging Face's tokenizer of these characters may give other ids for characters that are newer than its Unicode "
    "tables, and, where accents are stripped, for letters written in several parts.",
)


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a tokenizer in a Hugging Face folder say.

    Attributes:
        kind: "wordpiece", "sentencepiece" or "characters".
        content: a vocab.txt, a serialized SentencePiece model or a characters.json.
        lowercase: whether text is lower-cased.
        strip_accents: whether accents are removed.
        notes: sentences on what was assumed, and on what is done differently here.
    """

    kind: str
    content: bytes
    lowercase: bool
    strip_accents: bool
    notes: tuple[str, ...]


def write_huggingface_tokenizer(
    tokenizer: Tokenizer,
    directory: Path,
    max_length: int,
    *,
    as_prompts: bool = False,
    token_types: bool = True,
) -> list[str]:
    """Write the files of a tokenizer, replacing those of the same names, and return notes on known differences.

    Args:
        tokenizer: of any kind.
        directory: created if it does not exist.
        max_length: the longest row the model takes, special tokens included.
        as_prompts: whether a text is [CLS] A, without the [SEP] behind which a language model has nothing to write.
        token_types: whether the model reads them.

    Raises:
        UserError: the directory cannot be written, or the tokenizer has no counterpart.
    """
    if isinstance(tokenizer, WordPieceTokenizer):
        fast, notes = _wordpiece(tokenizer), list(_WORDPIECE_NOTES)
        vocabulary, extra = WORDPIECE_FILE, {"tokenize_chinese_chars": True}
    elif isinstance(tokenizer, SentencePieceTokenizer):
        fast, notes = _sentencepiece(tokenizer)
        vocabulary, extra = SENTENCEPIECE_FILE, {}
    elif isinstance(tokenizer, CharactersTokenizer):
        fast, notes = _characters(tokenizer), list(_CHARACTERS_NOTES)
        vocabulary, extra = CHARACTERS_FILE, {}
    else:
        raise UserError(f"a tokenizer of kind {tokenizer.kind} cannot be written for Hugging Face")
    specials = _special_tokens(tokenizer)
    _add_special_tokens(fast, specials, as_prompts=as_prompts)
    options = tokenizer.options
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"],
        "do_lower_case": options["lowercase"],
        "strip_accents": options["strip_accents"],
        **extra,
        **specials,
    }
    files = {
        vocabulary: tokenizer.content,
        FAST_FILE: fast.to_str(pretty=True).encode(),
        CONFIG_FILE: _to_json(config),
        "special_tokens_map.json": _to_json(specials),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (directory / name).write_bytes(content)
    except OSError as error:
        raise UserError(
            f"cannot write the tokenizer to {directory}: {error.strerror or error}, choose another directory"
        ) from None
    return notes


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    ids = {"unk": tokenizer.unk_id, "sep": tokenizer.sep_id, "pad": tokenizer.pad_id}
    ids |= {"cls": tokenizer.cls_id, "mask": tokenizer.mask_id}
    return {f"{name}_token": tokenizer.token(number) for name, number in ids.items()}


def _add_special_tokens(fast: tokenizers.Tokenizer, specials: dict[str, str], *, as_prompts: bool) -> None:
    """Add what all kinds have: the special tokens, and [CLS] A [SEP] B [SEP] with its token types, or [CLS] A."""
    fast.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in specials.values()]
    )
    cls, sep = specials["cls_token"], specials["sep_token"]
    fast.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", *(() if as_prompts else (f"{sep}:0",))],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(token, fast.token_to_id(token)) for token in (cls, sep)],
    )


def _wordpiece(tokenizer: WordPieceTokenizer) -> tokenizers.Tokenizer:
    fast = tokenizers.Tokenizer(
        models.WordPiece(
            {tokenizer.token(i): i for i in range(tokenizer.vocab_size)},
            unk_token=tokenizer.token(tokenizer.unk_id),
            max_input_chars_per_word=MAX_CHARACTERS_PER_WORD,
            continuing_subword_prefix=CONTINUATION,
        )
    )
    fast.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=tokenizer.options["strip_accents"],
        lowercase=tokenizer.options["lowercase"],
    )
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece(prefix=CONTINUATION)
    return fast


def _sentencepiece(tokenizer: SentencePieceTokenizer) -> tuple[tokenizers.Tokenizer, list[str]]:
    """Return the same tokenizer in the Rust library, and notes."""
    proto = ModelProto.FromString(tokenizer.content)
    notes = list(_SENTENCEPIECE_NOTES)
    if proto.trainer_spec.treat_whitespace_as_suffix or any(
        piece.type in (_USER_DEFINED, _UNUSED) and not piece.piece.isspace() for piece in proto.pieces
    ):
        notes.append(
            "The SentencePiece model has user-defined or unused pieces, or spaces at the ends of words, which "
            "tokenizer.json cannot say: Hugging Face gives other ids where they matter."
        )
    fast = tokenizers.Tokenizer(_sentencepiece_model(proto))
    fast.normalizer = _sentencepiece_normalizer(proto.normalizer_spec, **tokenizer.options)
    fast.pre_tokenizer = _sentencepiece_pre_tokenizer(proto)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if proto.normalizer_spec.add_dummy_prefix:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    fast.decoder = decoders.Sequence(steps)
    return fast, notes


def _characters(tokenizer: CharactersTokenizer) -> tokenizers.Tokenizer:
    """Return the same tokenizer in the Rust library: BPE that merges nothing."""
    vocabulary = {tokenizer.token(i): i for i in range(tokenizer.vocab_size)}
    fast = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token=tokenizer.token(tokenizer.unk_id)))
    steps: list[normalizers.Normalizer] = []
    if tokenizer.options["lowercase"]:
        steps += [normalizers.Lowercase()]
    if tokenizer.options["strip_accents"]:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(r"\p{Mn}"), ""), normalizers.NFC()]
    if steps:
        fast.normalizer = normalizers.Sequence(steps)
    fast.decoder = decoders.Fuse()
    return fast


def _sentencepiece_model(proto: Any) -> models.Model:
    trainer = proto.trainer_spec
    if trainer.model_type == _UNIGRAM:
        return models.Unigram(
            [(piece.piece, piece.score) for piece in proto.pieces],
            unk_id=trainer.unk_id,
            byte_fallback=trainer.byte_fallback,
        )
    if trainer.model_type != _BPE:
        raise UserError(
            "the SentencePiece model is neither unigram nor bpe, and cannot be written for Hugging Face: "
            "write the model without its tokenizer"
        )
    # SentencePiece joins the neighbours that make the best piece; a BPE merge also names the two parts.
    order = {p.piece: (-p.score, number) for number, p in enumerate(proto.pieces) if p.type == _NORMAL}
    merges = sorted(
        (rank, piece[:cut], piece[cut:])
        for piece, rank in order.items()
        for cut in range(1, len(piece))
        if piece[:cut] in order and piece[cut:] in order
    )
    return models.BPE(
        {piece.piece: number for number, piece in enumerate(proto.pieces)},
        [(left, right) for _, left, right in merges],
        unk_token=proto.pieces[trainer.unk_id].piece,
        fuse_unk=True,
        byte_fallback=trainer.byte_fallback,
    )


def _sentencepiece_normalizer(rules: Any, *, lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """Return the steps of `PlainNormalizer` and then the model's own rules."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace(SPACE, " "), normalizers.Replace("\0", "")]
    if lowercase:
        steps += [normalizers.NFKC(), normalizers.Lowercase()]
    elif "nfkc" in rules.name:
        # The library's rules lose combining marks that are not composed with their letter yet.
        steps += [normalizers.NFC()]
    if strip_accents:
        # The library's StripAccents would also remove vowel signs, which are marks of other categories than Mn.
        steps += [normalizers.NFKD(), normalizers.Replace(Regex(r"\p{Mn}"), ""), normalizers.NFC()]
    if rules.precompiled_charsmap:
        steps += [normalizers.Precompiled(rules.precompiled_charsmap)]
        if "nfkc" in rules.name:
            # The library applies the rules to each character of ｶﾞ; SentencePiece to both, which gives ガ.
            steps += [normalizers.NFC()]
    if rules.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    elif rules.add_dummy_prefix:
        # Metaspace puts no space before a text that begins with one; SentencePiece does.
        steps += [normalizers.Replace(Regex(r"\A "), "  ")]
    return normalizers.Sequence(steps)


def _sentencepiece_pre_tokenizer(proto: Any) -> pre_tokenizers.PreTokenizer:
    spaces = pre_tokenizers.Metaspace(
        replacement=SPACE,
        prepend_scheme="always" if proto.normalizer_spec.add_dummy_prefix else "never",
        # Pieces of several blanks are found only where text is not cut at each of them.
        split=proto.trainer_spec.split_by_whitespace and not proto.trainer_spec.allow_whitespace_only_pieces,
    )
    if not (proto.trainer_spec.byte_fallback and proto.trainer_spec.model_type == _UNIGRAM):
        return spaces
    # The library would take the characters "<0x41>" in a text for the piece of that byte.
    cut = pre_tokenizers.Split(Regex("<(?=0x[0-9A-F]{2}>)"), behavior="isolated")
    return pre_tokenizers.Sequence([spaces, cut])


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def read_huggingface_tokenizer(directory: Path, vocab: Path | None = None) -> TokenizerFiles | None:
    """Read the tokenizer of a folder; None where it has none.

    The vocabulary is ``vocab``, vocab.txt, spiece.model, characters.json or the WordPiece vocabulary in tokenizer.json,
    the first that exists. How text is cleaned is read from tokenizer_config.json, else from tokenizer.json (for the
    generic class of transformers the other way around); with neither, text is lower-cased unless the vocabulary has
    capitals.

    Args:
        directory: of a model.
        vocab: another vocab.txt, or a SentencePiece model if its name ends in ``.model``, characters if in ``.json``.

    Raises:
        UserError: a file is not what its name says, or the tokenizer is of another kind.
    """
    config, fast = read_optional_object(directory / CONFIG_FILE), read_optional_object(directory / FAST_FILE)
    paths = [vocab] if vocab else [directory / name for name in _VOCABULARIES]
    path = next((path for path in paths if path == vocab or os.path.lexists(path)), None)
    if path is not None:
        kind = {".model": "sentencepiece", ".json": "characters"}.get(path.suffix, "wordpiece")
        content = read_vocabulary(path, str(path))
    elif fast:
        kind, path = "wordpiece", directory / FAST_FILE
        content = _vocabulary_of(fast, path)
    else:
        return None
    notes: list[str] = []
    if kind == "wordpiece":
        config, notes = resolve_cleaning(config, fast)
    described = describe_cleaning(config, fast, directory)
    lowercase, strip_accents = described.lowercase, described.strip_accents
    if lowercase is None:
        capitals = _has_capitals(kind, content, path)
        lowercase = not capitals
        notes.append(
            f"Neither {CONFIG_FILE} nor {FAST_FILE} says whether text is lower-cased: taken as "
            f"{'cased, since the vocabulary has capitals' if capitals else 'uncased, for want of capitals'}."
        )
    if kind == "wordpiece":
        notes += _wordpiece_notes(config, fast, described.split_chinese)
    strip_accents = lowercase if strip_accents is None else strip_accents
    return TokenizerFiles(kind, content, lowercase, strip_accents, tuple(notes))


def _wordpiece_notes(config: dict[str, Any], fast: dict[str, Any], chinese: bool | None) -> Iterator[str]:
    if chinese is False:
        yield "Chinese characters are not split in the original (tokenize_chinese_chars is false); here each is a word."
    name = config.get("tokenizer_class")
    if name is not None and name not in _PLAIN_CLASSES:
        yield f"The tokenizer's class {name!r:.60} is read as BERT's WordPiece, which may cut text otherwise."
    types = {step["type"] for step in normalizer_steps(fast)}
    if types and "BertNormalizer" not in types:
        yield f"The normalizer of {FAST_FILE} is not BERT's; here text is cleaned as BERT does."


def _has_capitals(kind: str, content: bytes, path: Path) -> bool:
    tokenizer = KINDS[kind](content, lowercase=True, strip_accents=True, where=str(path))
    tokens = map(tokenizer.token, range(tokenizer.vocab_size))
    # [UNK], [unused1], and byte pieces of SentencePiece such as <0x0A> are not words.
    words = (token for token in tokens if not (token[:1] in ("[", "<") and token[-1:] in ("]", ">")))
    # A capital is what lower-casing changes. ℝ, which is in the uncased vocabulary of BERT, is none.
    return any(word != word.lower() for word in words)


def _vocabulary_of(fast: dict[str, Any], path: Path) -> bytes:
    """Return the vocab.txt that a tokenizer.json contains."""
    model = fast.get("model")
    model = model if isinstance(model, dict) else {}
    # Files of the first versions do not name the model's type.
    kind = model.get("type", "WordPiece" if "continuing_subword_prefix" in model else None)
    if kind != "WordPiece" or model.get("continuing_subword_prefix", CONTINUATION) != CONTINUATION:
        what = kind if kind != "WordPiece" else "WordPiece of another continuation than ##"
        raise UserError(
            f"{path} holds a tokenizer that cannot be read here ({what or 'of no named model'!s:.60}): "
            f"give a BERT vocab.txt, or a SentencePiece model with the special tokens of ELECTRA"
        )
    vocabulary = model.get("vocab")
    vocabulary = vocabulary if isinstance(vocabulary, dict) else {}
    ids = list(vocabulary.values())
    if not ids or not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"{path} has a vocabulary whose ids are not 0, 1, 2 and so on: fetch it again")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if any("\n" in token for token in tokens):
        raise UserError(f"{path} has a token with a line end, which a vocab.txt cannot hold: remove it")
    return "".join(f"{token}\n" for token in tokens).encode("utf-8", "surrogatepass")
