"""The exam of frozen corruptions: sentences in which words were replaced once, by a procedure that depends on no run.

`disc_auc` of a run is measured on what its own generator wrote, so it says as much of the generator as of the
discriminator. Here the wrong words are the same for every run, and words, whatever a vocabulary cuts them into.
"""

import hashlib
import io
import random
import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from electra_jax.data.sources.compressed import split_extension
from electra_jax.data.sources.json_lines import read_json_lines
from electra_jax.data.sources.text import raise_errors, read_lines
from electra_jax.errors import UserError, quoted
from electra_jax.inference.words import Span, word_spans

_TEXT_FIELD = "text"  # of JSON lines, as data.text_field is where nothing is set
_SENTENCE_END = re.compile(r"(?<=[.!?؟۔।॥])\s+|(?<=[。！？])")
_SHORTEST, _LONGEST = 5, 30  # words of a sentence
_ATTEMPTS = 20
_STRAYS = 0.01  # a smaller share of words with marks is words of another language

# (the words of a sentence, lower case; the place of one; a random number generator) → another word, or None.
Replace = Callable[[Sequence[str], int, random.Random], str | None]


@dataclass(frozen=True)
class Corrupted:
    """A sentence with wrong words in it.

    Attributes:
        text: the sentence.
        words: (begin, end) of its words.
        wrong: whether each was replaced.
    """

    text: str
    words: tuple[Span, ...]
    wrong: tuple[bool, ...]


@dataclass(frozen=True)
class Exam:
    """Sentences, the words of each that are replaced, and the statistics of the text they are from.

    Attributes:
        sentences: the texts.
        chosen: numbers of the words that are replaced, of each sentence.
        counts: how often each word of letters, or of letters and marks, is in the text, lower case.
        followers: the same of the words behind each word.
    """

    sentences: tuple[str, ...]
    chosen: tuple[tuple[int, ...], ...]
    counts: Mapping[str, int]
    followers: Mapping[str, Mapping[str, int]]


def read_exam(path: Path, sentences: int, share: float) -> Exam:
    """Choose sentences of a text and words in them; the same whatever the machine, and in whatever order the text is.

    Args:
        path: of a text, or of JSON lines (``.jsonl``) with texts in their field ``text``; compressed or not.
        sentences: how many, at most.
        share: of the words that are chosen, at least one of each sentence.

    Raises:
        UserError: it cannot be read, or has too few sentences.
    """
    is_word = _which_words(path)
    counts: Counter[str] = Counter()
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    found: dict[str, bytes] = {}
    for sentence in _sentences(path):
        words = _lower_words(sentence, word_spans(sentence))
        counts.update(filter(is_word, words))
        for word, following in pairwise(words):
            if is_word(following):
                followers[word][following] += 1
        if _SHORTEST <= len(words) <= _LONGEST and sum(map(is_word, words)) >= _SHORTEST:
            found[sentence] = hashlib.sha256(sentence.encode()).digest()
    if not found:
        raise UserError(
            f"{path} has no sentence of {_SHORTEST} to {_LONGEST} words, of which an exam is made"
        )
    chosen_sentences = sorted(found, key=lambda sentence: found[sentence])[:sentences]
    rng = random.Random(0)
    chosen = []
    for sentence in chosen_sentences:
        words = _lower_words(sentence, word_spans(sentence))
        places = [place for place, word in enumerate(words) if is_word(word)]
        number = max(1, round(share * len(places)))
        ranked = sorted(places, key=lambda _: rng.random())
        chosen.append(tuple(sorted(ranked[:number])))
    return Exam(tuple(chosen_sentences), tuple(chosen), counts, followers)


def corrupt(exam: Exam, replace: Replace, seed: int = 0) -> list[Corrupted]:
    """Replace the chosen words; one that nothing was found for stays, and counts as right."""
    rng = random.Random(seed)
    return [
        _rewrite(sentence, chosen, replace, rng)
        for sentence, chosen in zip(exam.sentences, exam.chosen, strict=True)
    ]


