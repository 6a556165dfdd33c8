"""Questions and answers: SQuAD's JSON, versions 1.1 and 2.0, and MRQA's JSON lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Answer, QuestionExample
from electra_jax.tasks.sources.files import json_field, json_object, listed, read_json, read_json_lines


def read_squad(path: Path, *, may_be_hidden: bool = False) -> list[QuestionExample]:
    """The questions of a SQuAD file, with every gold answer; one that is impossible has none.

    Args:
        path: of the file.
        may_be_hidden: whether questions without a field ``answers`` are allowed: their answers are hidden.

    Raises:
        UserError: as `read_json`; something is missing or of another type; an answer begins outside its context.
    """
    content = json_object(read_json(path), str(path))
    examples = []
    for a, article in enumerate(json_field(content, "data", list, str(path))):
        place = f"{path}: data[{a}]"
        for p, paragraph in enumerate(json_field(json_object(article, place), "paragraphs", list, place)):
            place = f"{path}: data[{a}].paragraphs[{p}]"
            context = json_field(json_object(paragraph, place), "context", str, place)
            for q, record in enumerate(json_field(paragraph, "qas", list, place)):
                place = f"{path}: data[{a}].paragraphs[{p}].qas[{q}]"
                examples.append(_squad_question(json_object(record, place), context, may_be_hidden, place))
    return examples


def _squad_question(
    record: Mapping[str, Any], context: str, may_be_hidden: bool, where: str
) -> QuestionExample:
    name, question = json_field(record, "id", str, where), json_field(record, "question", str, where)
    if record.get("is_impossible", False):
        return QuestionExample(name, question, context)
    if "answers" not in record and may_be_hidden:
        return QuestionExample(name, question, context, hidden=True)
    answers = tuple(
        answer_in(
            context,
            json_field(json_object(answer, where), "text", str, where),
            json_field(answer, "answer_start", int, where),
            where,
        )
        for answer in json_field(record, "answers", list, where)
    )
    return QuestionExample(name, question, context, answers)


def answer_in(context: str, text: str, start: int, where: str) -> Answer:
    """An answer, if it is not empty and begins in the context.

    Raises:
        UserError: it does not; ``where`` begins the message.
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


def read_mrqa(path: Path, *, may_be_hidden: bool = False) -> list[QuestionExample]:
    """The questions of an MRQA file: after a header, one context with its ``qas`` a line.

    Answers are every detected span, then those of ``answers`` that are in the context word for word and were not
    detected. The rest of ``answers`` has no place in the context and is left out.

    Args:
        path: of the file.
        may_be_hidden: whether questions with neither answers nor detected answers are allowed.

    Raises:
        UserError: as `read_json_lines`; something is missing or of another type; no answer is in the context.
    """
    examples = []
    for number, record in read_json_lines(path):
        where = f"{path}, line {number}"
        if "header" in record and "context" not in record:
            continue
        if "context" not in record or "qas" not in record:
            raise UserError(
                f"{where} is not in MRQA's format: it has {listed(record)}, not 'context' and 'qas'; "
                "give SQuAD's format as .json, or mend the file."
            )
        context = json_field(record, "context", str, where)
        for q, question in enumerate(json_field(record, "qas", list, where)):
            place = f"{where}: qas[{q}]"
            examples.append(_mrqa_question(json_object(question, place), context, may_be_hidden, place))
    return examples


def _mrqa_question(
    record: Mapping[str, Any], context: str, may_be_hidden: bool, where: str
) -> QuestionExample:
    name = json_field(record, "qid" if "qid" in record else "id", str, where)
    question = json_field(record, "question", str, where)
    if "answers" not in record and "detected_answers" not in record:
        if may_be_hidden:
            return QuestionExample(name, question, context, hidden=True)
        raise UserError(
            f"{where} has neither 'answers' nor 'detected_answers'; training and evaluation need them."
        )
    answers = []
    for detected in _list(record, "detected_answers", where):
        for span in json_field(json_object(detected, where), "char_spans", list, where):
            if not (isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)):
                raise UserError(f"{where}: char_spans holds {span!r}, not [first, last]; mend the file.")
            first, last = span  # Both belong to the answer.
            answers.append(answer_in(context, context[first : last + 1], first, where))
    texts = {answer.text for answer in answers}
    for text in _list(record, "answers", where):
        if not isinstance(text, str):
            raise UserError(f"{where}: answers holds {text!r}, which is not text; mend the file.")
        if text and text not in texts and (start := context.find(text)) >= 0:
            answers.append(Answer(text, start))
    if not answers:
        raise UserError(f"{where}: none of the answers is in the context; leave the question out.")
    return QuestionExample(name, question, context, tuple(answers))


def _list(record: Mapping[str, Any], name: str, where: str) -> list[Any]:
    return json_field(record, name, list, where) if name in record else []
