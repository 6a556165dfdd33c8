"""Gaps in a text, ``___`` or ``[MASK]``: where they are, the ids around them, and the text with tokens put in."""

import re
from collections.abc import Sequence

from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.protocol import Encoding

GAP = re.compile(r"_{3,}|\[MASK\]")
_SPACE = "\u2581"  # how SentencePiece writes the space before a word
_CONTINUATION = "##"
# Characters of no meaning, one of which stands for a gap while the text around it is cut into tokens.
_STAND_INS = range(0xE000, 0xF900)


def has_gap(text: str) -> bool:
    """Return whether the text has a gap."""
    return GAP.search(text) is not None


def encode_gaps(tokenizer: Tokenizer, text: str) -> Encoding:
    """Return the ids of a text with gaps, [MASK] for each, and their places; no special tokens added.

    The text around a gap is cut into tokens as it stands there: a blank before the gap belongs to the token that will
    fill it, and what follows without a blank does not begin a word.

    Args:
        tokenizer: Its vocabulary.
        text: Of a user; other spellings of [MASK] are text.

    Returns:
        The ids, and for each (begin, end) in ``text``; of a [MASK] the characters of the gap.
    """
    gaps = [match.span() for match in GAP.finditer(text)]
    if not gaps:
        return tokenizer.encode_with_offsets(text)
    if tokenizer.kind == "sentencepiece":
        return _encode_whole(tokenizer, text, gaps)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    start = 0
    for begin, end in [*gaps, (len(text), len(text))]:
        piece = tokenizer.encode_with_offsets(text[start:begin])
        ids += piece.ids
        offsets += [(start + first, start + last) for first, last in piece.offsets]
        if begin < end:
            ids.append(tokenizer.mask_id)
            offsets.append((begin, end))
        start = end
    return Encoding(ids, offsets)


def _encode_whole(tokenizer: Tokenizer, text: str, gaps: Sequence[tuple[int, int]]) -> Encoding:
    """Encode with a stand-in for each gap: cut into pieces, each would get a blank before its first word."""
    stand_in = next(chr(code) for code in _STAND_INS if chr(code) not in text)
    whole, places = "", []
    start = 0
    for begin, end in gaps:
        whole += text[start:begin]
        places.append(len(whole))
        whole += stand_in
        start = end
    whole += text[start:]
    encoding = tokenizer.encode_with_offsets(whole)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    number = 0  # of the next gap
    shift = 0  # between the two texts, of what comes behind the gaps so far
    for id, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if number and begin == places[number - 1]:
            continue  # another byte of the stand-in, or the rest of an [UNK] that began with it
        if number < len(places) and begin <= places[number] < end:
            if ids and offsets[-1][0] == offsets[-1][1] and tokenizer.token(ids[-1]) == _SPACE:
                del ids[-1], offsets[-1]
            # An [UNK] may hold several gaps.
            while number < len(places) and places[number] < end:
                ids.append(tokenizer.mask_id)
                offsets.append(gaps[number])
                shift = gaps[number][1] - places[number] - 1
                number += 1
            continue
        ids.append(id)
        offsets.append((begin + shift, end + shift))
    return Encoding(ids, offsets)


def replace_tokens(
    tokenizer: Tokenizer, text: str, spans: Sequence[tuple[int, int]], ids: Sequence[int]
) -> str:
    """Return the text with tokens written over some of its characters; all others stay as they are.

    A token that continues a word takes the blanks before it away. One that begins a word gets a blank where there is
    none: in SentencePiece's vocabularies before it; in WordPiece's on both sides, between letters or digits, since
    other tokens begin a word too.

    Args:
        tokenizer: Its vocabulary.
        text: The text.
        spans: (begin, end) of what is replaced, increasing.
        ids: The tokens that are written there.
    """
    starts = tokenizer.word_start_table()
    written = ""
    start = 0
    for (begin, end), id in zip(spans, ids, strict=True):
        written += text[start:begin]
        token = tokenizer.token(id)
        if tokenizer.kind == "sentencepiece":
            if not starts[id]:
                written = written.rstrip(" ")
            elif written and not written[-1].isspace():
                written += " "
            token = token.replace(_SPACE, " ").removeprefix(" ")
        elif tokenizer.kind == "wordpiece":
            if not starts[id]:
                written = written.rstrip(" ")
                token = token.removeprefix(_CONTINUATION)
            elif written[-1:].isalnum() and token[:1].isalnum():
                written += " "
            if token[-1:].isalnum() and text[end : end + 1].isalnum() and not text[end - 1 : end].isalnum():
                token += " "
        written += token
        start = end
    return written + text[start:]
