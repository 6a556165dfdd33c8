"""Pairs of texts with scores: whose columns, and what is refused."""

import gzip

import pytest

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import TextExample
from electra_jax.tasks.sources.scored_pairs import read_scored_pairs

PAIRS = [TextExample("0", "a dog", "the dog", 4.5), TextExample("1", '"a" cat', "rain", 0.0)]
CONTENTS = {
    "sts_b.tsv": 'index\tsentence1\tsentence2\tscore\n7\ta dog\tthe dog\t4.500\n8\t"a" cat\train\t0\n',
    "semeval.tsv": '4.5\ta dog\tthe dog\n0\t"a" cat\train\n',
    "own.csv": 'context,response,label\na dog,the dog,4.5\n"""a"" cat",rain,0\n',
    "own.jsonl": '{"text": "a dog", "pair": "the dog", "label": 4.5}\n'
    '{"text": "\\"a\\" cat", "pair": "rain", "label": 0}\n',
    "own.json": '[{"sentence1": "a dog", "sentence2": "the dog", "score": "4.5"}, '
    '{"sentence1": "\\"a\\" cat", "sentence2": "rain", "score": 0}]',
}


@pytest.mark.parametrize("name", CONTENTS)
def test_columns_are_recognised(tmp_path, name):
    file = tmp_path / f"{name}.gz"
    file.write_bytes(gzip.compress(CONTENTS[name].encode()))
    assert read_scored_pairs(file) == PAIRS


def test_columns_are_named(tmp_path):
    file = tmp_path / "own.tsv"
    file.write_text("n\tone\tother\talike\n7\ta\tb\t1\n8\tc\td\t\n")
    columns = ("one", "other", "alike")
    with pytest.raises(UserError, match=r"own.tsv, line 3: alike is '' and not a number that says how alike"):
        read_scored_pairs(file, columns)
    found = read_scored_pairs(file, columns, "n", may_be_hidden=True)
    assert found == [TextExample("7", "a", "b", 1.0), TextExample("8", "c", "d", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\tc\n1\t2\t3\n", r"line 2 does not have the columns sentence1, sentence2, score"),
        ("sentence1\tsentence2\tscore\na\t \t1\n", "line 2 has an empty text"),
        ("sentence1\tsentence2\tscore\na\tb\tnan\n", "line 2: score is 'nan' and not a number"),
        ("sentence1\tsentence2\tscore\n", "holds no pairs"),
    ],
)
def test_what_is_refused(tmp_path, content, message):
    file = tmp_path / "pairs.tsv"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_scored_pairs(file)
    with pytest.raises(UserError, match="is not a file"):
        read_scored_pairs(tmp_path / "none.tsv")
