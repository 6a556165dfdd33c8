"""Questions as rows: nothing of a context is lost, and every span leads back to its characters."""

import json

import numpy as np
import pytest

from electra_jax.config.tasks import QuestionAnsweringConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Answer, QuestionExample
from electra_jax.tasks.windows import (
    answer_char_span,
    answer_token_span,
    max_context_windows,
    question_rows,
    window_starts,
    window_step,
)
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *LETTERS, *(f"##{c}" for c in LETTERS)]


@pytest.fixture(scope="module")
def tokenizer():
    """A token is a letter."""
    return WordPieceTokenizer("\n".join(TOKENS).encode(), lowercase=True, strip_accents=True)


@pytest.fixture(scope="module")
def bert(shared):
    vocabulary = (shared / "data" / "vocab" / "bert-base-uncased.txt").read_bytes()
    return WordPieceTokenizer(vocabulary, lowercase=True, strip_accents=True)


def _squad(shared, split):
    content = json.loads((shared / "data" / "squad" / f"{split}-v2.0.json").read_text())
    return [
        QuestionExample(
            record["id"],
            record["question"],
            paragraph["context"],
            tuple(Answer(answer["text"], answer["answer_start"]) for answer in record["answers"]),
        )
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for record in paragraph["qas"]
    ]


def _rows(examples, tokenizer, max_length, *, training=True, quirks=False, **options):
    return question_rows(
        examples,
        tokenizer,
        name="squad",
        config=QuestionAnsweringConfig(**options),
        max_length=max_length,
        training=training,
        reference_quirks=quirks,
    )


# --- real questions -------------------------------------------------------------------------------------------

# Answers that end inside a token: (what stands in the file, what the tokens are).
INSIDE_A_TOKEN = [("Japan", "Japanese")]


@pytest.mark.shared_data
@pytest.mark.parametrize("max_length", [512, 128])
def test_every_answer_of_squad_leads_back_to_its_characters(shared, bert, max_length):
    examples = _squad(shared, "train")
    rows = _rows(examples, bert, max_length)
    found, differing = set(), []
    for row, number in enumerate(rows.example_index):
        example, window = examples[number], rows.details[row]
        start, end = int(rows.targets["start"][row]), int(rows.targets["end"][row])
        assert rows.targets["is_impossible"][row] == (start == 0)
        if start == 0:
            assert end == 0
            continue
        found.add(number)
        begin, behind = window.characters(start, end)
        answer = example.answers[0]
        if (begin, behind) != (answer.start, answer.start + len(answer.text)):
            differing.append((example.id, answer.text, example.context[begin:behind]))
    answerable = {number for number, example in enumerate(examples) if example.answers}
    assert len(answerable) > 2000
    assert found == answerable
    # One question each, whatever the number of its windows.
    assert sorted((text, given) for _, text, given in set(differing)) == INSIDE_A_TOKEN


@pytest.mark.shared_data
def test_every_token_of_squad_is_its_characters(shared, bert):
    """The slices of a context that its tokens stand for, tokenised alone, are the tokens."""
    examples = _squad(shared, "dev")[::40]
    rows = _rows(examples, bert, 512, training=False)
    assert rows.targets == {}
    for row, number in enumerate(rows.example_index):
        window, ids = rows.details[row], rows.input_ids[row]
        for place, (begin, end) in enumerate(window.offsets):
            text = examples[number].context[begin:end]
            token = bert.token(ids[window.position + place])
            assert token in ("[UNK]", text.lower(), f"##{text.lower()}") or not text.isascii()
        assert window.characters(window.position, len(ids) - 2) == (
            window.offsets[0, 0],
            window.offsets[-1, 1],
        )


# --- rows -----------------------------------------------------------------------------------------------------


