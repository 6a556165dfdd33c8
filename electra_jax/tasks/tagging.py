"""Tagging: a label for every word, possibly as spans of words (google-research/electra, finetune/tagging)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.task_heads import HeadStyle, TaggingHead
from electra_jax.tasks.losses import in_range, tagging_loss
from electra_jax.tasks.measures import Measure, of_sums
from electra_jax.tasks.metrics import (
    METRICS,
    accuracy,
    check_metric,
    entity_counts,
    entity_figures,
    entity_scores,
)
from electra_jax.tasks.protocol import NO_TARGET, Rows, TaskBatch, TunedTask, WordsExample
from electra_jax.tasks.tag_detection import DetectedTags, detect_tags
from electra_jax.tasks.tag_schemes import (
    OUTSIDE,
    STANDARD,
    Scheme,
    Span,
    Spelling,
    convert_tags,
    entity_types,
    scheme_labels,
    spans_to_tags,
    tags_to_spans,
)
from electra_jax.tasks.word_windows import WordWindow, word_windows
from electra_jax.tokenizers.protocol import Tokenizer


@dataclass(frozen=True)
class TaggingTask:
    """Tagging of spans (named entities, chunks) or with plain labels (parts of speech); implements `Task`.

    A word's label is that of its first wordpiece. Spans are predicted in the scheme of the files; inconsistent
    predictions are read as conlleval reads them.

    Attributes:
        name: of the task.
        file_labels: the tags of the training files; for spans only their types matter.
        scheme: of the files, and so of the predictions; "plain" for labels that are not spans.
        spelling: how letter and type are joined to a tag in the files.
        tokenizer: encodes the words.
        max_length: of a row, in tokens; longer sentences have several rows.
        head_style: the head of the original, or of Hugging Face's ELECTRA or ModernBERT.
        head_dropout: dropout rate in Hugging Face's heads; the reference's has none.
        dtype: of the head's matrix products.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        layer_norm_epsilon: of ModernBERT's head.
        chosen_metric: the metric that selects checkpoints and seeds; None is f1 for spans, accuracy for plain labels.
        learned_scheme: the scheme of the learned classes, whatever the files have; BIOES as in the reference. "labels"
            takes the labels as they are, for a model that was trained elsewhere; those that are not tags of spans
            count as outside.
        f1_of: None, since F1 is that of all entities.
        shares: nothing: its head reads the encoder's states alone.

    Raises:
        UserError: fewer than two classes; a metric that does not exist.
    """

    name: str
    file_labels: tuple[str, ...]
    scheme: Scheme
    tokenizer: Tokenizer
    max_length: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    initializer_range: float = 0.02
    layer_norm_epsilon: float = 1e-5
    chosen_metric: str | None = None
    spelling: Spelling = STANDARD
    learned_scheme: Scheme | Literal["labels"] = "BIOES"
    kind: str = "tagging"
    f1_of: None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise UserError(
                f"finetune.tasks.{self.name}: there is nothing to learn, since the only tag is "
                f"{', '.join(self.labels) or 'none'}; give examples with at least two"
            )
        check_metric(self.name, self._metrics, self.metric)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: for spans every tag of their types in the learned scheme, else the labels as they are."""
        if self.scheme == "plain" or self.learned_scheme == "labels":
            return self.file_labels
        return scheme_labels(self._types, self.learned_scheme)

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints and seeds."""
        return self.chosen_metric or METRICS[self._metrics][0]

    @property
    def _metrics(self) -> str:
        return "tagging with plain labels" if self.scheme == "plain" else "tagging of spans"

    @property
    def _types(self) -> tuple[str, ...]:
        return entity_types(self.file_labels, self.spelling)

    def encode(self, examples: Sequence[WordsExample], *, training: bool) -> Rows:
        """Encode sentences as ``[CLS] wordpieces [SEP]``, in windows if they are too long.

        ``details`` has a `WordWindow` per row. Words are encoded one by one. A word without wordpieces is [UNK], and
        one that is longer than a row is cut. A sentence without words has no row. The target ``tags`` is the number of
        the class at the first wordpiece of a word that the row decides, and −100 elsewhere; it is there with
        ``training``, or if all sentences have tags.

        Raises:
            UserError: tags that are missing in training, too few or too many, or unknown.
        """
        tagged = training or all(example.tags is not None for example in examples)
        spelling = self._spelling_of(examples)
        numbers = {label: number for number, label in enumerate(self.labels)}
        cls, sep, room = self.tokenizer.cls_id, self.tokenizer.sep_id, self.max_length - 2
        wordpieces = self._wordpieces(examples, room)
        input_ids, targets, owners, details = [], [], [], []
        for owner, example in enumerate(examples):
            if training or example.tags is not None:
                self._check(example, spelling)
            learned = self._to_classes(example, spelling) if tagged else ()
            classes = np.array([numbers[tag] for tag in learned], np.int32)
            pieces = [wordpieces[word] for word in example.words]
            for window in word_windows(np.array([len(some) for some in pieces], int), room):
                window_pieces = pieces[window.first : window.end]
                row = np.array([cls, *(token for some in window_pieces for token in some), sep], np.int32)
                target = np.full(len(row), NO_TARGET, np.int32)
                if tagged:
                    target[window.positions] = classes[window.words]
                input_ids.append(row)
                targets.append(target)
                owners.append(owner)
                details.append(window)
        return Rows(
            input_ids=input_ids,
            token_type_ids=[np.zeros_like(row) for row in input_ids],
            targets={"tags": targets} if tagged else {},
            example_index=np.array(owners, np.int32),
            details=details,
        )

    def _wordpieces(self, examples: Sequence[WordsExample], room: int) -> dict[str, list[int]]:
        words = list(dict.fromkeys(word for example in examples for word in example.words))
        # Where blanks are part of tokens, a word is not the same without the one before it.
        first = self.tokenizer.encode("a")[:1]
        blank = "" if all(self.tokenizer.word_start_table()[first]) else " "
        encoded = self.tokenizer.encode_batch([f"{blank}{word}" for word in words])
        return {word: ids[:room] or [self.tokenizer.unk_id] for word, ids in zip(words, encoded, strict=True)}

    def _spelling_of(self, examples: Sequence[WordsExample]) -> Spelling:
        """Return the spelling of the tags of examples: that of training, or if it does not fit, one that all tags fit.

        The files of other splits may have another scheme, as long as their types are known.
        """
        if self.scheme == "plain":
            return self.spelling
        sentences = [example.tags or () for example in examples]
        if all(self.spelling.split(tag) for tags in sentences for tag in dict.fromkeys(tags)):
            return self.spelling
        found = detect_tags(sentences)
        return found.spelling if found.scheme != "plain" or found.mostly_spans else self.spelling

    def _check(self, example: WordsExample, spelling: Spelling) -> None:
        where = f"finetune.tasks.{self.name}: the example {example.id!r}"
        if example.tags is None:
            raise UserError(f"{where} has no tags to train on; leave it out, or give a tag for every word")
        if len(example.tags) != len(example.words):
            raise UserError(
                f"{where} has {len(example.words)} words and {len(example.tags)} tags; give a tag for every word"
            )
        for tag in dict.fromkeys(example.tags):
            if not self._is_known(tag, spelling):
                raise UserError(
                    f"{where}{_at(example, tag)} has the tag {tag!r}, which is not known; the tags are: "
                    f"{', '.join(self._file_tags)}"
                )

    @property
    def _file_tags(self) -> tuple[str, ...]:
        if self.scheme == "plain":
            return self.file_labels
        return scheme_labels(self._types, self.scheme, self.spelling)

    def _is_known(self, tag: str, spelling: Spelling) -> bool:
        if self.scheme == "plain":
            return tag in self.file_labels
        split = spelling.split(tag)
        return split is not None and (split[0] == OUTSIDE or split[1] in self._types)

    def _to_classes(self, example: WordsExample, spelling: Spelling) -> Sequence[str]:
        """Return the tags of an example as classes."""
        tags = example.tags or ()
        if self.scheme == "plain":
            return tags
        if self.learned_scheme == "labels":
            return convert_tags(tags, self.scheme, read=spelling, write=self.spelling)
        return convert_tags(tags, self.learned_scheme, read=spelling)

    def head(self) -> nn.Module:
        """Return a head with one logit per class for every token."""
        return TaggingHead(
            num_labels=len(self.labels),
            style=self.head_style,
            dtype=self.dtype,
            dropout_rate=self.head_dropout,
            initializer_range=self.initializer_range,
            layer_norm_epsilon=self.layer_norm_epsilon,
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return cross-entropy summed over the words that a row decides, as in the reference; float32 ``[batch]``."""
        tags = batch.targets["tags"]
        return tagging_loss(head(hidden, None, rng), tags, in_range(tags, len(self.labels)))

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return the most likely class of every token and its probability.

        Both are ``[batch, length]``: int32 ``tags`` and float32 ``probability``.
        """
        del batch
        probabilities = jax.nn.softmax(head(hidden, None, None))
        return {
            "tags": jnp.argmax(probabilities, axis=-1).astype(jnp.int32),
            "probability": jnp.max(probabilities, axis=-1),
        }

    def predictions(
        self, examples: Sequence[WordsExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``words``, their ``tags`` and ``probabilities``; for spans ``entities``, too.

        Tags are in the scheme of the files. Probabilities are those of the most likely classes, before inconsistent
        sequences were repaired. An entity has its ``type``, its words ``start`` … ``end`` - 1, and their ``text``.
        """
        classes = [np.zeros(len(example.words), int) for example in examples]
        probabilities = [np.zeros(len(example.words)) for example in examples]
        window: WordWindow
        for row, (owner, window) in enumerate(zip(rows.example_index, rows.details, strict=True)):
            classes[owner][window.words] = outputs["tags"][row, window.positions]
            probabilities[owner][window.words] = outputs["probability"][row, window.positions]
        labels = self.labels
        results = []
        for number, example in enumerate(examples):
            result = {
                "id": example.id,
                "words": list(example.words),
                "tags": [labels[i] for i in classes[number]],
                "probabilities": probabilities[number].tolist(),
            }
            if self.scheme != "plain":
                spans = self._spans(result["tags"])
                result["tags"] = spans_to_tags(spans, len(example.words), self.scheme, self.spelling)
                result["entities"] = [
                    {**span._asdict(), "text": " ".join(example.words[span.start : span.end])}
                    for span in spans
                ]
            results.append(result)
        return results

    def _spans(self, classes: Sequence[str]) -> list[Span]:
        """Return the spans that a sentence's classes spell."""
        if self.learned_scheme != "labels":
            return tags_to_spans(classes)
        known = [tag if self.spelling.split(tag) else self.spelling.outside for tag in classes]
        return tags_to_spans(known, self.spelling)

    def score(
        self, examples: Sequence[WordsExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return `entity_scores` for spans, the accuracy of the labels for plain ones, in percent."""
        gold, predicted = self._compared(examples, predictions)
        if self.scheme == "plain":
            return {"accuracy": accuracy(list(chain(*gold)), list(chain(*predicted)))}
        scores = entity_scores(gold, predicted, self.spelling)
        return {self.metric: scores[self.metric], **scores}

    def measures(
        self,
        examples: Sequence[WordsExample],
        predictions: Sequence[Mapping[str, Any]],
        names: Sequence[str],
    ) -> dict[str, Measure]:
        """Return those of the metrics ``names`` that `score` gives for spans, as measures."""
        if self.scheme == "plain":
            return {}
        counts = entity_counts(*self._compared(examples, predictions), self.spelling)
        known = entity_figures(counts.sum(axis=0))

        def measure(name: str) -> Measure:
            return of_sums(counts, lambda sums: entity_figures(sums)[name])

        return {name: measure(name) for name in names if name in known}

    def _compared(
        self, examples: Sequence[WordsExample], predictions: Sequence[Mapping[str, Any]]
    ) -> tuple[list[list[str]], list[list[str]]]:
        """Return the right tags as predictions are spelled, and the predicted ones."""
        gold = [list(example.tags) for example in examples if example.tags is not None]
        if len(gold) != len(examples):
            raise ValueError("tags that are hidden cannot be compared with")
        predicted = [prediction["tags"] for prediction in predictions]
        if self.scheme == "plain":
            return gold, predicted
        read = self._spelling_of(examples)
        return [convert_tags(tags, self.scheme, read=read, write=self.spelling) for tags in gold], predicted

    def tune(self, dev: Sequence[WordsExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task as it is: nothing is tuned on the dev examples."""
        del dev, predictions
        return TunedTask(self)


def tag_format(
    name: str, examples: Sequence[WordsExample], scheme: Scheme | None = None
) -> tuple[DetectedTags, list[str]]:
    """Return scheme and spelling of the tags of training examples, and warnings about them.

    Args:
        name: of the task.
        examples: with tags.
        scheme: the one set in the configuration; None detects it.

    Raises:
        UserError: some tags are not tags of spans, although most are.
    """
    if scheme == "plain":
        return DetectedTags("plain"), []
    found = detect_tags(example.tags or () for example in examples)
    if found.scheme != "plain":
        return (found if scheme is None else replace(found, scheme=scheme)), []
    if not found.odd:  # no span at all
        return DetectedTags(scheme or "plain", found.spelling), []
    tag, where, count = _first_odd(examples, found.odd)
    others = f" ({count - 1:,} words more have such tags)" if count > 1 else ""
    if found.mostly_spans or scheme is not None:
        outside, begin = found.spelling.name.split()
        raise UserError(
            f"finetune.tasks.{name}: {where} has the tag {tag!r}{others}, which spells no span as the others do "
            f"({outside}, {begin}, …): mend it, since with it no entity can be counted, or set "
            f"finetune.tasks.{name}.scheme=plain for labels that are no spans"
        )
    return DetectedTags("plain"), [
        f"tags are taken as plain labels, since {where} has {tag!r}, which spells no span: the metric is the accuracy "
        "of words, and no entities are looked for (scheme=plain takes them so without this line)"
    ]


def _first_odd(examples: Sequence[WordsExample], odd: frozenset[str]) -> tuple[str, str, int]:
    """Return the first of the odd tags, where it is, and how many words have one of them."""
    having = [(example, tag) for example in examples for tag in example.tags or () if tag in odd]
    example, tag = having[0]
    return tag, f"the example {example.id!r}{_at(example, tag)}", len(having)


def _at(example: WordsExample, tag: str) -> str:
    """Return where in its file a tag of an example is, in brackets; "" where that is not known."""
    if example.location is None:
        return ""
    return f" ({example.location.of_word((example.tags or ()).index(tag))})"
