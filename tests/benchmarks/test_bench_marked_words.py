"""Words marked wrong by corrections, worked out by hand, and read as the evaluation reads them."""

import pytest

from benchmarks import marked_words
from electra_jax.errors import UserError
from electra_jax.inference.error_detection import MarkedSentence, read_marked_sentences


def test_word_is_wrong_where_half_of_the_corrections_do_not_keep_it(tmp_path, capsys):
    texts = {
        "src": "he have a dog\nfine .\n",
        "ref0": "he has a dog\nfine .\n",
        "ref1": "she has a dog\nfine .\n",
        "ref2": "he had one dog\nfine\n",
        "ref3": "he have one small dog\nfine .\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    marked_words.main([str(tmp_path / name) for name in texts])
    (tmp_path / "marked.tsv").write_text(capsys.readouterr().out)
    assert read_marked_sentences(tmp_path / "marked.tsv") == [
        MarkedSentence(
            ("he", "have", "a", "dog"), (False, True, True, False)
        ),  # lost by 1, 3, 2 and 0 of four
        MarkedSentence(("fine", "."), (False, False)),
    ]


def test_corrections_of_other_sentences_are_refused(tmp_path):
    (tmp_path / "src").write_text("a\nb\n")
    (tmp_path / "ref").write_text("a\n")
    with pytest.raises(UserError, match=r"ref has 1 lines, and .*src has 2"):
        marked_words.main([str(tmp_path / "src"), str(tmp_path / "ref")])
    (tmp_path / "ref").write_bytes(b"a\nb\xff\n")
    with pytest.raises(UserError, match=r"ref is no UTF-8 \(invalid start byte at byte 3\)"):
        marked_words.main([str(tmp_path / "src"), str(tmp_path / "ref")])
    (tmp_path / "ref").write_text("a\u2028\nb\n")  # what breaks lines elsewhere does not here
    assert marked_words.main([str(tmp_path / "src"), str(tmp_path / "ref")]) == 0
