"""Questions and answers: SQuAD's JSON, versions 1.1 and 2.0, and MRQA's JSON lines."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from electra_jax.data.sources.json_lines import json_object
from electra_jax.errors import UserError, quoted
from electra_jax.tasks.protocol import Answer, QuestionExample
from electra_jax.tasks.sources.files import json_field, read_json, read_json_lines

LocatedQuestion = tuple[str, Mapping[str, Any], str]


def read_squad(path: Path, split: str, notes: list[str]) -> list[QuestionExample]:
    """Read the questions of a SQuAD file, with all gold answers; an unanswerable one has none.

    A training question whose answer is not in its context is left out, as in the original.

    Args:
        path: of the file.
        split: "train", "dev" or "test…", in which questions without a field ``answers`` have hidden ones.
        notes: the number of questions left out is appended.

    Raises:
        UserError: as in `read_json`; something is missing or of another type; an answer begins outside its context.
    """
    may_be_hidden = split.startswith("test")
    examples = [
        _squad_question(question, context, may_be_hidden, where_in)
        for where_in, question, context in squad_questions(read_json(path), str(path))
    ]
    return _trainable(examples, path, notes) if split == "train" else examples


def squad_questions(value: Any, name: str) -> Iterator[LocatedQuestion]:
    """Yield the place of each question of a SQuAD file, the question's object, and its context.

    Args:
        value: the content of the file.
        name: of the file, for messages.

    Raises:
        UserError: something on the way to them is missing, or of another type.
    """
    content = json_object(value, name)
    for a, article in enumerate(json_field(content, "data", list, name)):
        where_in = f"{name}: data[{a}]"
        for p, paragraph in enumerate(
            json_field(json_object(article, where_in), "paragraphs", list, where_in)
        ):
            where_in = f"{name}: data[{a}].paragraphs[{p}]"
            context = json_field(json_object(paragraph, where_in), "context", str, where_in)
            for q, record in enumerate(json_field(paragraph, "qas", list, where_in)):
                where_in = f"{name}: data[{a}].paragraphs[{p}].qas[{q}]"
                yield where_in, json_object(record, where_in), context


def _squad_question(
    record: Mapping[str, Any], context: str, may_be_hidden: bool, where: str
) -> QuestionExample:
    name, question = json_field(record, "id", str, where), json_field(record, "question", str, where)
    if record.get("is_impossible", False):
        return QuestionExample(name, question, context)
    if "answers" not in record and may_be_hidden:
        return QuestionExample(name, question, context, hidden=True)
    answers = tuple(
        checked_answer(
            context,
            json_field(json_object(answer, where), "text", str, where),
            json_field(answer, "answer_start", int, where),
            where,
        )
        for answer in json_field(record, "answers", list, where)
    )
    return QuestionExample(name, question, context, answers)


def _trainable(examples: list[QuestionExample], path: Path, notes: list[str]) -> list[QuestionExample]:
    """Return the questions whose first answer is in the context, or that have none; a note counts the others."""
    kept = []
    for example in examples:
        if not example.answers or example.answers[0].text in example.context:
            kept.append(example)
        elif spelled := _spelled_otherwise(example):
            kept.append(replace(example, answers=(spelled, *example.answers[1:])))
    if left_out := len(examples) - len(kept):
        notes.append(
            f"{path}: {left_out:,} of {len(examples):,} questions are left out, as in the original, since their answer "
            "is not in the context"
        )
    return kept


def _spelled_otherwise(example: QuestionExample) -> Answer | None:
    """Return the first answer as the context spells it, where only case or white space differ."""
    text, start = example.answers[0].text, example.answers[0].start or 0
    there = example.context[start : start + len(text)]
    same = " ".join(there.lower().split()) == " ".join(text.lower().split())
    return Answer(there, start) if same else None


def checked_answer(context: str, text: str, start: int, where: str) -> Answer:
    """Return an answer that is not empty and begins in the context.

    Raises:
        UserError: it is empty, or begins elsewhere; ``where`` begins the message.
    """
    if not text:
        raise UserError(
            f"{where} has an empty answer; a question without an answer has none, or is_impossible."
        )
    if not 0 <= start < len(context):
        raise UserError(
            f"{where}: the answer {text!r} begins at character {start} of a context of {len(context)}; mend the file."
        )
    return Answer(text, start)


def read_mrqa(path: Path, split: str, notes: list[str]) -> list[QuestionExample]:
    """Read the questions of an MRQA file: after a header, one context with its ``qas`` per line.

    For training the answers are all detected spans, then those of ``answers`` that are in the context word for word and
    were not detected; a question without any in the context is left out. Elsewhere the gold answers are ``answers``,
    wherever they are, as in the official evaluation, and the detected ones only if there are no others.

    Args:
        path: of the file.
        split: "train", "dev" or "test…", in which questions with neither answers nor detected answers have hidden ones.
        notes: the number of questions left out is appended.

    Raises:
        UserError: as in `read_json_lines`; something is missing or of another type; there is no answer.
    """
    examples = []
    for number, record in read_json_lines(path):
        where = f"{path}, line {number}"
        if "header" in record and "context" not in record:
            continue
        if "context" not in record or "qas" not in record:
            raise UserError(
                f"{where} is not in MRQA's format: it has {quoted(record)}, not 'context' and 'qas'; "
                "give SQuAD's format as .json, or mend the file."
            )
        examples += [
            _mrqa_question(question, context, split, where_in)
            for where_in, question, context in mrqa_questions(record, where)
        ]
    return _trainable(examples, path, notes) if split == "train" else examples


def mrqa_questions(record: Mapping[str, Any], where: str) -> Iterator[LocatedQuestion]:
    """Yield the place of each question of a line of an MRQA file, the question's object, and its context.

    Raises:
        UserError: something on the way to them is missing, or of another type; ``where`` begins the message.
    """
    context = json_field(record, "context", str, where)
    for q, question in enumerate(json_field(record, "qas", list, where)):
        where_in = f"{where}: qas[{q}]"
        yield where_in, json_object(question, where_in), context


def _mrqa_question(record: Mapping[str, Any], context: str, split: str, where: str) -> QuestionExample:
    name = json_field(record, "qid" if "qid" in record else "id", str, where)
    question = json_field(record, "question", str, where)
    if "answers" not in record and "detected_answers" not in record:
        if split.startswith("test"):
            return QuestionExample(name, question, context, hidden=True)
        raise UserError(
            f"{where} has neither 'answers' nor 'detected_answers'; training and evaluation need them."
        )
    spans = _detected_answers(record, context, where)
    texts = _list_field(record, "answers", where)
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"{where}: answers holds {text!r}, which is not text; mend the file.")
    given = [_locate_answer(context, text) for text in dict.fromkeys(texts) if text]
    if split == "train":
        known = {answer.text for answer in spans}
        # If no answer is in the context, one is kept, so that the note on questions left out counts it.
        answers = spans + [
            answer for answer in given if answer.start is not None and answer.text not in known
        ]
        answers = answers or given
    else:
        answers = given or spans
    if not answers:
        raise UserError(f"{where} has no answer; leave the question out.")
    return QuestionExample(name, question, context, tuple(answers))


def _detected_answers(record: Mapping[str, Any], context: str, where: str) -> list[Answer]:
    """Return every detected span."""
    answers = []
    for detected in _list_field(record, "detected_answers", where):
        for span in json_field(json_object(detected, where), "char_spans", list, where):
            if not (isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)):
                raise UserError(f"{where}: char_spans holds {span!r}, not [first, last]; mend the file.")
            first, last = span  # inclusive
            answers.append(checked_answer(context, context[first : last + 1], first, where))
    return answers


def _locate_answer(context: str, text: str) -> Answer:
    start = context.find(text)
    return Answer(text, start if start >= 0 else None)


def _list_field(record: Mapping[str, Any], name: str, where: str) -> list[Any]:
    return json_field(record, name, list, where) if name in record else []
