"""No token is lost, rows are as full as promised, and pairs have the reference's statistics."""

import itertools

import numpy as np
import pytest

from electra_jax.data.packing import MIN_PIECE, make_packer, pack, split_sentences

PAD, CLS, SEP = 0, 2, 3
IDS = {"cls_id": CLS, "sep_id": SEP, "pad_id": PAD}


def documents_of(seed, number, longest, first_id=5):
    """Documents whose tokens count up through all of them, so that order and loss are visible."""
    rng = np.random.default_rng(seed)
    result, next_id = [], first_id
    for size in rng.integers(0, longest, number):
        ids = np.arange(next_id, next_id + size)
        next_id += size
        cuts = np.unique(rng.integers(1, size, size // 9)) if size > 1 else np.empty(0, int)
        result.append((ids, np.unique(np.append(cuts, size)) if size else cuts))
    return result


def rows_of(mode, length, documents):
    return np.concatenate(list(pack(make_packer(mode, length, **IDS), documents)))


@pytest.mark.parametrize("mode", ["documents", "segment_pairs", "continuous"])
@pytest.mark.parametrize("length", [8, 9, 16, 128, 512])
@pytest.mark.parametrize("longest", [4, 30, 2000])
def test_every_token_once_and_in_order(mode, length, longest):
    documents = documents_of(length, 60, longest)
    rows = rows_of(mode, length, documents)
    assert rows.shape[1] == length
    tokens = rows[~np.isin(rows, [PAD, CLS, SEP])]
    np.testing.assert_array_equal(tokens, np.concatenate([ids for ids, _ in documents]))


@pytest.mark.parametrize("mode", ["documents", "segment_pairs"])
def test_segments_are_well_formed(mode):
    documents = documents_of(1, 80, 400)
    starts = {int(ids[0]) for ids, _ in documents if len(ids)}
    for row in rows_of(mode, 64, documents).tolist():
        real = row[: row.index(PAD)] if PAD in row else row
        assert set(row[len(real) :]) <= {PAD}
        assert real[0] == CLS
        assert real[-1] == SEP
        for here, after in itertools.pairwise(real):
            assert (here, after) not in [(CLS, SEP), (SEP, SEP)]
            if here == SEP and mode == "documents":
                assert after == CLS
        # A new document always begins a segment.
        for before, here in itertools.pairwise(real):
            if here in starts:
                assert before == CLS


@pytest.mark.parametrize("length", [8, 16, 128])
def test_documents_fill_rows_up_to_a_short_piece(length):
    rows = rows_of("documents", length, documents_of(2, 300, 300))
    padding = (rows[:-1] == PAD).sum(axis=1)
    assert padding.max() < MIN_PIECE
    assert padding.max() > 0 or length == MIN_PIECE


def test_documents_gives_these_rows():
    documents = [
        (np.arange(10, 13), np.array([3])),
        (np.arange(20, 29), np.array([9])),
        (np.arange(30, 40), np.array([10])),
    ]
    assert rows_of("documents", 16, documents).tolist() == [
        # Eleven places were left, just what the second document takes.
        [CLS, 10, 11, 12, SEP, CLS, *range(20, 29), SEP],
        [CLS, *range(30, 40), SEP, PAD, PAD, PAD, PAD],
    ]
    # Seven places are too few to begin a longer document in.
    documents = [(np.arange(10, 17), np.array([7])), (np.arange(20, 26), np.array([6]))]
    assert rows_of("documents", 16, documents).tolist() == [
        [CLS, *range(10, 17), SEP, *[PAD] * 7],
        [CLS, *range(20, 26), SEP, *[PAD] * 8],
    ]


def test_pairs_have_the_reference_statistics():
    length, number = 32, 400_000
    # Sentences of one token, so that a target is met exactly and a second segment never lacks text.
    ids = np.arange(5, 5 + number)
    rows = rows_of("segment_pairs", length, [(ids, np.arange(1, number + 1))])[:-1]
    segments = (rows == SEP).sum(axis=1)
    assert set(segments) == {1, 2}
    assert near(np.mean(segments == 1), 0.1, len(rows))
    # A target below the length shows as a row that is not full once it leaves room for the special tokens:
    # T tokens and three of them (two with one segment) in `length` places, T uniform in 5..length.
    real = (rows != PAD).sum(axis=1)
    targets = length - 5 + 1
    full_pairs = real[segments == 2] == length
    assert near(np.mean(~full_pairs), 0.05 * (length - 5 - 3) / targets, full_pairs.size)
    short = real[(segments == 2) & (real < length)] - 3
    assert short.min() == 5
    assert short.max() == length - 4
    # One sentence takes segment A past its target half of the time; a few full pairs have a target of 29 or 30.
    full = rows[(segments == 2) & (real == length)]
    first = (full == SEP).argmax(axis=1) - 1
    half = (length - 3) // 2
    assert set(first) == {half - 2, half - 1, half}
    assert np.mean(first == half - 2) < 0.005
    assert np.mean(first == half) == pytest.approx(0.5, abs=0.02)


def near(share, expected, number):
    return abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / number)


def test_pairs_are_the_same_every_time():
    documents = documents_of(3, 100, 500)
    first, second = (rows_of("segment_pairs", 64, documents) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_split_sentences_keeps_every_word():
    text = "One. Two?  Three!\n\nFour 3.5 five\n \nsix"
    assert split_sentences(text) == ["One.", "Two?", "Three!", "Four 3.5 five", "six"]
    assert split_sentences(" \n ") == []


@pytest.mark.parametrize("length", [8, 9, 64])
def test_continuous_rows_are_full_and_end_documents_where_they_end(length):
    documents = [(ids, ends) for ids, ends in documents_of(3, 400, 90) if len(ids)]
    rows = rows_of("continuous", length, documents)
    last = {int(ids[-1]) for ids, _ in documents}
    assert ((rows[:-1] == PAD).sum(axis=1) <= 2).all()
    assert (rows[:, 0] == CLS).all()
    assert (rows == SEP).sum() == len(documents)
    for row in rows.tolist():
        for here, after in itertools.pairwise([*row, PAD]):
            assert (after == SEP) == (here in last)
            if here == SEP:
                assert after in (CLS, PAD)
            if here == CLS:
                assert after not in (CLS, SEP, PAD)


def test_continuous_gives_these_rows():
    documents = [(np.arange(10, 10 + size), np.array([size])) for size in (3, 9, 7, 8)]
    assert rows_of("continuous", 8, documents).tolist() == [
        # Of two places one is for [CLS] and the other for a token.
        [CLS, 10, 11, 12, SEP, CLS, 10, 11],
        # [SEP] has no place behind the seventh of the tokens that are left, which goes on to have it beside it.
        [CLS, 12, 13, 14, 15, 16, 17, PAD],
        [CLS, 18, SEP, CLS, 10, 11, 12, 13],
        [CLS, 14, 15, 16, SEP, CLS, 10, 11],
        [CLS, 12, 13, 14, 15, 16, 17, SEP],
    ]
