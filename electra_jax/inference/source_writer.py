"""Texts for sources: a fine-tuned model whose task writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from electra_jax.config.generation import GenerationConfig
from electra_jax.config.schema import Config
from electra_jax.errors import UserError, listed
from electra_jax.generation.settings import check_vocabulary, resolve_method, texts_per_prompt
from electra_jax.generation.written import Generation
from electra_jax.inference.records import Record
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import RetrievedExample, Seq2SeqExample
from electra_jax.tasks.retrieved_texts import source_room
from electra_jax.tasks.seq2seq import Seq2SeqTask
from electra_jax.tasks.sources.retrieved import retrieved_text

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


# A text that is read, or that with what was retrieved for it.
Source = str | tuple[str, str]


def text_of_source(source: Source) -> str:
    """Return what is read of a source, without what was retrieved for it."""
    return source if isinstance(source, str) else source[0]


def example_of(name: str, source: Source, task: Seq2SeqTask) -> Seq2SeqExample:
    """Return a source as a task reads it: what was retrieved for it is left out where the task does not know that."""
    if isinstance(source, str) or task.config.retrieval is None:
        return Seq2SeqExample(name, text_of_source(source))
    return RetrievedExample(name, source[0], None, source[1])


def source_of(example: Seq2SeqExample) -> Source:
    """Return the source of an example, with what was retrieved for it."""
    found = retrieved_for(example)
    return example.source if found is None else (example.source, found)


def retrieved_for(example: Seq2SeqExample) -> str | None:
    """Return what was retrieved for an example; None where nothing was."""
    return example.retrieved if isinstance(example, RetrievedExample) else None


def writing_tasks(config: Config) -> list[str]:
    """Return the names of the tasks that write."""
    return [name for name, task in config.finetune.tasks.items() if task.kind == "seq2seq"]


def named_task(model: Model, name: str | None) -> Seq2SeqTask:
    """Return the task that writes, or the one of that name where there are several.

    Raises:
        UserError: no such task, or several and no name.
    """
    there = writing_tasks(model.config)
    if name is None and len(there) == 1:
        name = there[0]
    if name not in there:
        wanted = f"no task {name!r} that writes" if name else "several tasks that write"
        raise UserError(f"the model has {wanted}: name one of {listed(there)}")
    task = model.tasks[name]
    assert isinstance(task, Seq2SeqTask)
    return task


class SourceWriter:
    """A task that writes, with settings to write by.

    Attributes:
        config: the settings.
        texts_per_prompt: how many each source gets.
    """

    def __init__(self, model: Model, config: GenerationConfig, name: str | None = None):
        task = named_task(model, name)
        check_vocabulary(config, model.tokenizer)
        self._model, self.config = model, config
        self._task = replace(task, generation=config)
        self.texts_per_prompt = texts_per_prompt(config, resolve_method(config, is_pair=False))

    @property
    def retrieves(self) -> bool:
        """Whether the task reads what was retrieved for a source."""
        return self._task.config.retrieval is not None

    def prompt_of(self, record: Record, text: str) -> Source:
        """Return a source that a record holds, with what was retrieved for it, where the task reads that.

        Raises:
            UserError: as `prompt`; what was retrieved is no text.
        """
        retrieval = self._task.config.retrieval
        found = None if retrieval is None else retrieved_text(record.fields, retrieval.column, record.where)
        return self.prompt(text, record.where, found)

    def prompt(self, text: str, where: str, retrieved: str | None = None) -> Source:
        """Return a source as `write` takes it.

        Raises:
            UserError: it is too long, with ``long: error``; ``where`` begins the message.
        """
        task = self._task
        room = source_room(task.config, task.max_length)
        if task.config.long == "error":
            count = len(self._model.tokenizer.encode(task.config.prefix + text))
            if count > room:
                raise UserError(
                    f"{where}: the text has {count:,} tokens, and {room:,} can be read: shorten it"
                )
        return text if retrieved is None else (text, retrieved)

    def write(
        self,
        sources: Sequence[Source],
        numbers: Sequence[int] | None = None,
        done: Callable[[int], Any] = lambda count: None,
        most_rows: int | None = None,
    ) -> list[list[Generation]]:
        """Return the texts for each source.

        Args:
            sources: the texts that are read, or pairs of them with what was retrieved for each.
            numbers: of each, increasing, from which its random numbers follow; None: from 0 on.
            done: called with the number of sources that are finished.
            most_rows: of a batch; None: as many as are efficient where there are many sources.

        Raises:
            UserError: a source that is too long, with ``long: error``.
        """
        task = self._task
        numbers = range(len(sources)) if numbers is None else numbers
        examples = [
            example_of(str(number), source, task) for number, source in zip(numbers, sources, strict=True)
        ]
        rows = task.encode(examples, training=False)
        numbered = replace(rows, example_index=np.array(numbers, np.int32)[rows.example_index])
        outputs = self._model._run(
            f"task {task.name} {self.config.model_dump_json()}",
            FineTuning(self._model._network, {task.name: task}, {}).outputs,
            numbered,
            task.name,
            most_rows=most_rows,
        )
        found = task.texts(len(examples), rows, outputs)
        done(len(sources))
        return found

    def stream(self, source: str) -> Iterator[str]:
        """Refuse: a text for a source is written as a whole.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a text for a source is written as a whole and cannot be streamed: leave --stream out, or call generate"
        )
