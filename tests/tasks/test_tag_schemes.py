"""Schemes of spans: against seqeval's reading, against each other, and on whole benchmarks."""

import random
from collections import Counter

import pytest

from electra_jax.tasks.sources.word_columns import read_word_columns
from electra_jax.tasks.tag_schemes import (
    Span,
    convert,
    scheme_labels,
    scheme_of,
    spans_of,
    split_tag,
    tags_of,
    types_of,
)

SPAN_SCHEMES = ("BIO", "IOB1", "BIOES", "BILOU")

# One sentence in all schemes: two spans of a type touch, then one of a single word touches one of another type.
SPANS = [Span("X", 0, 2), Span("X", 2, 5), Span("Y", 6, 7), Span("X", 7, 8)]
SPELLED = {
    "BIO": "B-X I-X B-X I-X I-X O B-Y B-X",
    "IOB1": "I-X I-X B-X I-X I-X O I-Y I-X",
    "BIOES": "B-X E-X B-X I-X E-X O S-Y S-X",
    "BILOU": "B-X L-X B-X I-X L-X O U-Y U-X",
}


@pytest.mark.parametrize("scheme", SPAN_SCHEMES)
def test_a_sentence_in_every_scheme(scheme):
    tags = SPELLED[scheme].split()
    assert spans_of(tags) == SPANS
    assert tags_of(SPANS, 8, scheme) == tags
    assert scheme_of([tags]) == scheme
    for other in SPAN_SCHEMES:
        assert convert(tags, other) == SPELLED[other].split()


def _random_spans(rng, length):
    spans, place = [], 0
    while place < length:
        size = rng.randint(1, min(4, length - place))
        if rng.random() < 0.6:
            spans.append(Span(rng.choice(("X", "Y", "a-b", "")), place, place + size))
        place += size
    return spans


@pytest.mark.parametrize("seed", range(100))
def test_no_span_is_lost_between_schemes(seed):
    rng = random.Random(seed)
    length = rng.randint(0, 30)
    spans = _random_spans(rng, length)
    for scheme in SPAN_SCHEMES:
        tags = tags_of(spans, length, scheme)
        assert len(tags) == length
        assert spans_of(tags) == spans
        for other in SPAN_SCHEMES:
            assert convert(convert(tags, other), scheme) == tags
        labels = scheme_labels(types_of(tags), scheme)
        assert set(tags) <= set(labels)
        assert list(labels) == sorted(labels)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-X I-X O", [("X", 0, 2)]),  # begins without B
        ("O I-X", [("X", 1, 2)]),
        ("B-X I-Y I-Y", [("X", 0, 1), ("Y", 1, 3)]),  # changes its type
        ("B-X O E-X", [("X", 0, 1), ("X", 2, 3)]),  # never ends; ends without a beginning
        ("B-X B-X", [("X", 0, 1), ("X", 1, 2)]),
        ("E-X E-X I-X", [("X", 0, 1), ("X", 1, 2), ("X", 2, 3)]),
        ("S-X I-X E-X", [("X", 0, 1), ("X", 1, 3)]),
        ("B-X S-X E-Y", [("X", 0, 1), ("X", 1, 2), ("Y", 2, 3)]),
        ("I O B I", [("", 0, 1), ("", 2, 4)]),  # no types
        ("B-a-b I-a-b I-a", [("a-b", 0, 2), ("a", 2, 3)]),
        ("", []),
    ],
)
def test_mistakes_are_read_as_conlleval_reads_them(tags, expected):
    assert spans_of(tags.split()) == expected


@pytest.mark.parametrize("letters", ["BI", "BIES"])
@pytest.mark.parametrize("seed", range(50))
def test_any_sequence_is_read_as_seqeval_reads_it(seed, letters):
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    rng = random.Random(seed)
    choices = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("X", "Y"))]
    tags = [rng.choice(choices) for _ in range(40)]
    assert [(kind, start, end - 1) for kind, start, end in spans_of(tags)] == labelling.get_entities(tags)


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["B-X I-X O", "I-Y"], "BIO"),  # a mistake, since the first B would not be there in IOB1
        (["I-X I-X O", "I-Y B-Y"], "IOB1"),
        (["I-X O"], "IOB1"),
        (["B-X O"], "BIO"),
        (["B-X I-Y"], "BIO"),
        (["B-X E-X"], "BIOES"),
        (["S-X"], "BIOES"),
        (["U-X O"], "BILOU"),
        (["B I O"], "BIO"),
        (["NN VB"], "plain"),
        (["O O"], "plain"),
        (["B-X NN"], "plain"),
        (["E-X L-X"], "plain"),
        ([], "plain"),
    ],
)
def test_the_scheme_is_recognised(sentences, scheme):
    assert scheme_of(sentence.split() for sentence in sentences) == scheme


def test_parts_of_tags():
    assert [split_tag(tag) for tag in ("O", "B-PER", "I", "S-a-b", "NN", "", "o", "B-", "X-PER")] == [
        *[("O", ""), ("B", "PER"), ("I", ""), ("S", "a-b")],
        *[None] * 5,
    ]
    with pytest.raises(ValueError, match="'NN'"):
        spans_of(["B-X", "NN"])
    assert scheme_labels(["Y", "X"], "BIO") == ("B-X", "B-Y", "I-X", "I-Y", "O")
    assert types_of(["I-Y", "B-X", "S-Y", "O", "NN"]) == ("X", "Y")


# --- whole benchmarks -----------------------------------------------------------------------------------------

FILES = [("conll2000", "train"), ("conll2000", "test")]
FILES += [("conll2003", split) for split in ("train", "valid", "test")]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "split"), FILES)
def test_bio_to_bioes_and_back_is_the_identity_on_every_sentence(shared, name, split):
    examples = read_word_columns(shared / "data" / name / f"{split}.txt")
    tags = [example.tags for example in examples]
    assert scheme_of(tags) == "BIO"
    for one in tags:
        learned = convert(one, "BIOES")
        assert tuple(convert(learned, "BIO")) == one
        assert spans_of(learned) == spans_of(one)
    # In BIO there are as many spans of a type as words begin one: counted in the lines, without the reader.
    lines = (shared / "data" / name / f"{split}.txt").read_text().splitlines()
    begun = Counter(line.split()[-1][2:] for line in lines if line.strip() and line.split()[-1][:2] == "B-")
    assert Counter(span.type for one in tags for span in spans_of(one)) == begun


@pytest.mark.shared_data
def test_published_numbers_of_entities(shared):
    """CoNLL-2003's test set has 5,648 entities, and CoNLL-2000's 23,852 chunks (Tjong Kim Sang et al.)."""
    counts = {}
    for name in ("conll2000", "conll2003"):
        examples = read_word_columns(shared / "data" / name / "test.txt")
        counts[name] = Counter(span.type for example in examples for span in spans_of(example.tags))
    assert counts["conll2003"] == {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617}
    assert counts["conll2000"]["NP"] == 12422
    assert counts["conll2000"].total() == 23852