def test_a_row_is_question_and_context(tokenizer):
    example = QuestionExample("1", "ab?", " cde  F", (Answer("e  F", 3),))
    rows = _rows([example], tokenizer, 16, max_question_tokens=4)
    assert [tokenizer.token(i) for i in rows.input_ids[0]] == [
        *("[CLS]", "a", "##b", "?", "[SEP]"),
        *("c", "##d", "##e", "f", "[SEP]"),
    ]
    assert rows.token_type_ids[0].tolist() == [0] * 5 + [1] * 5
    assert rows.input_ids[0].dtype == rows.token_type_ids[0].dtype == rows.example_index.dtype == np.int32
    assert (rows.targets["start"].tolist(), rows.targets["end"].tolist()) == ([7], [8])
    assert [rows.targets[name].dtype for name in ("start", "end", "is_impossible")] == ["i4", "i4", "f4"]
    assert rows.details[0].characters(7, 8) == (3, 7)


def test_long_questions_are_cut(tokenizer):
    rows = _rows(
        [QuestionExample("1", "abcdefgh", "xyz")], tokenizer, 9, max_question_tokens=3, training=False
    )
    assert [tokenizer.token(i) for i in rows.input_ids[0]] == [
        *("[CLS]", "a", "##b", "##c", "[SEP]", "x", "##y", "##z", "[SEP]")
    ]


def test_questions_and_contexts_may_be_empty(tokenizer):
    rows = _rows([QuestionExample("1", "", "ab"), QuestionExample("2", "a", " ")], tokenizer, 70)
    assert [len(row) for row in rows.input_ids] == [5, 4]
    assert [len(window) for window in rows.details] == [2, 0]
    assert rows.targets["is_impossible"].tolist() == [1.0, 1.0]
    empty = _rows([], tokenizer, 70)
    assert len(empty) == 0
    assert [len(values) for values in empty.targets.values()] == [0, 0, 0]


@pytest.mark.parametrize("quirks", [False, True])
def test_windows_without_the_answer_have_none(tokenizer, quirks):
    context = " ".join(LETTERS)
    examples = [
        QuestionExample("1", "a?", context, (Answer("f g", 10), Answer("z", 50))),
        QuestionExample("2", "a?", context),
    ]
    rows = _rows(examples, tokenizer, 13, quirks=quirks, max_question_tokens=2, stride=4, max_answer_tokens=2)
    assert rows.example_index.tolist() == [0] * 6 + [1] * 6
    firsts = [window.first for window in rows.details][:6]
    assert firsts == [0, 4, 8, 12, 16, 20]
    position = rows.details[0].position
    starts = [position + 5 - first if first <= 5 and first + 8 > 6 else 0 for first in firsts]
    assert rows.targets["start"].tolist() == starts + [0] * 6
    assert rows.targets["end"].tolist() == [start and start + 1 for start in starts] + [0] * 6
    impossible = [0.0 if quirks else float(start == 0) for start in starts] + [1.0] * 6
    assert rows.targets["is_impossible"].tolist() == impossible


# --- windows --------------------------------------------------------------------------------------------------


def _context_scores(starts, lengths, token):
    """The official script's, one window at a time."""
    scores = []
    for start, length in zip(starts, lengths):
        last = start + length - 1
        inside = start <= token <= last
        scores.append(min(token - start, last - token) + 0.01 * length if inside else -1.0)
    return scores


@pytest.mark.parametrize(
    ("tokens", "room", "step"),
    [(1, 5, 2), (5, 5, 2), (6, 5, 5), (37, 5, 2), (37, 8, 3), (300, 64, 16), (560, 300, 128), (9, 1, 1)],
)
def test_every_token_is_in_a_window_and_has_one_with_most_context(tokens, room, step):
    starts = window_starts(tokens, room, step)
    lengths = [min(room, tokens - start) for start in starts]
    assert {t for start, length in zip(starts, lengths) for t in range(start, start + length)} == set(
        range(tokens)
    )
    assert starts[-1] + lengths[-1] == tokens
    assert all(start + length < tokens for start, length in zip(starts[:-1], lengths))
    best = max_context_windows(starts, tokens, room)
    for token in range(tokens):
        assert best[token] == int(np.argmax(_context_scores(starts, lengths, token)))


