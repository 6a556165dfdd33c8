"""A message is one printable line of bounded length, whatever it was made of."""

import pickle

import pytest

from electra_jax import cli
from electra_jax.errors import (
    MAX_MESSAGE_LENGTH,
    MAX_WORD_LENGTH,
    HostLost,
    UserError,
    listed,
    one_line,
    quoted,
)

MESSAGES = {
    "plain": ("a file is wrong: mend it", "a file is wrong: mend it"),
    "a line end": ("a\nb\r\n", "a\\nb\\r\\n"),
    "an escape code": ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
    "writing turned around": ("\u202eexe.txt", "\\u202eexe.txt"),
    "half of a character": ("\ud800", "\\ud800"),
    "other scripts stay": ("ガラス हिन्दी é 😀", "ガラス हिन्दी é 😀"),
    "what is escaped already": ("a\\nb", "a\\nb"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_one_printable_line(name):
    text, expected = MESSAGES[name]
    assert str(UserError(text)) == expected
    assert str(UserError(UserError(text))) == expected
    assert expected.isprintable()


@pytest.mark.parametrize("unit", ["n", "word ", "\n", "é", "\U000e0001"])
def test_what_is_too_long_loses_its_middle(unit):
    shown = str(UserError(f"f.json names {unit * 200_000}: fetch it again"))
    assert len(shown) <= MAX_MESSAGE_LENGTH
    assert shown.startswith("f.json names ")
    assert "…" in shown
    assert shown.endswith(": fetch it again")
    assert str(UserError(shown)) == shown


def test_a_long_path_stays_whole():
    path = "/".join(["x" * 255] * 3)
    assert len(path) < MAX_WORD_LENGTH
    assert str(UserError(f"{path} is wrong")) == f"{path} is wrong"


def test_it_survives_pickling_with_its_kind():
    lost = pickle.loads(pickle.dumps(HostLost("a\nb")))
    assert (type(lost), str(lost), lost.status) == (HostLost, "a\\nb", 75)


def test_a_note_is_one_line(capsys):
    cli.note("class '\x1b[2J\n'")
    assert capsys.readouterr().err == "note: class '\\x1b[2J\\n'\n"


def test_an_error_of_the_disk_is_one_line(monkeypatch, capsys):
    def main(argv):
        raise PermissionError(13, "Permission denied", "a\nb")

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    assert (stop.value.code, capsys.readouterr().err) == (
        2,
        "error: no permission (a\\nb): Permission denied\n",
    )


def test_empty():
    assert one_line("") == str(UserError()) == ""


@pytest.mark.parametrize(
    ("names", "most", "plain", "in_quotes"),
    [
        ([], 2, "", "none"),
        (["a"], 2, "a", "'a'"),
        (["a", "b"], 2, "a, b", "'a', 'b'"),
        (["a", "b", "c"], 2, "a, b and 1 more", "'a', 'b' and 1 more"),
        (range(2000), 1, "0 and 1,999 more", "0 and 1,999 more"),
    ],
)
def test_names_in_a_message(names, most, plain, in_quotes):
    assert listed(iter(names), most) == plain
    assert quoted(iter(names), most) == in_quotes
