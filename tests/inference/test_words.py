"""Words of a text, the tokens that hold their characters, and words written as a text."""

import pytest

from electra_jax.inference.words import tokens_of_words, word_spans, write_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Ann didn't go, well-known (3.5).",
            ["Ann", "didn't", "go", ",", "well-known", "(", "3.5", ")", "."],
        ),
        (
            "  'quoted'  it\u2019s\n2,000 e.g. - ",
            ["'", "quoted", "'", "it\u2019s", "2,000", "e", ".", "g", ".", "-"],
        ),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می\u200cروم", ["می\u200cروم"]),
        ("snake_case \u0007", ["snake_case"]),
        ("love \u2764\ufe0f\u2764\ufe0f!", ["love", "\u2764\ufe0f", "\u2764\ufe0f", "!"]),
        ("1\ufe0f\u20e3 \u2600\ufe0fsun", ["1\ufe0f\u20e3", "\u2600\ufe0f", "sun"]),
        ("\u0301a \u0301 e\u0301", ["a", "e\u0301"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_text(text, words):
    assert [text[begin:end] for begin, end in word_spans(text)] == words


def test_without_blanks_between_words_a_token_is_one():
    text = "東京は 広い Ann"
    spans = word_spans(text, [(0, 2), (2, 3), (4, 5), (5, 6), (7, 8), (8, 10)])
    assert [text[begin:end] for begin, end in spans] == ["東京", "は", "広", "い", "Ann"]


def test_without_blanks_a_token_that_begins_with_a_mark_begins_no_word():
    text = "กินข้าว"  # its second token begins with the mark on the first letter
    spans = word_spans(text, [(0, 1), (1, 3), (3, 7)])
    assert [text[begin:end] for begin, end in spans] == ["กิน", "ข้าว"]


def test_tokens_belong_to_every_word_they_hold_a_character_of():
    words = [(0, 2), (3, 4), (4, 5), (8, 9)]
    # The second is a bare blank, the fourth spans two words, and nothing holds the last.
    assert tokens_of_words(words, [(0, 1), (1, 1), (1, 2), (3, 5)]) == [[0, 2], [3], [3], []]
    assert tokens_of_words([], [(0, 1)]) == []


def test_words_are_written_with_their_places():
    words = ("He", "left", ",", "(", "they", ")", "stayed", "...", ".")
    text, spans = write_words(words)
    assert text == "He left, ( they) stayed ...."
    assert tuple(text[begin:end] for begin, end in spans) == words
