"""A model whose task writes, in Python and behind the commands: as the task itself writes, and what is refused."""

import json
from dataclasses import replace

import jax
import pytest
from tiny_ranker import ranker
from tiny_writer import EXAMPLES, tiny_writer

from electra_jax import generate, predict
from electra_jax.errors import UserError
from electra_jax.inference.model import Model
from electra_jax.inference.reranking import Reranker
from electra_jax.inference.source_scorer import score_for_sources
from electra_jax.inference.source_writer import SourceWriter
from electra_jax.partitioning import mesh

SOURCES = [example.source for example in EXAMPLES]
LONG = "abcdefghabcdefgh"  # two more than can be read


def _model(writer, **tasks):
    """On one device; ``tasks`` are others beside ``mine``, with a copy of its head."""
    made = {"mine": writer.task, **tasks}
    sections = dict.fromkeys(made, writer.config.finetune.tasks["mine"])
    config = writer.config.model_copy(
        update={"finetune": writer.config.finetune.model_copy(update={"tasks": sections})}
    )
    heads = dict.fromkeys(made, writer.params["heads"]["mine"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        return Model(config, writer.task.tokenizer, {**writer.params, "heads": heads}, made)


@pytest.fixture(scope="module")
def writer():
    return tiny_writer(generation={"temperature": 1.5, "n": 2, "seed": 3})


@pytest.fixture(scope="module")
def model(writer):
    return _model(writer)


def _asks(monkeypatch, command, model, tasks=None):
    """Has a command ask this model, whatever directory it is given."""
    for name, stub in (
        ("one_device_per_core", lambda: None),
        ("keep_freed_memory", lambda: None),
        ("trained_tasks", lambda path: tasks),
        ("load_with_notes", lambda path: model),
    ):
        monkeypatch.setattr(command, name, stub)


def _ids(found):
    return [[text.tokens for text in texts] for texts in found]


def test_a_model_writes_what_its_task_writes_in_evaluation(writer, model):
    evaluated, _ = writer.write(EXAMPLES)
    assert _ids(model.generate(SOURCES)) == _ids(evaluated)
    assert _ids([model.generate(SOURCES[0])]) == _ids(evaluated)[:1]
    assert model.generate([]) == []


def test_lines_of_a_file_are_drawn_for_by_their_numbers(model, monkeypatch, tmp_path, capsys):
    """However many are answered together, and whether those before them can be read."""
    (tmp_path / "sources.txt").write_text("\n".join(SOURCES) + "\n")
    _asks(monkeypatch, predict, model)
    chunked = predict.chunk_records
    monkeypatch.setattr(predict, "chunk_records", lambda records: chunked(records, most=3))
    assert predict.main(["--workdir", str(tmp_path), "--input", str(tmp_path / "sources.txt")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["text"], line["others"][0]["text"]) for line in lines] == [
        tuple(text.text for text in texts) for texts in model.generate(SOURCES)
    ]
    first, *others = SOURCES
    (tmp_path / "skipped.txt").write_text("\n".join([first, '{"a": 1}', *others]) + "\n")
    arguments = ["--workdir", str(tmp_path), "--input", str(tmp_path / "skipped.txt"), "--on-error", "skip"]
    assert predict.main(arguments) == 65
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected, _, *later = model.generate([first, "a", *others])
    assert [line["text"] for line in lines] == [texts[0].text for texts in (expected, *later)]


def test_what_was_retrieved_is_read_with_a_conversation(monkeypatch, tmp_path, capsys):
    """Alike in a file and in Python; without it something else is written."""
    task = {"conversations": {"speakers": "none"}, "retrieval": {"max_tokens": 4}}
    model = _model(tiny_writer(task))
    context = "- ab\n- cd"
    found = [model.generate((context, text)) for text in ("hgfe", "abab")]
    found.append(model.generate(context))
    assert len(set(_ids([found])[0])) == 3
    turns = {"turns": ["ab", "cd"]}
    lines = [{**turns, "retrieved": "hgfe"}, {**turns, "retrieved": [None, "b", "abab"]}, turns]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _asks(monkeypatch, predict, model)
    assert predict.main(["--workdir", str(tmp_path), "--input", str(tmp_path / "asked.jsonl")]) == 0
    written = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert written == [text.text for text in found]
    with pytest.raises(UserError, match="is a tuple of 2 and not a text"):
        _model(tiny_writer()).generate((context, "a"))


def test_a_decoder_that_puts_candidates_in_order_reads_what_was_retrieved(
    writer, monkeypatch, tmp_path, capsys
):
    task = {"conversations": {"speakers": "none"}, "retrieval": {"max_tokens": 4}}
    model = _model(tiny_writer(task))
    context, candidates = "- ab\n- cd", ["abc", "h"]
    sources = [(context, "hgfe"), (context, "abab"), context]
    expected = [
        {text: float(score_for_sources(model, [(source, text)])[0].mean()) for text in candidates}
        for source in sources
    ]
    assert len({scores["abc"] for scores in expected}) == 3
    judge = Reranker({"decoder": model})
    for source, scores in zip(sources, expected, strict=True):
        found = {one["candidate"]: one["score"] for one in judge.rank(source, candidates)}
        assert found == pytest.approx(scores, abs=1e-5)
    with pytest.raises(UserError, match=r"rank_all: item 0, its source is a tuple of 3 and not a pair"):
        judge.rank((context, "a", "b"), candidates)
    turns = {"turns": ["ab", "cd"], "candidates": candidates}
    lines = [{**turns, "retrieved": "hgfe"}, {**turns, "retrieved": [None, "b", "abab"]}, turns]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["--workdir", str(tmp_path), "--input", str(tmp_path / "asked.jsonl"), "--rerank", "decoder"]

    def ranked(model):
        _asks(monkeypatch, predict, model)
        return predict.main(arguments)

    assert ranked(model) == 0
    for line, scores in zip(capsys.readouterr().out.splitlines(), expected, strict=True):
        found = {one["candidate"]: one["score"] for one in json.loads(line)["ranked"]}
        assert found == pytest.approx(scores, abs=1e-5)
    lines = [{"text": "ab", "candidates": candidates}, {"text": LONG, "candidates": candidates}]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    strict = replace(writer.task, config=writer.task.config.model_copy(update={"long": "error"}))
    with pytest.raises(UserError, match=r"asked.jsonl, line 2: the text has 16 tokens, and 14 can be read"):
        ranked(_model(replace(writer, task=strict)))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_what_is_not_read_is_counted_or_refused_by_its_line(writer, model):
    found = model.generate([LONG, "ab"])
    assert [texts[0].source_tokens_cut for texts in found] == [2, 0]
    strict = replace(writer.task, config=writer.task.config.model_copy(update={"long": "error"}))
    refusing = SourceWriter(_model(replace(writer, task=strict)), writer.config.generation)
    assert refusing.prompt(LONG[:14], "line 2") == LONG[:14]
    with pytest.raises(UserError, match=r"^line 3: the text has 16 tokens, and 14 can be read: shorten it$"):
        refusing.prompt(LONG, "line 3")


def test_of_several_tasks_that_write_one_is_named(writer):
    other = replace(writer.task, name="other", config=writer.task.config.model_copy(update={"prefix": "h"}))
    both = _model(writer, other=other)
    with pytest.raises(UserError, match="several tasks that write: name one of mine, other"):
        both.generate("ab")
    with pytest.raises(UserError, match="no task 'third' that writes"):
        both.generate("ab", "third")
    settings = {"temperature": 1.0, "n": 1, "method": "greedy"}
    assert both.generate("ab", "other", **settings) == both.generate("hab", "mine", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "refine", "temperature": 1.0, "n": 1}, "needs a generator and a discriminator"),
        ({"beams": 2}, "beams 2 draws nothing"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_settings_that_do_not_fit(model, settings, message):
    with pytest.raises(UserError, match=message):
        model.generate("ab", **settings)


def test_what_a_model_that_writes_does_not_do(model):
    with pytest.raises(UserError, match="cannot be streamed"):
        list(model.stream("ab", n=1))
    with pytest.raises(UserError, match="of kind classification"):
        model.classify("ab")


def test_how_much_of_a_source_is_not_read_is_said_on_the_command_line(model, monkeypatch, tmp_path, capsys):
    _asks(monkeypatch, generate, model)
    (tmp_path / "sources.txt").write_text(f"ab\n{LONG}\n{LONG}a\n")
    assert generate.main(["--workdir", str(tmp_path), "--input", str(tmp_path / "sources.txt")]) == 0
    assert (
        "2 of 3 were longer than the model reads and were cut, by 5 tokens in all" in capsys.readouterr().err
    )
    assert generate.main(["--workdir", str(tmp_path), "--prompt", LONG]) == 0
    assert (
        "--prompt is longer than the model reads: its last 2 tokens are not read" in capsys.readouterr().err
    )


def test_generate_reads_the_column_that_the_task_was_trained_on(model, monkeypatch, tmp_path, capsys):
    """Which wins over others; without it there is text or prompt."""
    task = model.config.finetune.tasks["mine"].model_copy(update={"source": "body"})
    section = model.config.finetune.model_copy(update={"tasks": {"mine": task}})
    config = model.config.model_copy(update={"finetune": section})
    _asks(monkeypatch, generate, model, (config, {}))
    lines = [{"body": "ab", "prompt": "h"}, {"prompt": "cab"}, {"text": "ba"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert generate.main(["--workdir", str(tmp_path), "--input", str(tmp_path / "in.jsonl")]) == 0
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts == [found[0].text for found in model.generate(["ab", "cab", "ba"])]


def test_a_ranker_that_is_asked_to_write_says_what_it_does():
    with pytest.raises(UserError, match=r"no task of kind seq2seq; its tasks are: reply \(ranking\)$"):
        ranker("bi").generate("ab")
