"""The seconds of a turn: what is asked, and that a ranker and a model that writes answer it."""

import json

import pytest
from tiny_ranker import write_ranker
from tiny_replier import write_replier

from benchmarks import turns
from electra_jax.errors import UserError

SAID = [{"turns": ["a", "b", "c", "d"]}, {"turns": ["e", "f"]}]


@pytest.fixture
def said(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "one_device_per_core", lambda: None)
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in SAID))
    return path


def test_one_is_asked_for_a_reply_to_the_first_the_third_and_so_on(said):
    assert list(turns.turns_before_replies(said)) == [["a"], ["a", "b", "c"], ["e"]]


@pytest.mark.parametrize("encoder", ["bi", "cross", "writer"])
def test_each_is_timed_once_all_is_compiled(encoder, said, tmp_path, capsys, monkeypatch):
    asked = []
    reply_to = turns.reply_to
    monkeypatch.setattr(
        turns, "reply_to", lambda replier, texts: (asked.append(texts), reply_to(replier, texts))[1]
    )
    arguments = ["--input", str(said), "--turns", "2"]
    if encoder == "writer":
        arguments += ["--workdir", str(write_replier(tmp_path / "model", ("writer",)))]
    else:
        candidates = tmp_path / "replies.txt"
        candidates.write_text("g\nh\n")
        arguments += [
            "--workdir",
            str(write_ranker(tmp_path / "model", encoder)),
            "--candidates",
            str(candidates),
        ]
    assert turns.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert asked == [["a"], ["a", "b", "c"]] * 2
    assert figures["turns"] == 2
    assert 0 < figures["median_seconds"] <= figures["longest_seconds"]


def test_nothing_to_reply_to_is_refused(said):
    with pytest.raises(UserError, match="has no turns, or --turns is below 1"):
        turns.main(["--workdir", "nowhere", "--input", str(said), "--turns", "0"])
