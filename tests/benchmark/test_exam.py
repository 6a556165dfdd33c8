"""The exam of frozen corruptions: the same for everyone, wrong words where it says so, and the area by word."""

import gzip
import json
import random
import unicodedata
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from small_run import write_corpus

from electra_jax.benchmark import detection
from electra_jax.benchmark.detection import _area, corrupt_by_generator
from electra_jax.benchmark.exam import (
    _rewrite,
    by_frequency,
    by_the_word_before,
    corrupt,
    read_exam,
)
from electra_jax.benchmark.measured import fingerprint
from electra_jax.config.objectives import CausalLMObjective, ElectraObjective, MaskedLMObjective
from electra_jax.errors import UserError
from electra_jax.inference.suggesting import Suggestion
from electra_jax.inference.words import word_spans
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    return read_exam(write_corpus(tmp_path_factory.mktemp("exam") / "corpus.txt"), 50, 0.25)


def words_of(text, spans):
    return [text[begin:end] for begin, end in spans]


@pytest.mark.parametrize("kind", [by_frequency, by_the_word_before])
def test_chosen_words_are_others_and_the_rest_is_as_it_was(exam, kind):
    corrupted = corrupt(exam, kind(exam))
    assert len(corrupted) == 50
    for sentence, chosen, some in zip(exam.sentences, exam.chosen, corrupted, strict=True):
        before, after = words_of(sentence, word_spans(sentence)), words_of(some.text, some.words)
        assert after == words_of(some.text, word_spans(some.text))
        changed = [
            place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other
        ]
        assert tuple(changed) == chosen == tuple(np.flatnonzero(some.wrong))
        assert {after[place].lower() for place in changed} <= exam.counts.keys()
        assert len(chosen) == max(1, round(0.25 * sum(map(str.isalpha, before))))


def test_a_word_that_follows_has_followed_somewhere(exam):
    followed = {
        (one, other) for word, some in exam.followers.items() for one, other in [(word, w) for w in some]
    }
    likely = 0
    for sentence, some in zip(exam.sentences, corrupt(exam, by_the_word_before(exam)), strict=True):
        before = [word.lower() for word in words_of(sentence, word_spans(sentence))]
        after = words_of(some.text, some.words)
        for (one, _), (_, other), wrong in zip(
            pairwise(before), pairwise(after), some.wrong[1:], strict=True
        ):
            if wrong and len(exam.followers[one]) > 1:
                assert (one, other.lower()) in followed
                likely += 1
    assert likely > 20


def test_the_exam_is_frozen(exam, tmp_path):
    """Another value here is another exam: figures that were published no longer compare."""
    assert fingerprint(corrupt(exam, by_frequency(exam))) == "16ad1dad66587aaa"
    assert fingerprint(corrupt(exam, by_the_word_before(exam))) == "450ebe0a24f27b7a"
    lines = write_corpus(tmp_path / "corpus.txt").read_text().splitlines()
    random.Random(1).shuffle(lines)
    (tmp_path / "shuffled.txt").write_text("\n".join(lines))
    shuffled = read_exam(tmp_path / "shuffled.txt", 50, 0.25)
    assert fingerprint(corrupt(shuffled, by_frequency(shuffled))) == "16ad1dad66587aaa"


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_json_lines_are_read_by_their_texts(exam, tmp_path, ending):
    texts = write_corpus(tmp_path / "corpus.txt").read_text().split("\n\n")
    lines = "".join(json.dumps({"id": "ann bob cid dan eve.", "text": text}) + "\n" for text in texts)
    path = tmp_path / f"corpus{ending}"
    path.write_bytes(gzip.compress(lines.encode()) if ending.endswith(".gz") else lines.encode())
    assert read_exam(path, 50, 0.25) == exam


@pytest.mark.parametrize("line", ['{"body": "one two three four five."}', '{"text": 5, "body": ""}'])
def test_json_lines_without_a_text_are_refused(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one two three four five."}}\n{line}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 2 has no text in a field 'text' \(it has .*body"):
        read_exam(tmp_path / "a.jsonl", 5, 0.15)


