"""Questions as rows ``[CLS] question [SEP] window of the context [SEP]``, and back to characters of the context."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from electra_jax.config.tasks import QuestionAnsweringConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import QuestionExample, Rows
from electra_jax.tokenizers.protocol import Tokenizer

SPECIAL_TOKENS = 3  # [CLS] and two [SEP]


@dataclass(frozen=True)
class ContextWindow:
    """The part of a context that a row holds.

    Attributes:
        first: number of its first token, counted in the context.
        position: position of that token in the row.
        offsets: int ``[tokens, 2]``, the characters of the context that each token covers.
        max_context: bool ``[tokens]``, true where no other window has more context around the token. Every token of a
            context has exactly one such window, and answers may begin only there.
    """

    first: int
    position: int
    offsets: np.ndarray
    max_context: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters that the tokens at the row's positions ``start`` … ``end`` cover.

        Returns:
            The first character, and the one after the last.
        """
        part = self.offsets[start - self.position : end - self.position + 1]
        # Minimum and maximum, since a tokenizer may reorder combining characters.
        return int(part[:, 0].min()), int(part[:, 1].max())


def check_question_fits(name: str, max_length: int, max_question_tokens: int) -> None:
    """Refuse rows in which the longest question would leave no room for its context.

    Raises:
        UserError: rows are too short.
    """
    if max_length < max_question_tokens + SPECIAL_TOKENS + 1:
        raise UserError(
            f"finetune.tasks.{name}: rows of data.sequence_length={max_length} have no room for a context beside a "
            f"question of max_question_tokens={max_question_tokens}: lower max_question_tokens, or raise the length to "
            f"at least {max_question_tokens + SPECIAL_TOKENS + 1}"
        )


def window_step(room: int, stride: int, max_answer_tokens: int) -> int:
    """Return how many tokens windows of ``room`` tokens move by: ``stride``, or less so that they overlap.

    The reference moves short windows (fewer than 157 tokens, by its defaults) so far that an answer between two of them
    is in neither. Here every answer of up to ``max_answer_tokens`` is whole in some window, or if windows are shorter
    than two such answers, every answer of up to half a window.
    """
    return min(stride, max(room - max_answer_tokens + 1, (room + 1) // 2))


def window_starts(num_tokens: int, room: int, step: int) -> list[int]:
    """Return the first token of each window; the last window ends with the context.

    A context without tokens has one window.
    """
    starts = [0]
    while starts[-1] + room < num_tokens:
        starts.append(starts[-1] + min(room, step))
    return starts


def max_context_windows(starts: Sequence[int], num_tokens: int, room: int) -> np.ndarray:
    """Return for each token of a context the number of the window with most context around it; int ``[tokens]``.

    That is the largest min(tokens to its left, to its right) + 0.01 · tokens of the window, as in the official script;
    of equal ones the first.
    """
    best = np.full(num_tokens, -np.inf)
    window = np.zeros(num_tokens, np.int32)
    for number, start in enumerate(starts):
        length = min(room, num_tokens - start)
        left = np.arange(length)
        score = np.minimum(left, length - 1 - left) + 0.01 * length
        part = slice(start, start + length)
        better = score > best[part]
        best[part][better] = score[better]
        window[part][better] = number
    return window


def answer_char_span(example: QuestionExample, where: str) -> tuple[int, int]:
    """Return the first character of the first answer, and the one after its last.

    An answer that is not at its stated position is taken from the nearest place where it occurs.

    Raises:
        UserError: there is no such text in the context; ``where`` begins the message.
    """
    answer = example.answers[0]
    begin = stated = answer.start or 0
    if not example.context.startswith(answer.text, begin):
        before = example.context.rfind(answer.text, 0, begin + len(answer.text))
        after = example.context.find(answer.text, begin)
        places = [place for place in (before, after) if place >= 0]
        if not places or not answer.text:
            raise UserError(
                f"{where}: the answer {answer.text!r} of question {example.id!r} is not in its context; mend it, or "
                "leave the question out"
            )
        begin = min(places, key=lambda place: abs(place - stated))
    return begin, begin + len(answer.text)


def answer_token_span(offsets: np.ndarray, begin: int, end: int) -> tuple[int, int] | None:
    """Return the first and last token that overlap the characters ``begin`` … ``end`` - 1; None where none does.

    An answer that begins or ends inside a token gets the whole token.
    """
    overlapping = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > begin))
    return (int(overlapping[0]), int(overlapping[-1])) if len(overlapping) else None


