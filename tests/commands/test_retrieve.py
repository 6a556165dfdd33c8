"""What a ranker retrieves for conversations: the best that is not said there, as a decoder's files have it."""

import json
import random
from pathlib import Path

import pytest
from tiny_ranker import ranker, ranker_of_conversations

from electra_jax import retrieve
from electra_jax.config.conversations import ConversationsConfig
from electra_jax.dialogue.turns import Turn, turns_text
from electra_jax.errors import UserError
from electra_jax.inference import retrieving
from electra_jax.inference.model import Model
from electra_jax.inference.retrieving import contexts_of
from electra_jax.inference.searching import Searcher
from electra_jax.tasks.sources.conversations import Conversation

TALKS = [["ab", "Cd", "ef"], ["gh"], ["CD", "DCBA", "HHH", "EF"]]
OTHERS = [["xx", "cd", "dcba"], ["yy", "hhh", "EF"], ["ee", "gg"]]


@pytest.fixture
def asked(monkeypatch, tmp_path, capsys):
    """Runs the command with a ranker of conversations, or one that was trained on something else."""
    model, of_talks = ranker("poly"), ranker_of_conversations("poly")
    for name, talks in (("asked", TALKS), ("others", OTHERS)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"turns": some}) + "\n" for some in talks))

    def run(*arguments, plain=False):
        for name, stub in (
            ("one_device_per_core", lambda: None),
            ("keep_freed_memory", lambda: None),
            ("trained_tasks", lambda path: None),
            ("load_with_notes", lambda path: model if plain else of_talks),
        ):
            monkeypatch.setattr(retrieve, name, stub)
        assert (
            retrieve.main(["--workdir", str(tmp_path), "--input", str(tmp_path / "asked.jsonl"), *arguments])
            == 0
        )
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run, of_talks, tmp_path


def test_the_best_reply_that_is_not_said_there_is_retrieved_for_each_turn_and_the_next(asked):
    run, model, folder = asked
    found = run("--candidates", str(folder / "others.jsonl"))
    assert [line["turns"] for line in found] == TALKS
    assert [line["id"] for line in found] == ["0", "1", "2"]
    model.index(["cd", "dcba", "hhh", "EF", "gg"], folder / "index")
    assert run("--index", str(folder / "index")) == found
    candidates = ["cd", "dcba", "hhh", "EF", "gg"]
    for line in found:
        said = {text.lower() for text in line["turns"]}
        fresh = [text for text in candidates if text.lower() not in said]
        asked_for = [f"- {text}" for text in line["turns"]]
        expected = [model.rank(context, fresh)[0]["candidate"] for context in asked_for]
        assert line["retrieved"] == [None, *expected]


def test_a_text_that_was_said_may_be_in_the_index_in_several_spellings(asked):
    run, model, folder = asked
    best, *_, last = (one["candidate"] for one in model.rank("- ab", ["cd", "dcba", "hhh", "ef", "gg", "ee"]))
    model.index([best, best.upper(), best.title(), last], folder / "spelled")
    (folder / "asked.jsonl").write_text(json.dumps({"turns": ["ab", best]}) + "\n")
    (line,) = run("--index", str(folder / "spelled"))
    assert line["retrieved"] == [None, last, last]


def test_candidates_are_the_replies_that_the_task_learned():
    def talk(*turns):
        return Conversation("0", "line 1", tuple(Turn(text, speaker) for speaker, text in turns))

    talks = [talk(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), talk(("user", "e"))]
    for replier, expected in ((None, ["b", "c", "d"]), ("assistant", ["b", "d"]), ("user", ["c"])):
        config = ConversationsConfig(replies_by=replier)
        assert retrieve.learned_replies(talks, config, Path("talks.jsonl")) == expected
    with pytest.raises(UserError, match=r"talks.jsonl has no reply by 'Eve', whose replies the task learned"):
        retrieve.learned_replies(talks, ConversationsConfig(replies_by="Eve"), Path("talks.jsonl"))


def test_what_is_read_before_a_turn_is_what_training_reads():
    turns = [Turn("a", "Ann"), Turn("b", "Bob"), Turn("c", "Ann")]
    expected = ["you: a", "me: a\nyou: b", "me: b\nyou: c"]
    for most, length in ((2, None), (2, 100), (None, 2), (100, 2)):
        assert list(contexts_of(turns, ConversationsConfig(history=most), length)) == expected
    assert list(contexts_of(turns, ConversationsConfig()))[-1] == "you: a\nme: b\nyou: c"


def test_of_long_conversations_no_more_turns_are_put_together_than_tokens_are_read(monkeypatch):
    """And a piece of them at a time; what is found is the same."""
    model = ranker_of_conversations("bi")
    (section,) = model.config.finetune.tasks.values()
    section = section.model_copy(update={"conversations": ConversationsConfig(speakers="none")})
    finetune = model.config.finetune.model_copy(update={"tasks": {"reply": section}})
    model = Model(
        model.config.model_copy(update={"finetune": finetune}), model.tokenizer, model._params, model.tasks
    )
    searcher = Searcher(model, model.index(["ee", "gg", "hhh"]))
    rng = random.Random(0)
    talks = [[Turn("".join(rng.choices("abcd", k=rng.randint(1, 3)))) for _ in range(n)] for n in (40, 3, 30)]
    expected = []
    for talk in talks:
        contexts = [turns_text(talk[: n + 1], None, "none") for n in range(len(talk))]
        found = searcher.search(contexts, 1)
        expected.append([None, *(best["candidate"] for (best,) in found)])
    asked = []

    def search(texts, most, cut):
        asked.append(texts)
        return Searcher.search(searcher, texts, most, cut)

    monkeypatch.setattr(searcher, "search", search)
    monkeypatch.setattr(retrieving, "_TOGETHER", 8)
    found = retrieving.retrieve(searcher, talks)
    first = next(found)
    assert sum(map(len, asked)) == 40
    assert [first, *found] == expected
    assert max(len(text.splitlines()) for texts in asked for text in texts) == 16
    assert [len(texts) for texts in asked] == [8] * 9 + [1]


def test_what_cannot_be_retrieved_from_is_refused(asked):
    run, _, folder = asked
    with pytest.raises(UserError, match="the task reply was not trained on conversations"):
        run("--candidates", str(folder / "others.jsonl"), plain=True)
    (folder / "short.jsonl").write_text('{"turns": ["a"]}\n')
    with pytest.raises(UserError, match=r"short\.jsonl has no conversation of two turns"):
        run("--candidates", str(folder / "short.jsonl"))