def _generator(objective, parts):
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] ann bob cid dan eve ."
    tokenizer = WordPieceTokenizer("\n".join(words.split()).encode(), lowercase=True, strip_accents=False)
    return SimpleNamespace(config=SimpleNamespace(objective=objective), _params=parts, tokenizer=tokenizer)


@pytest.mark.parametrize("objective", [ElectraObjective(), MaskedLMObjective()], ids=lambda some: some.kind)
def test_a_masked_language_model_is_a_generator_too(objective, tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "room_of_training", lambda model: 30)
    monkeypatch.setattr(detection, "suggest", lambda model, some, *_: [(Suggestion("bob", 1.0),)] * len(some))
    (tmp_path / "text.txt").write_text("Ann bob cid dan eve.\n")
    exam = read_exam(tmp_path / "text.txt", 5, 1.0)
    (sentence,) = corrupt_by_generator(exam, _generator(objective, {"generator_head": {}}))
    assert sentence.text == "Bob bob bob bob bob."
    assert sentence.wrong == (True, False, True, True, True, False)


@pytest.mark.parametrize(
    ("objective", "parts"),
    [(ElectraObjective(), {"discriminator_head": {}}), (CausalLMObjective(), {"generator_head": {}})],
    ids=["discriminator alone", "causal_lm"],
)
def test_what_is_no_generator_is_refused(objective, parts, exam):
    with pytest.raises(UserError, match=r"^--generator needs a generator \(an ELECTRA with one, or a masked"):
        corrupt_by_generator(exam, _generator(objective, parts))


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("लड़का घर में सेब खाता है। लड़की नदी को देखती रही है।", 2),
        (unicodedata.normalize("NFD", "Le bébé déjà passé était très doux."), 1),
        ("كَتَبَ الوَلَدُ الدَّرسَ فِي البَيتِ؟ نَعَم كَتَبَهُ اليَومَ فِي البَيتِ۔", 2),
    ],
    ids=["hindi", "french", "arabic"],
)
def test_words_have_their_marks(line, sentences, tmp_path):
    """Vowels, and the accents of text that was taken apart."""
    (tmp_path / "text.txt").write_text(line, encoding="utf-8")
    some = read_exam(tmp_path / "text.txt", 5, 1.0)
    assert len(some.sentences) == sentences
    assert some.counts.keys() == {word.strip("؟۔।.").lower() for word in line.split()}
    for sentence in corrupt(some, by_frequency(some)):
        assert sentence.wrong == (True,) * (len(sentence.wrong) - 1) + (False,)
        assert sentence.words == tuple(word_spans(sentence.text))


def test_a_few_words_of_another_language_are_no_part_of_it(tmp_path):
    text = write_corpus(tmp_path / "corpus.txt").read_text()
    (tmp_path / "strays.txt").write_text(f"{text}\nलड़की नदी देखती है।\n", encoding="utf-8")
    some = read_exam(tmp_path / "strays.txt", 50, 0.25)
    assert fingerprint(corrupt(some, by_frequency(some))) == "16ad1dad66587aaa"  # as without


def test_capitals_are_those_of_the_word_that_was_there(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("Ann Bob Cid Dan Eve.\n")
    (sentence,) = corrupt(some := read_exam(path, 5, 1.0), by_frequency(some))
    assert all(word.istitle() for word in words_of(sentence.text, sentence.words)[:5])
    assert sentence.wrong == (True, True, True, True, True, False)


def test_a_capital_that_is_two_letters_is_in_its_word():
    found = _rewrite("Big dog runs", [0], lambda *_: "ﬁnd", random.Random(0))
    assert words_of(found.text, found.words) == ["FInd", "dog", "runs"]


def test_a_text_without_sentences_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("Too short.\n\nOne two three.\n")
    with pytest.raises(UserError, match="has no sentence of 5 to 30 words, of which an exam is made"):
        read_exam(path, 5, 0.15)


def test_the_area_is_that_of_the_drawn_sentences():
    area = _area(
        [np.array([0.1, 0.9]), np.array([0.8, 0.2])], [np.array([False, True]), np.array([False, True])]
    )
    assert area(np.array([0])) == 100.0
    assert area(np.array([1])) == 0.0
    assert area(np.array([0, 1])) == 75.0
    assert area(np.array([0, 0, 1])) == pytest.approx(100 * 8 / 9)
