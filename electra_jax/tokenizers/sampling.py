"""A bounded sample of the text that a vocabulary is trained on; the same one each time."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

# SentencePiece skips longer lines, without a word, so they are cut before.
SENTENCE_CHARACTERS = 1000
# SentencePiece counts equal words once; a run of more characters than this is hardly a word, and will not come again.
MAX_WORD_LENGTH = 50
# What a character of such a run costs in training, set against one of English (measured: docs/data.md).
COST_WITHOUT_BLANKS = 8

_LONG_RUN = re.compile(rf"\S{{{MAX_WORD_LENGTH + 1},}}")


@dataclass(frozen=True)
class Sample:
    """Sentences to train on.

    Attributes:
        sentences: in the order of the text.
        characters: of the sentences.
        characters_read: of all text.
        share_without_blanks: of the sample's characters, those in runs that are no words.
    """

    sentences: list[str] = field(repr=False)
    characters: int
    characters_read: int
    share_without_blanks: float


def sentences(documents: Iterable[str], *, keep_blanks: bool = False) -> Iterator[str]:
    """Yield the lines of the documents, long ones cut at spaces; blanks at their ends are taken off, or kept."""
    for document in documents:
        for line in document.splitlines():
            line = line if keep_blanks else line.strip()
            start = 0  # what is left is not copied each time: a line may be a whole corpus
            while len(line) - start > SENTENCE_CHARACTERS:
                cut = line.rfind(" ", start + 1, start + SENTENCE_CHARACTERS)
                cut = cut if cut > start else start + SENTENCE_CHARACTERS
                yield line[start:cut]
                start = cut
                while not keep_blanks and line[start].isspace():  # its last character is none
                    start += 1
            rest = line[start:]
            if rest and not rest.isspace():
                yield rest


def sample_sentences(
    items: Iterable[str], max_sentences: int, max_characters: int, read: Callable[[int], None]
) -> Sample:
    """Draw sentences, each equally likely to be taken, until one of the two bounds is met.

    Every sentence gets a random number; those with the smallest are kept. Characters of text without blanks count
    `COST_WITHOUT_BLANKS` times.

    Args:
        items: all sentences.
        max_sentences: at most so many are kept.
        max_characters: at most so many characters, unless a single sentence has more.
        read: is called now and then with the number of characters read.
    """
    rng = random.Random(0)
    kept: list[tuple[float, int, str, int]] = []  # smallest first: the largest number, negated
    cost = characters_read = 0
    bar = -1.0
    for number, item in enumerate(items):
        characters_read += len(item)
        if number % 1024 == 0:
            read(characters_read)
        key = -rng.random()
        if key < bar:
            continue
        paid = len(item) + (COST_WITHOUT_BLANKS - 1) * _without_blanks(item)
        heappush(kept, (key, number, item, paid))
        cost += paid
        while len(kept) > 1 and (len(kept) > max_sentences or cost > max_characters):
            bar, _, _, paid = heappop(kept)  # nothing with a larger number has a place any more
            cost -= paid
    taken = [item for _, _, item, _ in sorted(kept, key=lambda entry: entry[1])]
    characters = sum(map(len, taken))
    share = sum(map(_without_blanks, taken)) / max(characters, 1)
    return Sample(taken, characters, characters_read, share)


def _without_blanks(sentence: str) -> int:
    """Count the characters in runs without blanks that are no words."""
    return sum(map(len, _LONG_RUN.findall(sentence)))