def question_rows(
    examples: Sequence[QuestionExample],
    tokenizer: Tokenizer,
    *,
    name: str,
    config: QuestionAnsweringConfig,
    max_length: int,
    training: bool,
    reference_quirks: bool = False,
) -> Rows:
    """Encode all windows of all questions, in order; ``details`` has a `ContextWindow` per row.

    With ``training`` there are three targets ``[rows]``: int32 ``start`` and ``end``, the positions of the first answer
    in the row, or 0 (that of [CLS]) where the window does not hold all of it or there is none; float32
    ``is_impossible``, 1.0 for those rows.

    Args:
        examples: the questions.
        tokenizer: encodes contexts and questions.
        name: of the task, for messages.
        config: its section of the configuration, for the lengths.
        max_length: of a row, in tokens.
        training: whether to make targets.
        reference_quirks: do as the original: windows move by ``stride`` whatever their length, and ``is_impossible`` is
            that of the question even in windows without the answer, whose start and end say that there is none.

    Raises:
        UserError: no room for a context; with ``training``, an answer that is hidden, is not in its context, or of
            which the tokenizer keeps nothing.
    """
    check_question_fits(name, max_length, config.max_question_tokens)

    @cache  # a context has several questions
    def encoded(context: str) -> tuple[list[int], np.ndarray]:
        encoding = tokenizer.encode_with_offsets(context)
        return encoding.ids, np.array(encoding.offsets, np.int32).reshape(-1, 2)

    questions = tokenizer.encode_batch([example.question for example in examples])
    input_ids, types, numbers, windows = [], [], [], []
    targets: list[tuple[int, int, float]] = []
    for number, (example, tokens) in enumerate(zip(examples, questions, strict=True)):
        question = [tokenizer.cls_id, *tokens[: config.max_question_tokens], tokenizer.sep_id]
        ids, offsets = encoded(example.context)
        room = max_length - len(question) - 1
        step = config.stride
        if not reference_quirks:
            step = window_step(room, step, config.max_answer_tokens)
        starts = window_starts(len(ids), room, step)
        best = max_context_windows(starts, len(ids), room)
        answer = _answer(example, offsets, name) if training else None
        for place, first in enumerate(starts):
            part = slice(first, first + room)
            row = np.array([*question, *ids[part], tokenizer.sep_id], np.int32)
            input_ids.append(row)
            types.append((np.arange(len(row)) >= len(question)).astype(np.int32))
            numbers.append(number)
            windows.append(ContextWindow(first, len(question), offsets[part], best[part] == place))
            start = end = 0
            if answer is not None and first <= answer[0] and answer[1] < first + room:
                start, end = (token - first + len(question) for token in answer)
            impossible = answer is None if reference_quirks else start == 0
            targets.append((start, end, float(impossible)))
    columns = np.array(targets, np.float64).reshape(-1, 3)
    named = {
        "start": columns[:, 0].astype(np.int32),
        "end": columns[:, 1].astype(np.int32),
        "is_impossible": columns[:, 2].astype(np.float32),
    }
    return Rows(input_ids, types, named if training else {}, np.array(numbers, np.int32), windows)


def _answer(example: QuestionExample, offsets: np.ndarray, name: str) -> tuple[int, int] | None:
    """Return the first and last token of the answer to train on; None for a question without one."""
    where = f"finetune.tasks.{name}"
    if example.hidden:
        raise UserError(
            f"{where}: the answer of question {example.id!r} is hidden, so it cannot be trained on"
        )
    if not example.answers:
        return None
    tokens = answer_token_span(offsets, *answer_char_span(example, where))
    if tokens is None:
        raise UserError(
            f"{where}: the tokenizer keeps nothing of the answer {example.answers[0].text!r} of question "
            f"{example.id!r}; leave the question out"
        )
    return tokens
