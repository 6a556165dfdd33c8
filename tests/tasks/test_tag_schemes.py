"""Schemes of spans: against seqeval's reading, against each other, and on whole benchmarks."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_jax.tasks.sources.word_columns import read_word_columns
from electra_jax.tasks.tag_detection import detect_tags, scheme_from_labels
from electra_jax.tasks.tag_schemes import (
    SPELLINGS,
    STANDARD,
    Span,
    Spelling,
    convert_tags,
    entity_types,
    scheme_labels,
    spans_to_tags,
    spelling_by_name,
    tags_to_spans,
)

SPAN_SCHEMES = ("BIO", "IOB1", "IOE2", "IOE1", "BIOES", "BMES", "BILOU", "BMEWO")

# One sentence in all schemes: two spans of a type touch, then one of a single word touches one of another type.
SPANS = [Span("X", 0, 2), Span("X", 2, 5), Span("Y", 6, 7), Span("X", 7, 8)]
SPELLED = {
    "BIO": "B-X I-X B-X I-X I-X O B-Y B-X",
    "IOB1": "I-X I-X B-X I-X I-X O I-Y I-X",
    "IOE2": "I-X E-X I-X I-X E-X O E-Y E-X",
    "IOE1": "I-X E-X I-X I-X I-X O I-Y I-X",
    "BIOES": "B-X E-X B-X I-X E-X O S-Y S-X",
    "BMES": "B-X E-X B-X M-X E-X O S-Y S-X",
    "BMEWO": "B-X E-X B-X M-X E-X O W-Y W-X",
    "BILOU": "B-X L-X B-X I-X L-X O U-Y U-X",
}


@pytest.mark.parametrize("scheme", SPAN_SCHEMES)
def test_a_sentence_in_every_scheme(scheme):
    tags = SPELLED[scheme].split()
    assert tags_to_spans(tags) == SPANS
    assert spans_to_tags(SPANS, 8, scheme) == tags
    assert detect_tags([tags]).scheme == scheme
    for other in SPAN_SCHEMES:
        assert convert_tags(tags, other) == SPELLED[other].split()


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
        tags = spans_to_tags(spans, length, scheme)
        assert len(tags) == length
        assert tags_to_spans(tags) == spans
        for other in SPAN_SCHEMES:
            assert convert_tags(convert_tags(tags, other), scheme) == tags
        labels = scheme_labels(entity_types(tags), scheme)
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
    assert tags_to_spans(tags.split()) == expected


@pytest.mark.parametrize("letters", ["BI", "BIES", "IE"])
@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_is_read_as_seqeval_reads_it(seed, suffix, letters):
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    rng = random.Random(seed)
    spelling = Spelling(suffix=suffix)
    choices = ["O", *(spelling.join(letter, kind) for letter in letters for kind in ("X", "Y", "a-b"))]
    if suffix:
        choices = [tag for tag in choices if "a-b" not in tag]  # seqeval takes "a" for the type
    tags = [rng.choice(choices) for _ in range(40)]
    found = [(kind, start, end - 1) for kind, start, end in tags_to_spans(tags, spelling)]
    assert found == labelling.get_entities(tags, suffix=suffix)


# Not IOE1: of spans of one word that touch, seqeval's loses the first.
@pytest.mark.parametrize("name", ["IOB1", "IOB2", "IOE2", "IOBES", "BILOU"])
@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_written_is_well_formed_to_seqeval_s_strict_mode(seed, suffix, name):
    schemes = pytest.importorskip("seqeval.scheme")
    rng = random.Random(seed)
    spans, place = [], 0
    while place < 30:
        size = rng.randint(1, 4)
        if rng.random() < 0.7:
            spans.append(Span(rng.choice("XY"), place, place + size))
        place += size
    ours = {"IOB2": "BIO", "IOBES": "BIOES"}.get(name, name)
    tags = spans_to_tags(spans, place, ours, Spelling(suffix=suffix))
    entities = schemes.Entities([tags], getattr(schemes, name), suffix=suffix).entities[0]
    assert [(one.tag, one.start, one.end) for one in entities] == spans


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
        (["B M E S"], "BMES"),
        (["B M E W O"], "BMEWO"),
        (["NN VB"], "plain"),
        (["O O"], "plain"),
        (["o o"], "plain"),
        (["B-X NN"], "plain"),
        (["E-X L-X"], "plain"),
        (["N-S V-S"], "plain"),  # number, not a span of one word spelled backwards
        ([], "plain"),
    ],
)
def test_the_scheme_is_recognised(sentences, scheme):
    assert detect_tags(sentence.split() for sentence in sentences).scheme == scheme


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ("B-PER I-PER O", "O B-TYPE"),
        ("PER-B PER-I O", "O TYPE-B"),
        ("B_PER I_PER O", "O B_TYPE"),
        ("PER_B PER_I O", "O TYPE_B"),
        ("b-per i-per O", "O b-TYPE"),
        ("b-per i-per o", "o b-TYPE"),
        ("per_b per_i o", "o TYPE_b"),
        ("B-PER I-PER o", "o B-TYPE"),
        ("B-PER I-PER", "O B-TYPE"),  # no O at all
        ("PER-B PER-I", "O TYPE-B"),
        ("B-MISC_X I-MISC_X O", "O B-TYPE"),
        ("B-per-son I-per-son O", "O B-TYPE"),
        ("per-son-B per-son-I O", "O TYPE-B"),
        ("B_MISC_X I_MISC_X O", "O B_TYPE"),
        ("MISC-X_B MISC-X_I O", "O TYPE_B"),
        ("S-B S-I O", "O TYPE-B"),  # a type S; spelled the other way there would be no B and no I
        ("B-S I-S O", "O B-TYPE"),
    ],
)
def test_the_spelling_is_recognised_and_written_back(tags, name):
    tags = tags.split()
    found = detect_tags([tags])
    assert (found.scheme, found.spelling.name, found.odd) == ("BIO", name, frozenset())
    assert found.spelling == spelling_by_name(name)
    spans = tags_to_spans(tags, found.spelling)
    assert [(span.start, span.end) for span in spans] == [(0, 2)]
    assert spans_to_tags(spans, len(tags), found.scheme, found.spelling) == tags
    assert tags_to_spans(convert_tags(tags, "BIOES", read=found.spelling)) == spans


@pytest.mark.parametrize(
    ("tags", "odd", "mostly_spans"),
    [
        ("B-X I-X O 0", {"0"}, True),
        ("B-X I-X O b-X", {"b-X"}, True),
        ("B-X I-X O X-B", {"X-B"}, True),
        ("B-X I-X O B_Y", {"B_Y"}, True),
        ("B-X O B-", {"B-"}, True),
        ("X-B X-I O Y-B 0", {"0"}, True),
        ("B-X I-X E-X S-X L-X O", {"L-X"}, True),
        ("B I O 0", {"0"}, True),
        ("B-X I-X " + "1 2 3 " * 5, {"1", "2", "3"}, False),
        ("B-X I-X " * 9 + "1 2 3", {"1", "2", "3"}, True),
        ("A B C D I", {"A", "C", "D"}, False),
        ("NN S B VB", {"NN", "VB"}, True),
        ("NN VB O", {"NN", "VB"}, False),
    ],
)
def test_odd_tags_are_told_from_labels_that_are_no_spans(tags, odd, mostly_spans):
    found = detect_tags([tags.split()])
    assert (found.scheme, found.odd, found.mostly_spans) == ("plain", odd, mostly_spans)


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        ("O B-X I-X", "BIO"),
        ("O B-X", "BIO"),
        ("O I-X I-Y B-Y", "IOB1"),  # as a model trained on CoNLL-2003's own files has it
        ("O I-X", "IOB1"),
        ("I-X E-X", "IOE2"),
        ("I-X I-Y E-Y", "IOE1"),
        ("B-X I-X E-X S-X", "BIOES"),
        ("S-X E-X B-X O", "BIOES"),
        ("M-X B-X O", "BMES"),
        ("L-X U-X", "BILOU"),
        ("O", "BIO"),
    ],
)
def test_the_scheme_of_a_list_of_labels(labels, scheme):
    assert scheme_from_labels(labels.split(), STANDARD) == scheme


WORDS = st.text(alphabet="BIESLUMWObio-_XY0", max_size=6) | st.text(max_size=4)


@given(st.lists(st.lists(WORDS, max_size=8), max_size=6))
def test_any_strings_are_recognised_as_something(sentences):
    found = detect_tags(sentences)
    assert found.odd <= {tag for tags in sentences for tag in tags}
    assert spelling_by_name(found.spelling.name) == found.spelling
    if found.scheme == "plain":
        return
    assert not found.odd
    for tags in sentences:
        spans = tags_to_spans(tags, found.spelling)
        written = spans_to_tags(spans, len(tags), found.scheme, found.spelling)
        assert tags_to_spans(written, found.spelling) == spans
        assert detect_tags([tags, written]).scheme != "plain" or not spans


@given(st.text(max_size=12), st.sampled_from(SPELLINGS))
def test_a_tag_that_is_split_is_joined_again(tag, spelling):
    split = spelling.split(tag)
    assert split is None or spelling.join(*split) == tag


def test_parts_of_tags():
    split = [STANDARD.split(tag) for tag in ("O", "B-PER", "I", "S-a-b", "NN", "", "o", "B-", "X-PER", "-B")]
    assert split == [*[("O", ""), ("B", "PER"), ("I", ""), ("S", "a-b")], *[None] * 6]
    assert Spelling(suffix=True).split("a-b-S") == ("S", "a-b")
    with pytest.raises(ValueError, match="'NN'"):
        tags_to_spans(["B-X", "NN"])
    with pytest.raises(ValueError, match="spelled 'B'"):
        spelling_by_name("B")
    assert len({spelling.name for spelling in SPELLINGS}) == len(SPELLINGS) == 16
    assert scheme_labels(["Y", "X"], "BIO") == ("B-X", "B-Y", "I-X", "I-Y", "O")
    assert entity_types(["I-Y", "B-X", "S-Y", "O", "NN"]) == ("X", "Y")


# --- whole benchmarks -----------------------------------------------------------------------------------------

FILES = [("conll2000", "train"), ("conll2000", "test")]
FILES += [("conll2003", split) for split in ("train", "valid", "test")]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "split"), FILES)
def test_bio_to_bioes_and_back_is_the_identity_on_every_sentence(shared, name, split):
    examples = read_word_columns(shared / "data" / name / f"{split}.txt")
    tags = [example.tags for example in examples]
    assert detect_tags(tags).scheme == "BIO"
    for one in tags:
        learned = convert_tags(one, "BIOES")
        assert tuple(convert_tags(learned, "BIO")) == one
        assert tags_to_spans(learned) == tags_to_spans(one)
    # In BIO there are as many spans of a type as words begin one: counted in the lines, without the reader.
    lines = (shared / "data" / name / f"{split}.txt").read_text().splitlines()
    begun = Counter(line.split()[-1][2:] for line in lines if line.strip() and line.split()[-1][:2] == "B-")
    assert Counter(span.type for one in tags for span in tags_to_spans(one)) == begun


@pytest.mark.shared_data
def test_published_numbers_of_entities(shared):
    """CoNLL-2003's test set has 5,648 entities, and CoNLL-2000's 23,852 chunks (Tjong Kim Sang et al.)."""
    counts = {}
    for name in ("conll2000", "conll2003"):
        examples = read_word_columns(shared / "data" / name / "test.txt")
        counts[name] = Counter(span.type for example in examples for span in tags_to_spans(example.tags))
    assert counts["conll2003"] == {"LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617}
    assert counts["conll2000"]["NP"] == 12422
    assert counts["conll2000"].total() == 23852
