"""Tokens are those of one version of Unicode, whichever this Python has."""

import hashlib
import sys
import unicodedata

import pytest

from electra_jax.tokenizers import normalize, pinned_unicode
from electra_jax.tokenizers.normalize import RULES, BertNormalizer, PlainNormalizer
from electra_jax.tokenizers.pinned_unicode import UNICODE, assigned_ranges, category, is_assigned
from electra_jax.tokenizers.unicode_14 import ASSIGNED

# What cleaning makes of all code points, alone and beside a sigma, whose lower case depends on its neighbours.
# If this fails on purpose, raise `RULES`, so that old tokens are not mixed with new ones.
RECORDED = (1, "14.0.0", "70fb26ee18029b92")
# Assigned by Unicode 15.0, 15.1 and 16.0: an Arabic mark, a Kannada sign, a Latin capital, an emoji, an ideograph.
NEWER = "\U00010efd\u0cf3\ua7cb\U0001fae8\U0002ebf0"


def cleaned_everything():
    """The text of every code point after each normaliser, hashed; each option is on once and off once."""
    characters = list(map(chr, range(sys.maxunicode + 1)))
    texts = [f"A{c}b AΣ{c} Σ{c}a {c}Σ\n" for c in characters]
    outputs = [
        BertNormalizer(lowercase=True, strip_accents=True)("".join(texts)),
        BertNormalizer(lowercase=False, strip_accents=False)("\n".join(characters)),
        PlainNormalizer(lowercase=True, strip_accents=False)("\n".join(characters)),
        PlainNormalizer(lowercase=False, strip_accents=True)("\n".join(characters)),
    ]
    return hashlib.sha256("".join(outputs).encode()).hexdigest()[:16]


def test_every_python_cleans_every_code_point_alike():
    assert (RULES, UNICODE, cleaned_everything()) == RECORDED


@pytest.mark.skipif(unicodedata.unidata_version != UNICODE, reason=f"this Python has not Unicode {UNICODE}")
def test_the_list_is_that_of_the_version():
    entries = [f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in assigned_ranges()]
    assert ASSIGNED.split() == entries


@pytest.mark.parametrize("char", NEWER, ids=ascii)
def test_newer_characters_are_unassigned_whatever_python_says(char, monkeypatch):
    assert not is_assigned(char)
    assert category(char) == "Cn"
    # A Python of the future, where the character is a capital letter with a decomposition.
    newer = type(
        "Newer", (), {"category": lambda c: "Lu", "normalize": lambda form, c: "newer", "combining": ord}
    )
    monkeypatch.setattr(pinned_unicode, "unicodedata", newer)
    monkeypatch.setattr(normalize, "unicodedata", newer)
    assert BertNormalizer(lowercase=True, strip_accents=False)(f"a{char}b") == "ab"
    assert PlainNormalizer(lowercase=True, strip_accents=True)(char) == char


@pytest.mark.parametrize(
    ("char", "assigned"),
    [
        ("\0", True),
        ("\u0377", True),
        ("\u0378", False),
        ("\ud800", True),
        ("\U0010ffff", False),
        ("\u1734", True),
    ],
    ids=ascii,
)
def test_the_ends_of_ranges(char, assigned):
    assert is_assigned(char) == assigned
