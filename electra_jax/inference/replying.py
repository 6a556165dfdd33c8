"""What is read of a conversation, and replies that a model writes for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from electra_jax.config.generation import GenerationConfig
from electra_jax.dialogue.turns import ME, YOU, Turn, last, reply_text, turns_text
from electra_jax.errors import UserError
from electra_jax.generation.settings import check_stop_strings, resolve_method
from electra_jax.generation.written import Generation
from electra_jax.inference.reranking import Reranker, number_or_none, writer_of_several
from electra_jax.inference.writer import Writer
from electra_jax.inference.writing import build_writer
from electra_jax.tasks.retrieved_texts import source_room
from electra_jax.tasks.seq2seq import Seq2SeqTask
from electra_jax.tokenizers import Tokenizer

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Proposals of a reply that are kept, the first ones.
KEPT = 5

Marks = Literal["sides", "names", "none", "plain"]


@dataclass(frozen=True)
class Proposal:
    """A text that a reply may be.

    Attributes:
        text: it.
        score: the larger, the better: of the ranker; of what was written log p, or what beams are ranked by.
        number: of a candidate, its place among those given, from 0; None: it was written.
        judged: of texts that were reranked, what each judge says; None: nothing.
    """

    text: str
    score: float
    number: int | None = None
    judged: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class Reply:
    """What a model replies.

    Attributes:
        text: it.
        proposals: of what it was chosen from, the reply itself first: the best, or of texts that were drawn and not
            judged the first.
        compared: how many there were.
        turns_read: how many of the last turns were read.
        truncated: whether part of the last turn, or of a candidate that is read with it, was not read.
        retrieved: the best of the candidates, of which the first was read by the task that wrote.
        drawn: whether the proposals are in the order of drawing, and not the best first.
    """

    text: str
    proposals: tuple[Proposal, ...]
    compared: int
    turns_read: int
    truncated: bool = False
    retrieved: tuple[Proposal, ...] = ()
    drawn: bool = False


class Retriever(Protocol):
    """What finds candidates for turns."""

    def find(self, turns: Sequence[Turn]) -> tuple[Proposal, ...]:
        """Return the best candidates that were not said in the conversation, the best first."""
        ...


class Replier(Protocol):
    """What replies in a conversation."""

    def reply(self, turns: Sequence[Turn]) -> Reply:
        """Return what the one who did not speak last replies."""
        ...


@dataclass(frozen=True)
class Reading:
    """How turns become the text that a model reads.

    Attributes:
        marks: of who speaks, as `turns_text` has them; ``plain``: none, what was said is a line.
        history: most turns, the last ones; None: as many as fit.
        begins_reply: whether the text ends with the mark of who replies, so that a language model goes on from it.
    """

    marks: Marks = "sides"
    history: int | None = None
    begins_reply: bool = False

    def read(
        self, turns: Sequence[Turn], room: int, length: Callable[[str], int]
    ) -> tuple[str, Sequence[Turn]]:
        """Return the text of the last turns that fit, and these; the last turn is there in any case.

        Args:
            turns: of the conversation.
            room: for their text.
            length: of a text.
        """
        turns = last(turns, self.history)
        replier = "B" if turns[-1].speaker == "A" else "A"
        text, kept = self._text(turns[-1:], replier), turns[-1:]
        for start in range(len(turns) - 2, -1, -1):
            longer = self._text(turns[start:], replier)
            if length(longer) > room:
                break
            text, kept = longer, turns[start:]
        return text, kept

    def _text(self, turns: Sequence[Turn], replier: str) -> str:
        if self.marks == "plain":
            return "\n".join(map(reply_text, turns))
        text = turns_text(turns, replier, self.marks)
        if self.begins_reply and self.marks != "names":  # which names who replies itself
            text += f"\n{ME}:" if self.marks == "sides" else "\n-"
        return text


class TurnWriter:
    """Replies that a model writes: a language model goes on from the turns, a task of kind seq2seq reads them."""

    def __init__(
        self,
        model: Model,
        task: str | None,
        settings: GenerationConfig,
        reading: Reading,
        retriever: Retriever | None = None,
        reranker: Reranker | None = None,
    ):
        """Prepare to write.

        Args:
            model: that writes.
            task: of kind seq2seq; None: the model is a causal language model.
            settings: to write by.
            reading: of the turns.
            retriever: finds what the task reads behind the turns; None: it reads these alone.
            reranker: says which of several texts is the reply; None: the first.

        Raises:
            UserError: a setting that does not fit, or a reranker for one text or for a model that writes on.
        """
        self._reading, self._tokenizer, self._before = reading, model.tokenizer, ""
        self._retriever, self._reranker = retriever, reranker
        if task is None:
            settings = settings.model_copy(
                update={"stop_strings": turn_stops(reading.marks, settings, self._tokenizer)}
            )
        self._drawn = reranker is None and resolve_method(settings, is_pair=False) == "sample"
        self._writer = build_writer(model, settings, task)
        if reranker is not None:
            writer_of_several(self._writer)
        if isinstance(self._writer, Writer):  # what is read and what is written share the positions
            room = self._writer.room - 1
            self._room = max(room - settings.max_new_tokens, room // 2)
        else:
            known = model.tasks[task or ""]
            assert isinstance(known, Seq2SeqTask)
            self._room, self._before = source_room(known.config, known.max_length), known.config.prefix

    def reply(self, turns: Sequence[Turn]) -> Reply:
        """Return what the model writes; what is drawn differs from turn to turn."""
        text, read = self._reading.read(
            turns, self._room, lambda text: _count(self._tokenizer, self._before + text)
        )
        retrieved = () if self._retriever is None else self._retriever.find(turns)
        first = retrieved[0].text if retrieved else None
        found = self._write(text, first, len(turns))
        if self._reranker is not None:
            (found,) = self._reranker.reorder([text if first is None else (text, first)], [found])
        proposals = tuple(map(_proposal, found))
        cut = bool(found[0].source_tokens_cut)
        kept, compared = proposals[:KEPT], len(proposals)
        return Reply(proposals[0].text, kept, compared, len(read), cut, retrieved, self._drawn)

    def _write(self, text: str, retrieved: str | None, number: int) -> list[Generation]:
        writer, what = self._writer, "the last turn"
        if isinstance(writer, Writer):
            return writer.write([writer.prompt(text, what)], [number])[0]
        return writer.write([writer.prompt(text, what, retrieved)], [number], most_rows=1)[0]


def _proposal(written: Generation) -> Proposal:
    judged: dict[str, float | None] | None = None
    if written.scores is not None:
        judged = {name: number_or_none(score) for name, score in written.scores.items()}
    return Proposal(written.text.strip(), written.score, judged=judged)


def _count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text))


def turn_stops(marks: Marks, settings: GenerationConfig, tokenizer: Tokenizer) -> list[str]:
    """Return the user's stop strings, and those of a language model: where it would write the next turn, too.

    Of the latter those that the vocabulary can write, as it writes them: where it has no newlines, the marks alone tell
    turns apart.
    """
    marked = {"sides": (f" {YOU}:", f" {ME}:"), "names": (" A:", " B:")}.get(marks, ())
    found = list(settings.stop_strings)
    for stop in ("\n", *(_as_written(mark, tokenizer) for mark in marked)):
        try:
            check_stop_strings(settings.model_copy(update={"stop_strings": [stop]}), tokenizer)
        except UserError:
            continue
        found.append(stop)
    return found


def _as_written(mark: str, tokenizer: Tokenizer) -> str:
    """Return the mark of a speaker, with a blank before it, in lower case where the vocabulary has no capitals."""
    ids = tokenizer.encode(mark)
    written = tokenizer.detokenize(ids).strip()
    return f" {written}" if written and tokenizer.unk_id not in ids else mark
