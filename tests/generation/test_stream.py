"""Text as it comes: pieces that are certain, and together the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_jax.generation.stream import TextStream, continuation


def from_bytes(ids):
    """A vocabulary of bytes: characters come in up to four pieces."""
    return bytes(ids).decode("utf-8", errors="replace")


def pieces(stream, ids, size):
    found = [stream.add(ids[at : at + size]) for at in range(0, len(ids), size)]
    return [*found, stream.finish()]


@given(st.text(max_size=12), st.integers(1, 5), st.text(max_size=3))
def test_pieces_are_the_whole_and_no_character_is_split(text, size, prompt):
    stream = TextStream(from_bytes, prompt=list(prompt.encode()))
    found = pieces(stream, list(text.encode()), size)
    assert "".join(found) == stream.text == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in found)


def test_bytes_that_are_no_character_are_shown_at_the_end():
    assert pieces(TextStream(from_bytes), [0x41, 0xE2, 0x82], 1) == ["A", "", "", "\ufffd"]
    assert pieces(TextStream(from_bytes), [0xE2, 0x41], 1) == ["", "\ufffdA", ""]


@given(
    st.text("ab\n", max_size=12),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.integers(1, 6),
)
def test_a_stop_string_cuts_the_text_and_no_part_of_it_is_shown(text, stops, size):
    stream = TextStream(from_bytes, stops)
    found = "".join(pieces(stream, list(text.encode()), size))
    cuts = [text.find(stop) for stop in stops if stop in text]
    # What is cut is decided when the first stop string is complete, however many tokens come at a time.
    first = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    expected = text[: min(cuts)] if cuts else text
    if first is not None:
        known = text[:first]
        expected = known[: min(known.find(stop) for stop in stops if stop in known)]
        assert len(stream.ids) == first
    assert found == stream.text == expected
    assert stream.stopped == bool(cuts)


def test_what_the_next_tokens_may_change_is_held_back():
    words = ["don", "'", "t", "go", "."]

    def detokenize(ids):
        text = " ".join(words[i] for i in ids)
        return text.replace(" ' t", "'t").replace(" .", ".")

    assert detokenize([0, 1]) == "don '"
    stream = TextStream(detokenize, whole_words=True)
    found = pieces(stream, [0, 1, 2, 3, 4], 1)
    assert "".join(found) == "don't go."
    assert found == ["", "don", "", "'t", "", " go."]


def test_a_text_goes_on_from_its_prompt():
    def detokenize(ids):
        return " ".join("abc"[i] for i in ids)

    assert continuation(detokenize, [0, 1], [2]) == " c"
    assert continuation(detokenize, [], [2]) == "c"
    assert "".join(pieces(TextStream(detokenize, prompt=[0]), [1, 2], 1)) == " b c"


@pytest.mark.parametrize("size", [1, 3])
def test_nothing_comes_behind_a_stop(size):
    stream = TextStream(from_bytes, ["b"])
    assert "".join(pieces(stream, list(b"aabaa"), size)) == "aa"
    assert stream.add(list(b"ccc")) == ""
