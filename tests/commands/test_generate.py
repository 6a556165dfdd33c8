"""`generate` from the command line: plain text, JSON lines, streams, and what is refused before anything is read."""

import json

import jax
import pytest
from small_run import small_config

from electra_jax import generate
from electra_jax.config import dump_config
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer
from electra_jax.training.checkpoints import RunIdentity, write_params

MODEL = {"hidden_size": 8, "embedding_size": 8, "num_layers": 1, "num_heads": 2, "max_positions": 16}


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A work directory of a causal language model of letters."""
    folder = tmp_path_factory.mktemp("generate") / "run"
    content = json.dumps(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh "]).encode()
    tokenizer = CharactersTokenizer(content, lowercase=False, strip_accents=False)
    config = small_config(
        model=MODEL, objective={"kind": "causal_lm"}, tokenizer={"kind": "characters", "lowercase": False}
    )
    network = build_network(config, tokenizer.vocab_size)
    params = dict(jax.jit(lambda: init_params(network, jax.random.key(0)))())
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config))
    tokenizer.save(folder / "tokenizer")
    write_params(
        folder / "checkpoints", 1, params, RunIdentity(tokenizer.fingerprint, None, config.model_dump())
    )
    return folder


@pytest.fixture
def ask(writer, command, monkeypatch):
    monkeypatch.setattr(generate, "one_device_per_core", lambda: None)
    monkeypatch.setattr(generate, "keep_freed_memory", lambda: None)
    return lambda *arguments: command(generate.main, "--workdir", writer, *arguments)


SHORT = ("generation.max_new_tokens=6", "generation.min_new_tokens=6", "generation.temperature=2.0")


def test_a_prompt_is_answered_with_plain_text_whole_or_as_it_comes(ask):
    whole = ask("--prompt", "abc", *SHORT)
    assert (whole.status, len(whole.out)) == (0, 7)
    assert ask("--prompt", "abc", "--stream", *SHORT).out == whole.out
    assert ask("--prompt", "abc", *SHORT, "generation.seed=1").out != whole.out


def test_what_of_a_prompt_the_model_cannot_read_is_said(ask):
    ended = ask("--prompt", "abc 12", *SHORT)
    assert ended.status == 0
    assert "the vocabulary does not have: the model reads [UNK] there" in ended.err


def test_lines_are_answered_with_json_lines(ask, tmp_path):
    (tmp_path / "in.txt").write_text("abc\n\nbad head\n")
    (tmp_path / "in.jsonl").write_text('{"id": "x", "prompt": "abc"}\n{"text": "bad head"}\n')
    ended = ask("--input", tmp_path / "in.txt", "--n", "3", *SHORT)
    first, second = (json.loads(line) for line in ended.out.splitlines())
    assert [first["id"], second["id"]] == ["1", "3"]
    assert [list(first), len(first["others"])] == [["id", "text", "score", "finish", "others"], 2]
    out = tmp_path / "out.jsonl"
    assert ask("--input", tmp_path / "in.jsonl", "--output", out, *SHORT).status == 0
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in again] == ["x", "2"]
    assert [line["text"] for line in again] == [first["text"], second["text"]]


def test_a_line_that_is_too_long_ends_the_command_or_is_skipped(ask, tmp_path):
    (tmp_path / "in.txt").write_text("abc\n" + "a" * 40 + "\nbad\n")
    ended = ask("--input", tmp_path / "in.txt", *SHORT)
    assert ended.status == 2
    assert "in.txt, line 2: the prompt has 41 tokens, [CLS] included, and the model reads 16" in ended.err
    assert len(ended.out.splitlines()) == 1
    skipped = ask("--input", tmp_path / "in.txt", "--on-error", "skip", *SHORT)
    assert (skipped.status, len(skipped.out.splitlines())) == (65, 2)
    (tmp_path / "good.txt").write_text("abc\nbad\nbad\n")
    good = ask("--input", tmp_path / "good.txt", *SHORT).out.splitlines()
    assert skipped.out.splitlines() == [good[0], good[2]]  # drawn by the number in the file
    assert json.loads(good[1])["text"] != json.loads(good[2])["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--prompt", "a", "generation.beams=2", "generation.top_p=0.5"),
            "beams 2 draws nothing, so top_p does",
        ),
        (("--prompt", "a", "--n", "2", "generation.beams=2"), "so n does not go with it"),
        (("--prompt", "a", "--n", "0"), "generation.n is 0, but must be greater than or equal to 1"),
        (
            ("--prompt", "a", "generation.min_new_tokens=200"),
            "min_new_tokens 200 is above max_new_tokens 128",
        ),
        (("--prompt", "a", "train.steps=3"), "train.steps=3 is no setting of generation"),
        (("--prompt", "a", "generation.temprature=1"), "did you mean generation.temperature"),
        (
            ("--prompt", "a", "generation.min_new_tokens=3000000000"),
            "generation.min_new_tokens is 3000000000, but must be less than 2147483648",
        ),
        (("--stream", "--input", "-"), "--stream shows one text as it is written"),
        ((), "one of the arguments --prompt --input is required"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_model_is_read(ask, monkeypatch, arguments, message):
    monkeypatch.setattr(generate, "load_with_notes", lambda path: pytest.fail("the model was loaded"))
    ended = ask(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("several", ["generation.n=3", "generation.beams=2"])
def test_several_texts_are_not_streamed(ask, several):
    ended = ask("--prompt", "a", "--stream", several)
    assert (ended.status, ended.out) == (2, "")
    assert "only one text can be streamed" in ended.err


@pytest.mark.parametrize("kind", ["electra", "masked_lm"])
def test_a_model_that_cannot_write_says_which_can(kind, tmp_path, command, monkeypatch):
    monkeypatch.setattr(generate, "one_device_per_core", lambda: None)
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(dump_config(small_config(objective={"kind": kind})))
    method = ("generation.method=greedy",) if kind == "electra" else ()
    ended = command(generate.main, "--workdir", tmp_path, "--prompt", "a", *method)
    assert ended.status == 2
    assert f"this model ({kind}) cannot write on from a prompt, as a causal language model does" in ended.err
    assert ("refine" in ended.err) == (kind == "electra")
