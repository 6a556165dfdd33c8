"""Turns of a conversation as the text that a network reads."""

from electra_jax.dialogue.turns import (
    Turn,
    alternating,
    last,
    next_speaker,
    replies,
    turns_text,
    turns_that_fit,
)

TALK = [Turn("Hello!", "Ann"), Turn("Hi,\n  all  well?", "Bob"), Turn("Yes.", "Ann")]


def test_a_turn_is_a_line_and_says_who_speaks():
    assert turns_text(TALK, "Bob") == "you: Hello!\nme: Hi, all well?\nyou: Yes."
    assert turns_text(TALK[:2], "Ann") == "me: Hello!\nyou: Hi, all well?"
    assert turns_text(TALK, "Bob", "names") == "Ann: Hello!\nBob: Hi, all well?\nAnn: Yes.\nBob:"
    assert turns_text(TALK, "Bob", "none") == "- Hello!\n- Hi, all well?\n- Yes."
    assert turns_text([Turn("Hello!"), Turn("Hi.", "Bob")], "Bob") == "- Hello!\nme: Hi."
    assert turns_text([]) == ""


def test_every_turn_but_the_first_is_a_reply_to_those_before_it():
    found = [(number, len(before), reply.text) for number, before, reply in replies(TALK)]
    assert found == [(1, 1, "Hi,\n  all  well?"), (2, 2, "Yes.")]
    assert [before for _, before, _ in replies(TALK, 1)] == [TALK[:1], TALK[1:2]]
    assert list(replies(TALK[:1])) == []
    assert [turn.speaker for turn in alternating(["a", "b", "c"])] == ["A", "B", "A"]
    assert last(TALK, None) == TALK


def test_the_last_turns_that_fit_are_kept_whole():
    text = turns_text(TALK[1:], "Bob")
    assert turns_that_fit(TALK, len(text), len, "Bob") == TALK[1:]
    assert turns_that_fit(TALK, len(text) - 1, len, "Bob") == TALK[2:]
    assert turns_that_fit(TALK, 1, len, "Bob") == TALK[2:]
    assert turns_that_fit(TALK, 1000, len, "Bob") == TALK
    assert not turns_that_fit([], 5, len)


def test_who_did_not_speak_last_is_next():
    assert next_speaker(TALK) == "Bob"
    assert next_speaker(TALK[:1]) is None
    assert next_speaker([Turn("a", "Ann"), Turn("b")]) == "Ann"
