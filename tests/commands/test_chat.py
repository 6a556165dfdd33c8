"""`chat` from a pipe, and what is refused before the model is read."""

import io
import socket
import sys

import pytest
from small_run import small_config
from tiny_replier import write_replier

from electra_jax.chat import __main__ as chat
from electra_jax.config import dump_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model in ``run``, and candidates."""
    folder = tmp_path_factory.mktemp("chat")
    write_replier(folder / "run")
    (folder / "candidates.txt").write_text("bad head\na cab\n\nfed\n")
    return folder


@pytest.fixture
def ask(folder, command, monkeypatch):
    monkeypatch.setattr(chat, "one_device_per_core", lambda: None)
    monkeypatch.setattr(chat, "keep_freed_memory", lambda: None)

    def run(said, *arguments, workdir=folder / "run"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
        return command(chat.main, "--workdir", workdir, *arguments)

    return run


@pytest.fixture(scope="module")
def taken():
    """A port of 127.0.0.1 that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_each_line_of_a_pipe_is_answered_and_an_empty_one_begins_anew(ask, folder):
    said = b"abc\nde\n\n abc \n/new\nabc\nb\xffd\n"
    ended = ask(said, "--candidates", folder / "candidates.txt", "--why")
    assert ended.status == 2
    assert "error: standard input, line 7 is not utf-8 (byte 0xff): convert it to UTF-8\n" in ended.err
    replies = ended.out.split("\n")
    assert [len(replies), replies[2], replies[4]] == [7, "", ""]
    assert replies[0] == replies[3] == replies[5] != replies[1]
    why = [line for line in ended.err.splitlines() if line.startswith("    ")]
    assert why[0] == "    chosen from 3 candidates, by score; read the turn"
    assert why[1].split()[1:] == [
        f"#{['bad head', 'a cab', 'fed'].index(replies[0]) + 1}",
        *replies[0].split(),
    ]
    assert "    chosen from 3 candidates, by score; read the last 2 of 3 turns" in why


def test_a_model_that_writes_is_asked_with_its_settings(ask):
    ended = ask(b"abc\nde\n", "--why", "--history", "1", "generation.min_new_tokens=4")
    assert ended.status == 0, ended.err
    assert len(ended.out.splitlines()) == 2
    assert "    written, with its score; read the last 1 of 3 turns" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--candidates", "empty.txt"), "empty.txt is empty: it must have candidates, a text a line"),
        (("--candidates", "picture.png"), "picture.png is not utf-8 text but most likely a picture"),
        (("--candidates", "none.txt"), "none.txt cannot be read: No such file"),
        (("--task", "ranker"), "(ranker: ranking) ranks replies and writes none: give it candidates"),
        (
            ("--task", "writer", "--candidates", "some.txt"),
            "(writer: seq2seq) writes its replies and ranks none: leave the candidates out",
        ),
        (("--task", "reply"), "no task 'reply' that replies; there is: ranker, writer"),
        (("--history", "0"), "--history is 0, but must be a number of turns, 1 or more"),
        (("--web", "PORT"), "of 127.0.0.1 is in use: give another, or end what listens there"),
        (("--web", "70000"), "70000 is no port: give a number from 0 to 65535"),
        (
            ("--why", "--discriminator", "RUN"),
            "run has no discriminator with its head: name a pre-trained ELECTRA",
        ),
        (("--discriminator", "RUN"), "what --discriminator says is shown by --why or --web"),
        (("train.steps=1",), "train.steps=1 is no setting of generation"),
        (("--candidates", "some.txt", "generation.beams=2"), "generation.beams=2 is for models that write"),
        (
            ("--candidates", "some.txt", "--rerank", "length"),
            "--rerank is for models that write, and this one r",
        ),
        (("--rerank", "length"), "set generation.beams and generation.n_best, or generation.n"),
        (("--rerank", "beauty", "generation.n=2"), "beauty"),
        (("--ranker", "RUN"), "another model that ranks needs candidates to retrieve from"),
        (("generation.beams=2", "generation.top_p=0.5"), "beams 2 draws nothing, so top_p does"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_model_is_read(
    ask, taken, folder, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr(chat, "load_with_notes", lambda path: pytest.fail("the model was loaded"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    (tmp_path / "some.txt").write_text("a\n")
    named = {"PORT": taken, "RUN": folder / "run"}
    ended = ask(b"abc\n", *(named.get(argument, argument) for argument in arguments))
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("kind", ["electra", "causal_lm"])
def test_pre_trained_models_that_cannot_reply_so_say_which_can(kind, ask, folder, tmp_path):
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(dump_config(small_config(objective={"kind": kind})))
    more = ("--candidates", folder / "candidates.txt") if kind == "causal_lm" else ()
    ended = ask(b"abc\n", *more, workdir=tmp_path)
    assert ended.status == 2
    said = (
        "can neither rank replies nor write them"
        if kind == "electra"
        else "writes its replies and ranks none"
    )
    assert f"this model ({kind}) {said}" in ended.err
