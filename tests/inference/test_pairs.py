"""Minimal pairs: files as BLiMP and others have them, and accuracy by group."""

import lzma
import math

import pytest

from electra_jax.errors import UserError
from electra_jax.inference.pairs import Pair, pair_accuracy, read_pairs

CONTENT = {
    "blimp.jsonl": '{"sentence_good": "a b", "sentence_bad": "b a", "UID": "x", "field": "syntax"}\n'
    '{"sentence_good": "c", "sentence_bad": "d", "UID": "y"}\n',
    "table.csv": 'uid,good,bad\nx,a b,b a\n\ny,"c",d\n',
    "table.tsv": "good\tbad\tgroup\na b\tb a\tx\nc\td\ty\n",
    "lines.txt": '{"good": "a b", "bad": "b a", "uid": "x"}\n{"uid": "y", "bad": "d", "good": "c"}\n',
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("packed", [False, True])
def test_however_the_pairs_are_written(name, packed, tmp_path):
    path = tmp_path / (name + ".xz" * packed)
    data = CONTENT[name].encode()
    path.write_bytes(lzma.compress(data) if packed else data)
    assert read_pairs(str(path)) == [Pair("a b", "b a", "x"), Pair("c", "d", "y")]


def test_groups_may_be_numbers_or_of_another_name_or_none(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"good": "a", "bad": "b", "uid": 7, "term": "t"}\n')
    assert read_pairs(str(path)) == [Pair("a", "b", "7")]
    assert read_pairs(str(path), "term") == [Pair("a", "b", "t")]
    path.write_text('{"good": "a", "bad": "b"}\n{"good": "c", "bad": "d", "uid": "late"}\n')
    assert [pair.group for pair in read_pairs(str(path))] == [None, None]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"pairs.jsonl holds no pairs"),
        ('{"good": "a"}\n', r"line 1 has neither good and bad nor sentence_good and .* \(there is 'good'\)"),
        ('{"good": "a", "bad": ["b"]}\n', r"line 1: the field 'bad' is a list and not text"),
        ('{"good": "a", "bad": "b", "uid": "x"}\n{"good": "a", "bad": "b"}\n', r"line 2 has no 'uid'"),
        ('{"good": "a", "bad": "b", "uid": true}\n', r"the field 'uid' is .* and not text"),
        ('{"good": "a", "bad": "b"}\n{"good": ', r"line 2 is not JSON|line 2"),
    ],
)
def test_a_file_that_is_wrong_says_where(content, sentence, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_pairs(str(path))


def test_ties_are_a_half_and_groups_count_alike():
    pairs = [Pair("", "", group) for group in ("x", "y", "x", "x", "x")]
    found = pair_accuracy(pairs, [1.0, 0.5, -1.0, -3.0, 2.0], [0.0, 0.5, -2.0, -1.0, 1.0])
    assert found.groups == {"x": 0.75, "y": 0.5}
    assert (found.accuracy, found.over_pairs, found.ties) == (0.625, 3.5 / 5, 1)


def test_without_groups_every_pair_counts_alike():
    found = pair_accuracy([Pair("", "")] * 4, [1, 0, 0, 1], [0, 1, 1, 1])
    assert (found.accuracy, found.over_pairs, found.groups) == (0.375, 0.375, {})


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "groups", "pairs"), [("blimp", 67, 1000), ("zorro", 23, 2000)])
def test_the_published_sets_are_read_as_they_stand(shared, name, groups, pairs):
    found = read_pairs(str(shared / "data" / "minimal_pairs" / f"{name}.pairs.jsonl.xz"))
    assert len(found) == groups * pairs
    assert len({pair.group for pair in found}) == groups
    assert sum(pair.good == pair.bad for pair in found) < 0.01 * len(found)


def test_a_score_that_is_no_number_is_neither_larger_nor_smaller():
    pairs = [Pair("", "")] * 4
    found = pair_accuracy(pairs, [math.nan, math.nan, 1.0, 2.0], [math.nan, 1.0, math.nan, 1.0])
    assert (found.accuracy, found.ties) == (2.5 / 4, 3)
