"""Texts that are read and texts to be written, as rows: nothing is lost without being counted."""

import numpy as np
import pytest
from tiny_writer import letters

from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import RetrievedExample, Rows, Seq2SeqExample
from electra_jax.tasks.seq2seq_rows import seq2seq_rows

TOKENIZER = letters()
CLS, SEP = TOKENIZER.cls_id, TOKENIZER.sep_id


def _rows(*examples, training=True, longest=(8, 5), tokenizer=TOKENIZER, **task):
    tasks = {"mine": {"kind": "seq2seq", **task}}
    config = FinetuneConfig.model_validate({"tasks": tasks}).tasks["mine"]
    made = [Seq2SeqExample(str(number), *example) for number, example in enumerate(examples)]
    return seq2seq_rows("mine", config, tokenizer, made, longest, training=training)


def _ids(text):
    return TOKENIZER.encode(text)


def _lists(arrays):
    return [array.tolist() for array in arrays]


def test_a_row_for_each_reference_in_training_and_one_for_each_example_otherwise():
    examples = (("ab", ("c", "dd")), ("e", ("f",)))
    rows = _rows(*examples, prefix="h ")
    assert _lists(rows.input_ids) == [[CLS, *_ids(f"h {text}"), SEP] for text in ("ab", "ab", "e")]
    assert _lists(rows.target_ids) == [[*_ids(text), SEP] for text in ("c", "dd", "f")]
    assert rows.example_index.tolist() == [0, 0, 1]
    assert all((types == 0).all() for types in rows.token_type_ids)
    assert not rows.notes
    evaluated = _rows(*examples, training=False, prefix="h ")
    assert _lists(evaluated.input_ids) == _lists([rows.input_ids[0], rows.input_ids[2]])
    assert len(evaluated.target_ids) == 0


def test_the_prefix_counts_for_the_length_and_a_source_may_be_empty():
    rows = _rows(("",), ("abcdef",), training=False, prefix="h ")
    assert _lists(rows.input_ids) == [[CLS, *_ids("h "), SEP], [CLS, *_ids("h abcd"), SEP]]
    assert rows.notes == ("note: 1 of 2 sources have more than 6 tokens, and 2 of 10 tokens are not read",)
    assert _lists(_rows(("",), training=False).input_ids) == [[CLS, SEP]]
    assert _lists(_rows(("",), training=False, long="chunks").input_ids) == [[CLS, SEP]]


@pytest.mark.parametrize("training", [True, False])
def test_long_sources_are_cut_and_counted(training):
    rows = _rows(("abcdef", ("a",)), ("abcdefgh", ("a", "b")), ("ab", ("c",)), training=training)
    assert [len(ids) for ids in rows.input_ids] == ([8, 8, 8, 4] if training else [8, 8, 4])
    assert [row.cut for row in rows.details] == ([0, 2, 2, 0] if training else [0, 2, 0])
    # Each source counts once, however many references it has.
    assert rows.notes == ("note: 1 of 3 sources have more than 6 tokens, and 2 of 16 tokens are not read",)


def test_of_a_long_conversation_the_last_tokens_are_read():
    rows = _rows(("abcdefgh", ("a",)), ("ab", ("a",)), conversations={})
    assert _lists(rows.input_ids) == [[CLS, *_ids("cdefgh"), SEP], [CLS, *_ids("ab"), SEP]]
    assert [row.cut for row in rows.details] == [2, 0]