def by_frequency(exam: Exam) -> Replace:
    """Return the replacement by any word of the text, drawn as often as it is there."""
    draw = _drawer(exam.counts)
    return lambda words, place, rng: _other_than(words[place], draw, rng)


def by_the_word_before(exam: Exam) -> Replace:
    """Return the replacement by a word that follows the same word elsewhere in the text; by any, where none does."""
    anything = by_frequency(exam)
    drawers = {word: _drawer(counts) for word, counts in exam.followers.items()}

    def replace(words: Sequence[str], place: int, rng: random.Random) -> str | None:
        draw = drawers.get(words[place - 1]) if place else None
        found = None if draw is None else _other_than(words[place], draw, rng)
        return found or anything(words, place, rng)

    return replace


def _sentences(path: Path) -> Iterable[str]:
    for line in _lines(str(path)):
        yield from (part for part in map(str.strip, _SENTENCE_END.split(line)) if part)


def _lines(path: str) -> Iterator[str]:
    """Yield the lines of a text, or of the texts in a file of JSON lines.

    Raises:
        UserError: it cannot be read, or a line of JSON has no text.
    """
    if split_extension(path)[0] != ".jsonl":
        yield from (line for _, line in raise_errors(read_lines(path)))
        return
    for number, record in raise_errors(read_json_lines(path)):
        text = record.get(_TEXT_FIELD)
        if not isinstance(text, str):
            raise UserError(
                f"{path}, line {number} has no text in a field {_TEXT_FIELD!r} (it has {quoted(record)}): rename the "
                "field that the exam is to be made of"
            )
        yield from io.StringIO(text, newline=None)  # whose lines end as those of a file


def _which_words(path: Path) -> Callable[[str], bool]:
    """Return which words are counted and replaced: those of letters, and of letters with marks unless these are strays.

    So an exam is of Hindi or of vowelled Arabic, and in English a few names in other scripts are left as they are.
    """
    words = marked = 0
    for sentence in _sentences(path):
        found = [
            word for word in _lower_words(sentence, word_spans(sentence)) if _has_letters_and_marks(word)
        ]
        words, marked = words + len(found), marked + sum(not word.isalpha() for word in found)
    return _has_letters_and_marks if marked > _STRAYS * words else str.isalpha


def _has_letters_and_marks(word: str) -> bool:
    """Return whether a word is letters, with or without marks on them."""
    return word[:1].isalpha() and all(unicodedata.category(some)[0] in "LM" for some in word)


def _lower_words(text: str, spans: Sequence[Span]) -> list[str]:
    return [text[begin:end].lower() for begin, end in spans]


def _drawer(counts: Mapping[str, int]) -> Callable[[random.Random], str]:
    words = sorted(counts)
    sums = list(accumulate(counts[word] for word in words))
    # `random` alone is the same in every version of Python; `choices` need not be.
    return lambda rng: words[bisect_right(sums, rng.random() * sums[-1])]


def _other_than(word: str, draw: Callable[[random.Random], str], rng: random.Random) -> str | None:
    drawn = (draw(rng) for _ in range(_ATTEMPTS))
    return next((other for other in drawn if other != word), None)


def _rewrite(sentence: str, chosen: Sequence[int], replace: Replace, rng: random.Random) -> Corrupted:
    spans = word_spans(sentence)
    words = _lower_words(sentence, spans)
    text, written, wrong, behind = "", [], [], 0
    for place, (begin, end) in enumerate(spans):
        word = sentence[begin:end]
        other = replace(words, place, rng) if place in chosen else None
        new = word if other is None else _with_capitals_of(word, other)
        text += sentence[behind:begin]
        written.append((len(text), len(text) + len(new)))
        text += new
        wrong.append(other is not None)
        behind = end
    return Corrupted(text + sentence[behind:], tuple(written), tuple(wrong))


def _with_capitals_of(word: str, other: str) -> str:
    return other[:1].upper() + other[1:] if word[:1].isupper() else other
