"""Marked words, and how well scores find the wrong ones, against counts made by hand."""

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.inference.error_detection import (
    area_under_roc,
    average_precision,
    best_threshold,
    detection,
    read_marked_sentences,
    wrong_words,
)

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
WRONG = np.array([True, False, True, False, True])


def test_f05_counts_precision_more_than_recall():
    found = detection(SCORES, WRONG, 0.8)
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    assert detection(SCORES, WRONG, 0.9).f05 == pytest.approx(1.25 * 1 / 3 / (0.25 + 1 / 3))
    assert detection(SCORES, WRONG, 0.95).f05 == 0.0


def test_the_best_threshold_is_one_that_can_be_used():
    """Between the equal scores .8 there is no threshold."""
    every = {score: detection(SCORES, WRONG, score).f05 for score in SCORES}
    assert best_threshold(SCORES, WRONG) == max(every, key=lambda score: (every[score], score)) == 0.9


def test_areas_count_equal_scores_as_a_half():
    assert area_under_roc(SCORES, WRONG) == pytest.approx((2 + 1.5 + 0) / 6)
    assert area_under_roc(SCORES, np.ones(5, bool)) is None
    assert average_precision(SCORES, WRONG) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_marked_words_are_read(tmp_path):
    path = tmp_path / "marked.tsv"
    path.write_text("He\tc\nhave\ti\n\n#\tc\n.\tc\n")
    sentences = read_marked_sentences(path)
    assert [sentence.words for sentence in sentences] == [("He", "have"), ("#", ".")]
    assert wrong_words(sentences).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("He\tc\nhave\tx\n", r"has the mark 'x' in 'He''s sentence, number 1: a word is marked c"),
        ("He\tc\nhas\tc\n", r"marks all words c: nothing can be told apart"),
        ("He\nhave\n", r"has a word and no tag"),
        ("\n", r"has no sentence in it"),
    ],
)
def test_what_is_no_file_of_marked_words_is_refused(tmp_path, content, message):
    path = tmp_path / "marked.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_marked_sentences(path)
