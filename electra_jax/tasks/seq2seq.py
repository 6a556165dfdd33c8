"""Writing a text for a text: a decoder as the head of an encoder, in training and in evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.generation import GenerationConfig
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.generation.settings import build_filters, end_ids, resolve_method
from electra_jax.generation.stream import TextStream
from electra_jax.generation.whole_texts import decoding_rule, write_whole
from electra_jax.generation.written import Finish, Generation
from electra_jax.model.text_decoder import TextDecoder
from electra_jax.tasks.copyable import copyable
from electra_jax.tasks.measures import Measure
from electra_jax.tasks.protocol import (
    NO_TARGET,
    RetrievedExample,
    Rows,
    Seq2SeqExample,
    SummedLoss,
    TaskBatch,
    TunedTask,
)
from electra_jax.tasks.seq2seq_rows import SourceRow, seq2seq_rows
from electra_jax.tasks.text_metrics import signatures, text_measures, text_scores
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.text_ids import text_ids


@dataclass(frozen=True)
class Seq2SeqTask:
    """Translation, summaries, headlines: whatever is written for a text; implements `Task`.

    Attributes:
        name: of the task.
        config: its section.
        generation: how texts are written.
        tokenizer: of sources and targets.
        max_length: of a source, in tokens.
        max_target_length: of a target in training, in tokens.
        max_positions: of a text, in tokens.
        metrics: by name; the first selects checkpoints and seeds.
        network: makes the decoder.
        kind: "seq2seq".
        labels: none.
        f1_of: None.
    """

    name: str
    config: Seq2SeqConfig
    generation: GenerationConfig
    tokenizer: Tokenizer
    max_length: int
    max_target_length: int
    max_positions: int
    metrics: tuple[str, ...]
    network: Callable[[], TextDecoder]
    kind: str = "seq2seq"
    labels: tuple[()] = ()
    f1_of: None = None

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints and seeds."""
        return self.metrics[0]

    @property
    def shares(self) -> tuple[tuple[str, str], ...]:
        """The encoder's embeddings, and with ``decoder.sharing=all`` its layers."""
        embeddings = ("embeddings", "embeddings")
        return (embeddings, ("decoder", "encoder")) if self.config.decoder.sharing == "all" else (embeddings,)

    def encode(self, examples: Sequence[Seq2SeqExample], *, training: bool) -> Rows:
        """Encode examples; see `seq2seq_rows`.

        Raises:
            UserError: hidden targets in training; a source that is too long, with ``long: error``.
        """
        return seq2seq_rows(
            self.name,
            self.config,
            self.tokenizer,
            examples,
            (self.max_length, self.max_target_length),
            training=training,
        )

    def head(self) -> TextDecoder:
        """Return the decoder."""
        return self.network()

    def loss(self, head: TextDecoder, hidden: Array, batch: TaskBatch, rng: Array | None) -> SummedLoss:
        """Return Σ over tokens of the smoothed cross-entropy, and of each row the mean of the plain one.

        With the rows' numbers of tokens as weights, what is trained on is a mean over the tokens of the whole batch.
        """
        targets = batch.targets["target_ids"]
        is_token = targets != NO_TARGET
        targets = jnp.where(is_token, targets, self.tokenizer.pad_id)
        start = jnp.full_like(targets[:, :1], self.tokenizer.cls_id)
        read = jnp.concatenate([start, targets[:, :-1]], axis=1)
        smoothing = unlikelihood = 0.0
        if rng is not None:
            smoothing, unlikelihood = self.config.label_smoothing, self.config.unlikelihood
            rng, word_rng = jax.random.split(rng)
            if self.config.word_dropout:
                dropped = jax.random.bernoulli(word_rng, self.config.word_dropout, read.shape)
                read = jnp.where(dropped.at[:, 0].set(False), self.tokenizer.mask_id, read)
        weights = is_token.astype(jnp.float32)
        source = head.source(hidden, batch.inputs.segment_ids, copyable(batch, self.tokenizer))
        total, nll = head.losses(source, read, targets, weights, smoothing, rng, unlikelihood)
        return SummedLoss(total, (nll * weights).sum(axis=1) / jnp.maximum(batch.weights, 1.0))

    def outputs(self, head: TextDecoder, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Write, as the section ``generation`` says; return the fields of `WholeTexts`."""
        # Of its own, since a bound module cannot be called in a loop.
        network, params = self.network(), {"params": head.variables["params"]}
        slots = min(self.generation.max_new_tokens, self.max_positions - 1)
        tokens = copyable(batch, self.tokenizer)
        source: Any = network.apply(params, hidden, batch.inputs.segment_ids, tokens, method="source")
        kept: Any = network.apply(params, source, method="read_source")
        prompts = jnp.full((hidden.shape[0], 1), self.tokenizer.cls_id, jnp.int32)
        lengths = jnp.ones(hidden.shape[0], jnp.int32)
        rule = decoding_rule(self.generation, self.tokenizer)
        room = 1 if rule.method == "beam" else 1 + slots  # beams make room for themselves
        logits, cache = network.apply(params, prompts, lengths, room, kept, method="prefill")

        def step(cache: Any, tokens: Array) -> Any:
            return network.apply(params, cache, tokens, kept, method="step")

        # Rows that only fill a batch write nothing, which could take long.
        limits = jnp.where(batch.weights > 0, slots, 0).astype(jnp.int32)
        allowed = text_ids(self.tokenizer, network.config.embeddings.vocab_rows)
        filters = build_filters(self.generation, self.tokenizer, allowed)
        # The source itself, and not what was retrieved for it, whose tokens are of the second type.
        given = jnp.where(batch.inputs.token_type_ids == 0, tokens, -1)
        numbers = batch.numbers
        found = write_whole(logits, cache, prompts, limits, numbers, slots, step, filters, rule, given)
        return {field.name: getattr(found, field.name) for field in fields(found)}

    def predictions(
        self, examples: Sequence[Seq2SeqExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``text``, its ``score`` and ``finish`` of each example, ``others`` where several are wanted.

        Where not all of the source was read, there are ``truncated`` and ``source_tokens_cut``.
        """
        found = self.texts(len(examples), rows, outputs)
        return [
            {"id": example.id, **prediction_of(texts)} for example, texts in zip(examples, found, strict=True)
        ]

    def texts(self, count: int, rows: Rows, outputs: Mapping[str, np.ndarray]) -> list[list[Generation]]:
        """Return the texts of each of ``count`` examples, the best first.

        Those of the chunks of a source are put one after the other.
        """
        ends = frozenset(end_ids(self.generation, self.tokenizer))
        chunks: list[list[list[Generation]]] = [[] for _ in range(count)]
        for row, (owner, detail) in enumerate(zip(rows.example_index, rows.details, strict=True)):
            written = outputs["written"][row]
            # The first is there whatever was written.
            some = [number for number in range(len(written)) if written[number] or not number]
            chunks[owner].append([self._text(row, number, outputs, detail, ends) for number in some])
        return [
            [_joined([texts[n] for texts in of_one]) for n in range(min(map(len, of_one)))]
            for of_one in chunks
        ]

    def _text(
        self,
        row: int,
        number: int,
        outputs: Mapping[str, np.ndarray],
        detail: SourceRow,
        ends: frozenset[int],
    ) -> Generation:
        count = int(outputs["written"][row, number])
        ids = outputs["tokens"][row, number, :count].tolist()
        ended = bool(ids) and ids[-1] in ends
        stream = TextStream(self.tokenizer.detokenize, self.generation.stop_strings)
        stream.add(ids)  # an end that is text is part of it; [SEP] has none
        finish: Finish = "stop" if stream.stopped else "end" if ended else "length"
        ids = stream.ids if stream.stopped else ids
        log_probs = outputs["log_probs"][row, number, : len(ids)].tolist()
        score = float(outputs["scores"][row, number])
        if stream.stopped and resolve_method(self.generation, is_pair=False) != "beam":
            score = sum(log_probs)
        return Generation(stream.text.strip(), score, tuple(ids), tuple(log_probs), finish, detail.cut)

    def score(
        self, examples: Sequence[Seq2SeqExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return the metrics of the texts; see `text_scores`."""
        return text_scores(*_compared(examples, predictions), self.metrics, self.config.language)

    def measures(
        self,
        examples: Sequence[Seq2SeqExample],
        predictions: Sequence[Mapping[str, Any]],
        names: Sequence[str],
    ) -> dict[str, Measure]:
        """Return those of the task's metrics that are among ``names``; see `text_measures`."""
        known = [name for name in names if name in self.metrics]
        return text_measures(*_compared(examples, predictions), known, self.config.language)

    def signatures(self, examples: Sequence[Seq2SeqExample]) -> dict[str, str]:
        """Return by metric how it is computed, as sacrebleu writes it, for those that are a library's."""
        references = [example.targets or () for example in examples]
        return signatures(self.metrics, references, self.config.language)

    def tune(self, dev: Sequence[Seq2SeqExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task as it is: nothing is tuned on the dev examples."""
        del dev, predictions
        return TunedTask(self)


def _compared(
    examples: Sequence[Seq2SeqExample], predictions: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[tuple[str, ...]], list[str]]:
    """Return what was written, the references, and what may be copied: the sources, or what was retrieved for them."""
    references = [example.targets for example in examples if example.targets is not None]
    if len(references) != len(examples):
        raise ValueError("targets that are hidden cannot be compared with")
    texts = [str(prediction["text"]) for prediction in predictions]
    sources = [e.retrieved or "" if isinstance(e, RetrievedExample) else e.source for e in examples]
    return texts, references, sources


def prediction_of(texts: Sequence[Generation]) -> dict[str, Any]:
    """Return the texts of an example as they are written to files."""
    first, *others = map(_as_written, texts)
    cut = texts[0].source_tokens_cut
    return {
        **first,
        **({"truncated": True, "source_tokens_cut": cut} if cut else {}),
        **({"others": others} if others else {}),
    }


def _as_written(text: Generation) -> dict[str, Any]:
    """Return a text for a file; a score that is no number is null in it."""

    def number(score: float) -> float | None:
        return score if math.isfinite(score) else None

    by_judge = {} if text.scores is None else {name: number(score) for name, score in text.scores.items()}
    scores = {"scores": by_judge} if by_judge else {}
    return {"text": text.text, "score": number(text.score), "finish": text.finish, **scores}


def _joined(chunks: Sequence[Generation]) -> Generation:
    """Return the texts of the chunks of a source as one."""
    if len(chunks) == 1:
        return chunks[0]
    return Generation(
        " ".join(chunk.text for chunk in chunks if chunk.text),
        sum(chunk.score for chunk in chunks),
        tuple(id for chunk in chunks for id in chunk.tokens),
        tuple(value for chunk in chunks for value in chunk.log_probs),
        chunks[-1].finish,
        chunks[-1].source_tokens_cut,
    )
