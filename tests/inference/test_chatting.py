"""Conversations in Python: what a model reads of the turns, and what it replies."""

import dataclasses
import json
import warnings
from types import SimpleNamespace

import pytest
from small_run import small_config
from tiny_models import write_pre_trained
from tiny_ranker import ranker
from tiny_replier import KINDS, write_replier
from writers import causal_model

import electra_jax
from electra_jax import UserError
from electra_jax.chat.answers import answers
from electra_jax.chat.terminal import converse, reasons_text
from electra_jax.config.generation import GenerationConfig
from electra_jax.dialogue.turns import Turn, alternating, reply_text
from electra_jax.generation.stream import TextStream
from electra_jax.inference.chatting import Conversation
from electra_jax.inference.model import Model
from electra_jax.inference.reply_roles import reply_roles
from electra_jax.inference.replying import Proposal, Reading, Reply, turn_stops
from electra_jax.inference.source_scorer import score_for_sources
from electra_jax.inference.writing import generate, writer_of
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

CANDIDATES = ["bad head", "a cab", "fed", "", "a cab"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return electra_jax.load(write_replier(tmp_path_factory.mktemp("replier") / "run"))


def test_a_ranker_replies_with_the_first_candidate_that_it_has_not_said(model):
    talk = model.chat(CANDIDATES)
    first = talk.say("abc")
    ranked = model.rank("abc", ["bad head", "a cab", "fed"])
    assert [(one.text, one.number) for one in first.proposals] == [
        (one["candidate"], one["number"]) for one in ranked
    ]
    assert (first.text, first.compared, first.turns_read) == (ranked[0]["candidate"], 3, 1)
    second = talk.say("de")
    assert second.text != first.text
    assert talk.turns == ["abc", first.text, "de", second.text]
    third = talk.say("f")
    assert {first.text, second.text, third.text} == {"bad head", "a cab", "fed"}
    assert len(talk.say("g").proposals) == 3  # all were said, so all are there again
    talk.restart()
    assert talk.say("abc") == first


def test_a_bi_encoder_finds_candidates_by_their_vectors_in_memory_or_in_an_index(model, tmp_path):
    bi = ranker("bi")
    candidates = ["abc", "b", "cab", "dd", "ABC "]
    found = bi.chat(candidates).say("a h")
    ranked = bi.rank("a h", candidates)
    assert [(one.text, one.number) for one in found.proposals] == [
        (one["candidate"], one["number"]) for one in ranked
    ]
    assert found.compared == 5
    # What was said, by anybody and in whatever case, is not said again.
    assert {one.text for one in bi.chat(candidates).say("Abc").proposals} == {"b", "cab", "dd"}
    bi.index(candidates, tmp_path / "index")
    assert bi.chat(tmp_path / "index").say("a h") == found
    spelled = ["fed", "Fed", "fEd", "feD", "FEd", "FeD", "fED", "FED"]
    ranked = [one["candidate"] for one in bi.rank("fed", [*spelled, "ha", "h"])]
    assert {*ranked[:6]} < {*spelled}  # so many are looked at first
    assert {one.text for one in bi.chat([*spelled, "ha", "h"]).say("fed").proposals} == {"h", "ha"}
    with pytest.warns(UserWarning, match="1 of 2 candidates were too long and were cut"):
        talk = bi.chat(["abcde", "b"])
    assert not talk.say("ab").truncated  # it was read whole
    with pytest.raises(UserError, match="was built by another model"):
        ranker("bi", 1).chat(tmp_path / "index")
    with pytest.raises(UserError, match="the task ranker is a cross-encoder"):
        model.chat(tmp_path / "index")


def test_a_task_that_writes_reads_the_turns(model, recwarn):
    settings = {"beams": 2, "n_best": 2, "min_new_tokens": 4}
    talk = model.chat(**settings)
    replies = [talk.say(text) for text in ("abc", "de")]
    read = ["- abc", f"- abc\n- {reply_text(Turn(replies[0].text))}\n- de"]
    written = writer_of(model, settings, "writer").write(read, most_rows=1)
    assert [[one.text for one in reply.proposals] for reply in replies] == [
        [one.text.strip() for one in texts] for texts in written
    ]
    assert [(reply.text, reply.compared, reply.proposals[0].number) for reply in replies] == [
        (texts[0].text.strip(), 2, None) for texts in written
    ]
    assert not recwarn.list
    assert reasons_text(replies[0], 1).startswith("    2 were written, by score; ")
    first, second = replies[0].proposals
    assert first.score >= second.score


def test_what_is_retrieved_is_read_and_what_is_written_is_judged(model, tmp_path):
    refiner = electra_jax.load(write_replier(tmp_path / "refiner", ("ranker", "refiner")))
    candidates = ["Abc", "cab", "dd"]
    reply = refiner.chat(candidates).say("abc")
    assert [one.text for one in reply.retrieved] == [
        one["candidate"] for one in refiner.rank("abc", candidates) if one["candidate"] != "Abc"
    ]
    another = refiner.chat(candidates, ranker=model, task="refiner").say("abc")
    assert [one.text for one in another.retrieved] == [
        one["candidate"] for one in model.rank("abc", candidates) if one["candidate"] != "Abc"
    ]
    writer = writer_of(refiner, {}, "refiner")
    sources = (("- abc", reply.retrieved[0].text), "- abc")
    written = [writer.write([source], [1], most_rows=1)[0][0] for source in sources]
    assert [reply.text, reply.proposals[0].number] == [written[0].text.strip(), None]
    assert written[0].log_probs != written[1].log_probs
    assert refiner.chat().say("abc").text == written[1].text.strip()  # nothing retrieved
    assert "retrieved, of which the first was read:" in reasons_text(reply, 1)
    by_itself = electra_jax.Reranker({"decoder": refiner})
    judged = refiner.chat(candidates, rerank=by_itself, beams=3, n_best=3).say("abc")
    pairs = [(source, one.text) for source in sources for one in judged.proposals if one.text]
    means = [scores.mean() for scores in score_for_sources(refiner, pairs, "refiner")]
    assert [one.judged["decoder"] for one in judged.proposals if one.text] == pytest.approx(
        means[: len(pairs) // 2], abs=1e-5
    )
    assert means[0] != pytest.approx(means[len(pairs) // 2], abs=1e-3)  # without what was retrieved
    texts = refiner.generate(sources[0], rerank=by_itself, beams=3, n_best=3)
    assert [text.text.strip() for text in texts] == [one.text for one in judged.proposals]
    reranker = electra_jax.Reranker({"length": None}, {"length": -1.0})
    judged = model.chat(rerank=reranker, beams=2, n_best=2, min_new_tokens=4).say("abc")
    assert [one.score for one in judged.proposals] == [-one.judged["length"] for one in judged.proposals]
    assert judged.proposals[0].score >= judged.proposals[1].score
    assert "(length " in reasons_text(judged, 1)
    with pytest.raises(UserError, match=r"set generation.beams and generation.n_best, or generation.n"):
        model.chat(rerank=reranker)


@pytest.mark.parametrize(
    ("tasks", "task", "has_candidates", "has_ranker", "found"),
    [
        ("ranker writer", None, True, False, ("ranker", None)),
        ("ranker writer", None, False, False, (None, "writer")),
        ("ranker refiner", None, True, False, ("ranker", "refiner")),
        ("ranker refiner", "ranker", True, False, ("ranker", None)),
        ("refiner", None, True, True, (None, "refiner")),
        ("refiner", None, False, False, (None, "refiner")),
        ("refiner", None, True, False, "name a model that ranks the candidates for it"),
        ("refiner", None, False, True, "another model that ranks needs candidates to retrieve from"),
        ("writer", None, True, True, "has no task that reads what another model retrieves"),
        ("writer refiner", None, False, False, "several tasks that reply: name one of writer, refiner"),
    ],
)
def test_who_replies(tasks, task, has_candidates, has_ranker, found):
    config = small_config(
        objective={"kind": "finetune"}, finetune={"tasks": {name: KINDS[name] for name in tasks.split()}}
    )

    def roles():
        return reply_roles(config, task, has_candidates=has_candidates, has_ranker=has_ranker)

    if isinstance(found, str):
        with pytest.raises(UserError, match=found):
            roles()
    else:
        assert (roles().ranks, roles().writes) == found


def test_a_language_model_goes_on_from_the_turns_and_draws_anew_at_every_turn():
    model = causal_model(devices=1)
    settings = {"temperature": 2.0, "max_new_tokens": 5, "min_new_tokens": 5}
    talk = model.chat(history=1, **settings)
    replies = [talk.say("abc").text for _ in range(3)]
    assert len(set(replies)) > 1
    settings["stop_strings"] = ["\n"]
    first = generate(model, ["you: abc\nme:"], settings, 1)[0]
    assert replies[0] == first.text.strip() != ""
    drawn = model.chat(n=3, **settings).say("abc")
    assert reasons_text(drawn, 1).startswith("    3 were written, in the order of drawing; read the turn\n")
    assert [one.text for one in drawn.proposals] == [
        text.text.strip() for text in generate(model, ["you: abc\nme:"], settings | {"n": 3}, 1)[0]
    ]


def test_a_reply_ends_where_the_vocabulary_would_write_the_next_turn():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ab:?", "you", "me", "hi", "there"]
    lower = WordPieceTokenizer("\n".join(words).encode(), lowercase=True, strip_accents=True)
    settings = GenerationConfig()
    for marks, said, stops in (
        ("sides", "hi there? you: hi", [" you:", " me:"]),
        ("names", "hi there? a: hi", [" a:", " b:"]),
        ("none", "hi there? hi", []),
    ):
        assert turn_stops(marks, settings, lower) == stops
        stream = TextStream(lower.detokenize, stops)
        stream.add(lower.encode(said))
        assert stream.text == ("hi there?" if stops else said)
    written = turn_stops("names", settings.model_copy(update={"stop_strings": ["?"]}), lower)
    assert written == ["?", " a:", " b:"]
    few = causal_model(words=True, devices=1)
    with pytest.warns(UserWarning, match="nothing ends a reply where the next turn would begin") as caught:
        few.chat()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few.chat(stop_strings=["ann"])


def test_the_page_shows_what_the_discriminator_makes_of_both_turns(model, tmp_path):
    discriminator = electra_jax.load(write_pre_trained(tmp_path / "run"))
    talk = model.chat(CANDIDATES)
    found = json.loads(json.dumps(answers(talk.replier, discriminator)(["abc"])))
    reply = talk.say("abc")
    assert (found["text"], found["proposals"][0]["number"]) == (reply.text, reply.proposals[0].number)
    assert "".join(text for text, _ in found["said"]) == "abc"
    assert found["replied"] == [
        [token.text, pytest.approx(token.replaced, abs=1e-6)] if token else [" ", None]
        for token in _with_blanks(discriminator.detect(reply.text))
    ]
    assert "the discriminator doubts: " in reasons_text(reply, 1, discriminator)
    assert "said" not in answers(talk.replier, None)(["abc"])


def test_a_terminal_is_shown_control_characters(capsys):
    proposals = (Proposal("\x1b]0;a\x07b", 1.0, 0), Proposal("c\x90\r\x00", 0.0, 1))
    reply = Reply(proposals[0].text, proposals, 2, 1)
    assert reasons_text(reply, 1).splitlines()[1:] == [
        r"        1.000  #1  \x1b]0;a\x07b",
        r"        0.000  #2  c\x90 \x00",
    ]
    for typed in (True, False):
        replier = SimpleNamespace(reply=lambda turns: reply)
        converse(Conversation(replier), ["a"], typed=typed)
        assert capsys.readouterr().out == "\\x1b]0;a\\x07b\n"
    assert json.dumps(answers(replier, None)(["a"])["text"]) == r'"\u001b]0;a\u0007b"'


def _with_blanks(tokens):
    """Tokens, and None between two words."""
    first, *others = tokens
    return [first, *(one for token in others for one in (None, token))]


@pytest.mark.parametrize(
    ("room", "marks", "text"),
    [
        (100, "sides", "you: one two\nme: three\nyou: four"),
        (24, "sides", "me: three\nyou: four"),
        (3, "sides", "you: four"),
        (100, "plain", "one two\nthree\nfour"),
        (10, "plain", "three\nfour"),
        (100, "none", "- one two\n- three\n- four"),
        (100, "names", "A: one two\nB: three\nA: four\nB:"),
    ],
)
def test_the_last_turns_that_fit_are_read(room, marks, text):
    assert Reading(marks).read(alternating(["one  two", "three", "four"]), room, len)[0] == text
    begun = {"sides": f"{text}\nme:", "none": f"{text}\n-"}.get(marks, text)
    reading = Reading(marks, begins_reply=True)
    assert (
        reading.read(alternating(["one two", "three", "four"]), room + len(begun) - len(text), len)[0]
        == begun
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": []}, "the list of candidates is empty"),
        ({"candidates": ["a", 3]}, "chat: candidate 1 is int '3' and not a text"),
        ({"task": "ranker"}, r"this model \(ranker: ranking\) ranks replies and writes none"),
        ({"task": "writer", "candidates": ["a"]}, r"\(writer: seq2seq\) writes its replies and ranks none"),
        ({"task": "other"}, "no task 'other' that replies; there is: ranker, writer"),
        ({"history": 0}, "history is 0, but must be a number of turns"),
        ({"beams": 0}, "generation.beams is 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence(model, arguments, message):
    with pytest.raises(UserError, match=message):
        model.chat(**arguments)


@pytest.mark.parametrize(
    ("said", "message"), [(" ", "nothing was said"), (3, "turn 1 is int '3' and not a t")]
)
def test_what_was_not_said_is_no_turn(model, said, message):
    talk = model.chat()
    with pytest.raises(UserError, match=message):
        talk.say(said)
    assert talk.turns == []


def test_a_ranker_of_texts_alike_reads_no_more_turns_than_it_was_trained_to_read():
    model = ranker("bi")
    (section,) = model.config.finetune.tasks.values()
    section = section.model_copy(update={"positives_from": "dropout"})  # 6 tokens of any text
    task = dataclasses.replace(model.tasks["reply"], config=section)
    alike = Model(model.config, model.tokenizer, model._params, {"reply": task})
    talk = alike.chat(["b", "c"])
    talk.say("ab")
    reply = talk.say("cdef")
    assert (reply.turns_read, reply.truncated) == (1, False)