def test_what_was_retrieved_is_read_behind_the_source_and_of_a_share_the_target_instead():
    examples = [RetrievedExample(str(n), "abcdefgh", ("ab",), "hgfe") for n in range(400)]
    examples[0] = Seq2SeqExample("0", "a", ("b",))

    def rows(blend, training=True):
        tasks = {"mine": {"kind": "seq2seq", "retrieval": {"max_tokens": 3, "blend": blend}}}
        config = FinetuneConfig.model_validate({"tasks": tasks}).tasks["mine"]
        return seq2seq_rows("mine", config, TOKENIZER, examples, (9, 5), training=training)

    retrieved = [CLS, *_ids("abc"), SEP, *_ids("hgf"), SEP]  # what is retrieved has room for three tokens
    evaluated = rows(1.0, training=False)
    assert _lists(evaluated.input_ids) == [[CLS, *_ids("a"), SEP]] + [retrieved] * 399
    assert _lists(evaluated.token_type_ids)[:2] == [[0] * 3, [0] * 5 + [1] * 4]
    assert "note: 399 of 400 retrieved texts are cut at 3 tokens" in evaluated.notes
    assert [row.cut for row in evaluated.details][:2] == [0, 5]
    blended = _lists(rows(0.25).input_ids)
    assert blended == _lists(rows(0.25).input_ids)
    targets = [CLS, *_ids("abc"), SEP, *_ids("ab"), SEP]
    assert {tuple(row) for row in blended[1:]} == {tuple(retrieved), tuple(targets)}
    assert 70 < blended.count(targets) < 130  # 100 with a standard deviation of 8.7
    assert _lists(rows(0.0).input_ids)[1:] == [retrieved] * 399
    assert _lists(rows(1.0).input_ids)[1:] == [targets] * 399


def test_chunks_hold_every_token_and_training_reads_the_first():
    text = "abcdefghabcdefg"
    rows = _rows((text,), ("ab",), training=False, long="chunks")
    assert _lists(rows.input_ids) == [[CLS, *_ids(part), SEP] for part in ("abcdef", "ghabcd", "efg", "ab")]
    assert rows.example_index.tolist() == [0, 0, 0, 1]
    assert not rows.notes
    assert {row.cut for row in rows.details} == {0}
    trained = _rows((text, ("a",)), long="chunks")
    assert _lists(trained.input_ids) == [[CLS, *_ids("abcdef"), SEP]]
    assert trained.notes == ("note: 1 of 1 sources have more than 6 tokens, and 9 of 15 tokens are not read",)


def test_rows_of_an_example_have_numbers_that_leave_those_of_others_as_they_are():
    rows = _rows(("abcdefghabcdefg",), ("ab",), training=False, long="chunks")
    assert rows.numbers(np.array([0, 3])).tolist() == [0, 1]
    assert len(set(rows.numbers(np.arange(4)).tolist())) == 4
    plain = Rows([np.zeros(1)] * 3, [np.zeros(1)] * 3, {}, np.arange(3, dtype=np.int32))
    assert plain.numbers(np.arange(3)).tolist() == [0, 1, 2]


def test_long_targets_keep_their_end_and_are_counted():
    rows = _rows(("a", ("abcd", "abcde", "abcdefgh")))
    assert _lists(rows.target_ids) == [[*_ids("abcd"), SEP]] * 3
    assert rows.notes == ("note: 2 of 3 targets are cut at 5 tokens",)


@pytest.mark.parametrize(
    ("example", "task", "message"),
    [
        (
            ("abcdefg", ("a",)),
            {"long": "error"},
            "'0' has 7 tokens, and 6 can be read: shorten it, or set finetune.t",
        ),
        (("abcdef", ("a",)), {"long": "error", "prefix": "h"}, "'0' has 7 tokens, and 6 can be read"),
        (("a", None), {}, "the example '0' has no target to learn"),
    ],
)
def test_what_cannot_be_a_row_is_refused(example, task, message):
    with pytest.raises(UserError, match=message):
        _rows(example, **task)


def test_the_share_of_words_that_a_vocabulary_cannot_write_is_said():
    lower = letters(lowercase=True)
    # Of eight words "Bad" (twice) and "caf" with a letter that is not there are lost; sources do not count.
    rows = _rows(("AB XX", ("a Bad bed", "a Bad")), ("b", ("a café bad",)), tokenizer=lower, longest=(20, 20))
    (note,) = rows.notes
    assert note.startswith(
        "warning: the vocabulary cannot write 37.5% of the words of the targets as they are ('Bad' becomes 'bad'): "
    )
    assert "tokenizer.lowercase=false" in note
    assert not _rows(("AB", ("a bad bed",)), tokenizer=lower, longest=(20, 20)).notes
    # It is the targets' of training alone that are looked at.
    assert not _rows(("AB", ("Bad",)), tokenizer=lower, training=False).notes
