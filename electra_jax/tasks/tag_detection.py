"""Detecting the scheme and spelling of tags, and which tags fit none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from electra_jax.tasks.tag_schemes import LETTERS, OUTSIDE, SPELLINGS, STANDARD, Scheme, Spelling

# Letters that may occur together: those of the schemes with four letters.
_ALPHABETS = tuple(letters for letters in LETTERS.values() if len(set(letters)) == 4)
# Nearly every file of spans has one of these letters, and few other labels begin with them.
_TYPICAL_LETTERS = frozenset("BIM")


@dataclass(frozen=True)
class DetectedTags:
    """The format of some tags.

    Attributes:
        scheme: of the tags that fit it; "plain" where they are not spans.
        spelling: the one that most tags fit, the standard one if none does.
        odd: the tags that do not fit the spelling; empty where all tags are spans.
        mostly_spans: whether the odd tags look like mistakes among tags of spans, rather than the others like
            coincidence.
    """

    scheme: Scheme
    spelling: Spelling = STANDARD
    odd: frozenset[str] = frozenset()
    mostly_spans: bool = False


def detect_tags(sentences: Iterable[Sequence[str]]) -> DetectedTags:
    """Detect the scheme and the spelling of the tags of some sentences.

    Tags are spans if all of them have the same spelling, with letters of one scheme: IOB2 ("BIO"), IOB1, IOE2, IOE1,
    BIOES, BMES, BILOU or BMEWO; as ``B-PER``, ``PER-B``, ``B_PER`` or ``PER_B``, the letter large or small. If tags
    contain neither B nor I (or M), only the first spelling is recognised.
    """
    sentences = [list(tags) for tags in sentences]
    words = Counter(tag for tags in sentences for tag in tags)
    fits = [_fit(words, spelling) for spelling in SPELLINGS]
    all_fit = [fit for fit in fits if not fit.odd and fit.letters]
    certain = [fit for fit in all_fit if fit.letters & _TYPICAL_LETTERS]
    for fit in (*certain, *(fit for fit in all_fit if fit.spelling == STANDARD)):
        return DetectedTags(_scheme(sentences, fit), fit.spelling)
    best = min(fits, key=lambda fit: len(fit.odd))
    if not best.letters & _TYPICAL_LETTERS:
        return DetectedTags("plain", odd=best.odd)
    return DetectedTags("plain", best.spelling, best.odd, _mostly_spans(words, best))


def scheme_from_labels(labels: Sequence[str], spelling: Spelling) -> Scheme:
    """Return the scheme of a model's list of labels, without any sentences to look at.

    B and I alone are BIO, unless a type has no B: then spans can begin with I, as in IOB1.
    """
    split = [parts for label in labels if (parts := spelling.split(label)) and parts[0] != OUTSIDE]
    kinds = {letter: {kind for other, kind in split if other == letter} for letter, _ in split}
    letters = frozenset(kinds)
    if letters <= set("BI"):
        return "BIO" if kinds.get("I", set()) <= kinds.get("B", set()) else "IOB1"
    if letters == set("IE"):
        return "IOE2" if kinds["I"] <= kinds["E"] else "IOE1"
    return _of_four(letters)


@dataclass(frozen=True)
class _Fit:
    """How tags fit a spelling: the letters of those that do, and the tags that do not."""

    spelling: Spelling
    letters: frozenset[str]
    odd: frozenset[str]


def _fit(words: Mapping[str, int], spelling: Spelling) -> _Fit:
    """Return how tags fit a spelling and one alphabet of letters, the one that leaves out the fewest tags."""
    split = {tag: spelling.split(tag) for tag in words}
    letters = {tag: parts[0] for tag, parts in split.items() if parts is not None}
    best = min(
        _ALPHABETS, key=lambda alphabet: sum(letter not in alphabet + OUTSIDE for letter in letters.values())
    )
    fitting = {tag for tag, letter in letters.items() if letter in best + OUTSIDE}
    return _Fit(
        spelling,
        frozenset(letters[tag] for tag in fitting) - {OUTSIDE},
        frozenset(words) - fitting,
    )


def _mostly_spans(words: Mapping[str, int], fit: _Fit) -> bool:
    """Return whether at least half of the tags, or of the words, are spans.

    Both must be if there are no types, since the letters alone look like other labels.
    """
    split = {tag: fit.spelling.split(tag) for tag in words if tag not in fit.odd}
    spans = {tag: parts for tag, parts in split.items() if parts is not None and parts[0] != OUTSIDE}
    tags = len(spans) >= len(fit.odd)
    often = sum(words[tag] for tag in spans) >= sum(words[tag] for tag in fit.odd)
    return (tags or often) if any(kind for _, kind in spans.values()) else (tags and often)


def _scheme(sentences: Sequence[Sequence[str]], fit: _Fit) -> Scheme:
    """Return the scheme of tags that fit, where several schemes have the same letters.

    BIO with mistakes is BIO: IOB1 has an I that begins a span, and B only after a word of the same type. IOE1 likewise,
    read backwards.
    """
    letters = fit.letters
    if letters <= set("BI"):
        first = _letters_at_edges(sentences, fit.spelling)
        return "IOB1" if "I" in first and "B" not in first else "BIO"
    if letters == set("IE"):
        last = _letters_at_edges([tags[::-1] for tags in sentences], fit.spelling)
        return "IOE1" if "I" in last and "E" not in last else "IOE2"
    return _of_four(letters)


def _of_four(letters: frozenset[str]) -> Scheme:
    fitting = (scheme for scheme, four in LETTERS.items() if four in _ALPHABETS and letters <= set(four))
    return next(fitting, "BIOES")


def _letters_at_edges(sentences: Iterable[Sequence[str]], spelling: Spelling) -> set[str]:
    """Return the letters that follow a word of another type."""
    found: set[str] = set()
    for tags in sentences:
        split = [spelling.split(tag) or (OUTSIDE, "") for tag in tags]
        for before, current in pairwise([(OUTSIDE, ""), *split]):
            if before[0] == OUTSIDE or before[1] != current[1]:
                found.add(current[0])
    return found
