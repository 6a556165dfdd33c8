"""Cleaning inline markup, and telling English prose from everything else."""

from __future__ import annotations

import re

_DROP = "\0"  # Marks a sentence that makes no sense without what was cut out of it.

_REPLACEMENTS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r":(?:math|eq|cite[\w:]*|footcite\w*):`[^`]*[\\^_{}][^`]*`", _DROP),
        (r":[\w:+.-]+:`~[^`]*?([\w-]+(?:\(\))?)`", r"\1"),
        (r":[\w:+.-]+:`!?([^`<]+?)(?:\s*<[^>`]*>)?`", r"\1"),
        (r"`([^`<]+?)\s*<[^>`]*>`_{0,2}", r"\1"),
        (r"!?\[([^\]]+)\]\((?:https?:)?[^)\s]*\)", r"\1"),
        (r"\s?\[(?:#?\w{0,24}?\d*|\*)\]_", ""),
        (r"``([^`]+)``", r"\1"),
        (r"`([\w.-]+)'", r"'\1'"),
        (r"`([^`]+)`_{0,2}", r"\1"),
        (r"(?<![\w*])\*{1,3}(?=[^\s*])([^*]+?)(?<=[^\s*])\*{1,3}(?![\w*])", r"\1"),
        (r"\b([A-Za-z]{2,})_(?=[\s.,;:)]|$)", r"\1"),
        (r"\\([ *`_|])", r"\1"),
        (r"\s*<https?://[^>]*>", ""),
        (r"\b(?:https?://|www\.|ftp://)\S*[^\s.,;:)]", _DROP),
        (r"\\[A-Za-z]+|\$[^$]+\$|>>>|->|%\(\w*\)?|\{\w*\}", _DROP),
    )
)
_ANY_MARKUP = re.compile(r"[`*_\[\\<$>%{]|://|www\.")
_SENTENCE_END = re.compile(r"(?<=[.!?:])(?<!e\.g\.)(?<!i\.e\.) (?=[A-Z\"'(`])")
_LICENCE = re.compile(
    r"copyright|all rights reserved|licensed under|redistribution and use|permission is hereby|warrant(y|ies)\b"
    r"|\blicen[cs]e",
    re.IGNORECASE,
)
_VERSION_NOTE = re.compile(r"(New|Added|Changed|Deprecated|Removed) (in|since) version\b", re.IGNORECASE)
_STATEMENT = re.compile(r"import \w|from [\w.]+ import\b|[\w.\[\]]+ [-+*/]?= ")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_CODE = re.compile(r"[_=<>{}\[\]|\\@#~^+*/$%&]|\w\(|\w\.\w|::|--|[a-z][A-Z]|\d[A-Za-z]|[A-Za-z]\d")

# The commonest words of English texts; about four in ten words of any prose are among them.
_STOP_WORDS = """
    a about after all also although an and another any are as at be because been before being between both but by
    can cannot could do does done during each either etc every first for from given has have how however if in into
    is it its itself just least less like may might more most much must need neither no nor not of off on once one
    only or other otherwise our out over own per rather same should since so some such than that the their them
    then there therefore these they this those through thus to two under unless until up use used using very was we
    were what when where whether which while who whose why will with within without would yet you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

MIN_WORDS = 4
MIN_STOP_WORD_SHARE = 0.15
MIN_LETTER_SHARE = 0.85
MAX_CODE_SHARE = 0.2
UNFINISHED_MIN_WORDS = 8  # Shorter text without a full stop is a label, not a sentence.


def clean_markup(paragraph: str) -> str:
    """Return a paragraph as a reader sees it; sentences that hang on a URL, a formula or a listing are left out."""
    if _ANY_MARKUP.search(paragraph):
        for pattern, replacement in _REPLACEMENTS:
            paragraph = pattern.sub(replacement, paragraph)
    paragraph = " ".join(paragraph.split())
    sentences = [sentence for sentence in _SENTENCE_END.split(paragraph) if _DROP not in sentence]
    while sentences and sentences[-1].endswith(":"):
        sentences.pop()
    return " ".join(sentences)


def is_english_prose(paragraph: str) -> bool:
    """Return whether a cleaned paragraph is English sentences: not code, formulas, names, labels or a licence."""
    tokens = paragraph.split()
    words = _WORD.findall(paragraph)
    if len(words) < MIN_WORDS or not (paragraph[0].isalnum() or paragraph[0] in "\"'(“‘"):
        return False
    if len(words) < UNFINISHED_MIN_WORDS and not paragraph.endswith((".", "!", "?", ".)", '."')):
        return False
    if words[-1].lower() in STOP_WORDS and paragraph[-1].isalpha():
        return False  # Broken off.
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    stop_words = sum(word.lower() in STOP_WORDS for word in words)
    code = sum(_CODE.search(token) is not None for token in tokens)
    return (
        letters >= MIN_LETTER_SHARE * len(paragraph)
        and stop_words >= MIN_STOP_WORD_SHARE * len(words)
        and code <= MAX_CODE_SHARE * len(tokens)
        and not _LICENCE.search(paragraph)
        and not _STATEMENT.match(paragraph)
        and not _VERSION_NOTE.match(paragraph)
    )
