"""What is said of text that cleaning changes."""

from collections import Counter

import pytest

from electra_jax.data import cleaned_characters
from electra_jax.data.cleaned_characters import CharacterCounts, cleaning_lines

LANGUAGES = {
    "ガラスのグラスでビール": ("Katakana", "becomes カ"),
    "हिन्दी में": ("Devanagari", "is removed"),
    "ที่นี่": ("Thai", "is removed"),
    "йод и чай": ("Cyrillic", "й becomes и"),
    "schön für größer": ("Latin", "becomes"),
    "שָׁלוֹם": ("Hebrew", "is removed"),
    "e\u0301te\u0301": ("combining marks", "◌\u0301 is removed"),
}


class Cleaning:
    """Stands in for a tokenizer: its kind and how it cleans are all that matters."""

    def __init__(self, kind="sentencepiece", *, lowercase=True, strip_accents=False):
        self.kind = kind
        self.options = {"lowercase": lowercase, "strip_accents": strip_accents}


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece", "characters"])
@pytest.mark.parametrize("text", LANGUAGES)
def test_letters_that_are_lost_are_spoken_of(kind, text):
    script, example = LANGUAGES[text]
    changes, note = cleaning_lines(Counter(text), Cleaning(kind, strip_accents=True))
    assert changes.startswith("cleaning changes ")
    assert note.startswith(f"note: more than case is lost in {script} (")
    assert example in note
    assert note.endswith("tokenizer.strip_accents=false keeps accents and vowel signs")
    kept = cleaning_lines(Counter(text), Cleaning(kind))
    assert kept == ["cleaning changes none of the characters"]


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece", "characters"])
def test_case_alone_is_a_share_and_no_more(kind):
    counts = Counter("Ab cd, 日本\tÉé\u200b Ωω 12")
    (line,) = cleaning_lines(counts, Cleaning(kind))
    assert line.startswith(
        "cleaning changes 23.08% of the characters: Latin 33.33% of 6, case alone, signs and digits"
    )
    assert "Greek 50.00% of 2, case alone" in line
    assert "Chinese characters 0.00% of 2" in line


def test_what_is_removed_for_its_age_is_spoken_of():
    (_, note) = cleaning_lines(Counter("ab\U0001fae8"), Cleaning("wordpiece"))
    assert "newer characters (100.0% of its characters; \U0001fae8 is removed)" in note


def test_a_name_in_an_english_text_is_no_damage():
    assert len(cleaning_lines({"a": 10_000, "é": 9}, Cleaning(strip_accents=True))) == 1
    assert len(cleaning_lines({"a": 10_000, "é": 11}, Cleaning(strip_accents=True))) == 2
    assert cleaning_lines({}, Cleaning()) == []


def test_the_whole_text_is_looked_at(monkeypatch):
    monkeypatch.setattr(cleaned_characters, "FULLY_COUNTED_CHARACTERS", 10)
    counted = CharacterCounts()
    for text in ["abcde"] * 4 + ["й"] * 32:
        counted.add(text)
    assert counted.counts["a"] == 2
    assert counted.counts["й"] == 2