def test_rows_mark_each_token_of_a_context_once(tokenizer):
    context = " ".join(LETTERS * 3)
    rows = _rows([QuestionExample("1", "a?", context)], tokenizer, 20, max_question_tokens=4, training=False)
    assert len(rows) > 5
    assert {len(row) for row in rows.input_ids[:-1]} == {20}
    assert len(rows.input_ids[-1]) <= 20
    marked = [window.first + place for window in rows.details for place in np.flatnonzero(window.max_context)]
    assert sorted(marked) == list(range(len(LETTERS) * 3))


@pytest.mark.parametrize("max_length", [12, 24, 40, 80])
@pytest.mark.parametrize("stride", [3, 128])
def test_no_answer_is_between_two_windows(tokenizer, max_length, stride):
    """Also where the stride is longer than a window; the original loses answers there."""
    context = " ".join(LETTERS * 4)
    options = {"max_question_tokens": 2, "stride": stride, "max_answer_tokens": 6}
    longest = min(6, (max_length - 5) // 2)
    examples = [
        QuestionExample(
            f"{start}", "a?", context, (Answer(context[2 * start : 2 * (start + longest) - 1], 2 * start),)
        )
        for start in range(len(LETTERS) * 4 - longest)
    ]
    rows = _rows(examples, tokenizer, max_length, **options)
    found = rows.targets["start"] > 0
    assert set(rows.example_index[found]) == set(range(len(examples)))
    for row in np.flatnonzero(found):
        answer = examples[rows.example_index[row]].answers[0]
        span = rows.details[row].characters(rows.targets["start"][row], rows.targets["end"][row])
        assert span == (answer.start, answer.start + len(answer.text))


def test_windows_of_the_usual_lengths_move_by_the_stride():
    assert window_step(448, 128, 30) == window_step(157, 128, 30) == 128
    assert window_step(100, 128, 30) == 71
    assert window_step(30, 128, 30) == 15
    assert window_step(1, 128, 30) == 1


# --- answers --------------------------------------------------------------------------------------------------


def test_an_answer_inside_tokens_gets_them_whole():
    offsets = np.array([[0, 3], [4, 9], [9, 10], [12, 15]])
    assert answer_token_span(offsets, 5, 7) == (1, 1)
    assert answer_token_span(offsets, 2, 10) == (0, 2)
    assert answer_token_span(offsets, 3, 12) == (1, 2)  # what only touches it is not in it
    assert answer_token_span(offsets, 10, 12) is None


def test_an_answer_that_is_not_where_it_says_is_taken_from_the_nearest_place():
    context = "one two one two one"
    for start, found in ((8, 8), (7, 8), (10, 8), (3, 0), (13, 16), (18, 16)):
        example = QuestionExample("1", "?", context, (Answer("one", start),))
        assert answer_char_span(example, "") == (found, found + 3)


@pytest.mark.parametrize(
    ("example", "says"),
    [
        (
            QuestionExample("q7", "a", "b c", (Answer("d", 0),)),
            r"the answer 'd' of question 'q7' is not in its",
        ),
        (QuestionExample("q7", "a", "b \u200b c", (Answer("\u200b", 2),)), "keeps nothing of the answer"),
        (QuestionExample("q7", "a", "b c", hidden=True), "the answer of question 'q7' is hidden"),
    ],
)
def test_answers_that_cannot_be_trained_on_are_refused(tokenizer, example, says):
    with pytest.raises(UserError, match=rf"^finetune\.tasks\.squad: .*{says}"):
        _rows([example], tokenizer, 70)
    assert len(_rows([example], tokenizer, 70, training=False)) == 1


def test_rows_that_leave_no_room_are_refused(tokenizer):
    example = QuestionExample("1", "a?", "b")
    assert len(_rows([example], tokenizer, 12, max_question_tokens=8)) == 1
    with pytest.raises(UserError, match=r"data\.sequence_length=11 .*max_question_tokens=8.*at least 12$"):
        _rows([example], tokenizer, 11, max_question_tokens=8)
