"""Question answering: spans of a context, with or without "no answer" (google-research/electra, finetune/qa)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.config.tasks import QuestionAnsweringConfig
from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.task_heads import (
    MASKED_ANSWER_LOGIT,
    HeadStyle,
    QuestionAnsweringHead,
    SpanHead,
    answer_mask,
    independent_beam,
)
from electra_jax.tasks.answers import best_answers
from electra_jax.tasks.losses import question_answering_loss, span_loss
from electra_jax.tasks.measures import Measure, mean_of
from electra_jax.tasks.protocol import QuestionExample, Rows, TaskBatch, TunedTask
from electra_jax.tasks.squad_metrics import (
    find_threshold,
    squad1_each,
    squad1_scores,
    squad2_each,
    squad2_scores,
)
from electra_jax.tasks.windows import ContextWindow, check_question_fits, question_rows
from electra_jax.tokenizers.protocol import Tokenizer

METRICS = ("f1", "exact")
BEAM = ("start_scores", "start_positions", "end_scores", "end_positions")


@dataclass(frozen=True)
class QuestionAnsweringTask:
    """Question answering for SQuAD 1.1 and 2.0, MRQA and one's own questions; implements `Task`.

    The score of "no answer" is that of the window where it is lowest, as in the reference: that window has an answer.
    With the reference's classifier it is the window's logit; without it, and in Hugging Face's style, it is the score
    of [CLS] as start and end, less that of the best answer.

    Attributes:
        name: of the task.
        config: its section of the configuration.
        tokenizer: encodes questions and contexts.
        max_length: of a row, in tokens.
        head_style: "reference" (one or two hidden layers, as ``config`` says), "huggingface" (ELECTRA's, one linear
            layer) or "modernbert" (a hidden layer with a LayerNorm before it).
        head_dropout: dropout rate in ModernBERT's head; the others have none.
        dtype: of the head's matrix products.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        no_answer_threshold: questions with a higher score of "no answer" have none; None answers all of them.
        reference_quirks: see `question_rows`.
        layer_norm_epsilon: of ModernBERT's head.
        f1_of: None, since F1 is that of words.
        shares: nothing: its head reads the encoder's states alone.

    Raises:
        UserError: rows too short for the questions; a metric that does not exist.
    """

    name: str
    config: QuestionAnsweringConfig
    tokenizer: Tokenizer
    max_length: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    initializer_range: float = 0.02
    no_answer_threshold: float | None = None
    reference_quirks: bool = False
    layer_norm_epsilon: float = 1e-5
    kind: str = "question_answering"
    labels: tuple[str, ...] = ()
    f1_of: None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        check_question_fits(self.name, self.max_length, self.config.max_question_tokens)
        if self.metric not in METRICS:
            raise UserError(
                f"finetune.tasks.{self.name}.metric is {self.metric!r}, but must be one of: {', '.join(METRICS)}"
            )

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints, seeds, and the threshold."""
        return self.config.metric or METRICS[0]

    def encode(self, examples: Sequence[QuestionExample], *, training: bool) -> Rows:
        """Encode each window of each question as a row; see `question_rows`.

        Raises:
            UserError: an answer to train on that is hidden, or not in its context.
        """
        return question_rows(
            examples,
            self.tokenizer,
            name=self.name,
            config=self.config,
            max_length=self.max_length,
            training=training,
            reference_quirks=self.reference_quirks,
        )

    def head(self) -> nn.Module:
        """Return the reference's head, or Hugging Face's."""
        if self.head_style != "reference":
            return SpanHead(
                self.dtype,
                self.initializer_range,
                style=self.head_style,
                dropout_rate=self.head_dropout,
                layer_norm_epsilon=self.layer_norm_epsilon,
            )
        return QuestionAnsweringHead(
            joint=self.config.joint, answerable=self.config.answerable, dtype=self.dtype
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return the cross-entropies of start and end, and of the classifier if there is one; float32 ``[batch]``."""
        start, end = batch.targets["start"], batch.targets["end"]
        if self.head_style != "reference":
            logits = head(hidden, rng)
            return span_loss(logits.start, logits.end, start, end)
        logits = head(hidden, answer_mask(batch.inputs), start)
        return question_answering_loss(
            logits.start, logits.end, logits.answerable, start, end, batch.targets["is_impossible"]
        )

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return the beam of each row, and its score of "no answer".

        ``start_scores`` and ``start_positions`` are ``[batch, k]``, ``end_scores`` and ``end_positions``
        ``[batch, k, k]``. ``answerable`` ``[batch]`` is the classifier's logit, > 0 for no answer; where there is no
        classifier ``null_scores`` ``[batch]`` are those of [CLS] as start and end.
        """
        mask = answer_mask(batch.inputs)
        answerable = None
        if self.head_style != "reference":
            logits = head(hidden)
            # Hugging Face's own scripts take the best tokens of the whole row, and discard those of the question.
            forbidden = jnp.where(mask, 0.0, MASKED_ANSWER_LOGIT)
            beam = independent_beam(logits.start + forbidden, logits.end + forbidden, self.config.beam)
        else:
            beam, answerable = head.beam(hidden, mask, self.config.beam)
        outputs = {name: getattr(beam, name) for name in BEAM}
        if answerable is not None:
            return outputs | {"answerable": answerable}
        if self.head_style == "reference":
            logits = head(hidden, mask, jnp.zeros(hidden.shape[0], jnp.int32))
        start, end = logits.start, logits.end
        if self.head_style == "reference" and self.config.joint:  # like the scores of its beam
            start, end = jax.nn.log_softmax(start), jax.nn.log_softmax(end)
        return outputs | {"null_scores": start[:, 0] + end[:, 0]}

    def predictions(
        self, examples: Sequence[QuestionExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return one object per question.

        It has ``id``; ``answer``, exactly as it is in the context, its characters ``start`` … ``end`` - 1 and its
        ``probability`` among ``n_best`` ("" and three times None for "no answer"); ``no_answer_score``, which is
        compared with the threshold; ``n_best``, the best answers (`PredictedAnswer`), without "no answer" and whatever
        the threshold; and ``truncated`` where the question is longer than ``max_question_tokens``. Only a context
        without tokens has no ``n_best``; its ``no_answer_score`` is that of its one window.
        """
        row_bounds = np.searchsorted(rows.example_index, np.arange(len(examples) + 1))
        results = []
        for number, example in enumerate(examples):
            own = range(row_bounds[number], row_bounds[number + 1])
            answers = best_answers(
                example.context,
                [rows.details[row] for row in own],
                [{name: outputs[name][row] for name in BEAM} for row in own],
                n_best=self.config.n_best,
                max_answer_tokens=self.config.max_answer_tokens,
            )
            if "answerable" in outputs:
                no_answer = float(min(outputs["answerable"][row] for row in own))
            else:
                no_answer = float(min(outputs["null_scores"][row] for row in own))
                no_answer -= answers[0].score if answers else 0.0
            withheld = self.no_answer_threshold is not None and no_answer > self.no_answer_threshold
            best = answers[0] if answers and not withheld else None
            results.append(
                {
                    "id": example.id,
                    "answer": best.text if best else "",
                    "start": best.start if best else None,
                    "end": best.end if best else None,
                    "probability": best.probability if best else None,
                    "no_answer_score": no_answer,
                    "n_best": [_as_json(answer) for answer in answers],
                }
            )
            if self._is_cut(example, rows.details[own[0]]):
                results[-1]["truncated"] = True
        return results

    def _is_cut(self, example: QuestionExample, window: ContextWindow) -> bool:
        """Return whether a part of the question is not in its rows."""
        most = self.config.max_question_tokens
        as_long = window.position == most + 2  # with [CLS] and [SEP]
        return as_long and len(self.tokenizer.encode(example.question)) > most

    def score(
        self, examples: Sequence[QuestionExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return SQuAD's metrics: `squad1_scores` if every question has an answer, else `squad2_scores`.

        With unanswerable questions, ``exact`` and ``f1`` are those at the task's threshold, or if it has none yet, at
        the best one for these very predictions.
        """
        if any(example.hidden for example in examples):
            raise ValueError("answers that are hidden cannot be compared with")
        golds = [[answer.text for answer in example.answers] for example in examples]
        if all(golds):
            scores = squad1_scores(golds, [prediction["answer"] for prediction in predictions])
        else:
            scores = squad2_scores(
                golds,
                _if_answered(predictions),
                [p["no_answer_score"] for p in predictions],
                self.no_answer_threshold,
                self.metric,
            )
        return {self.metric: scores[self.metric], **scores}

    def measures(
        self,
        examples: Sequence[QuestionExample],
        predictions: Sequence[Mapping[str, Any]],
        names: Sequence[str],
    ) -> dict[str, Measure]:
        """Return those of ``exact`` and ``f1`` in ``names`` as measures, unless a threshold is still to be found."""
        golds = [[answer.text for answer in example.answers] for example in examples]
        if all(golds):
            each = squad1_each(golds, [prediction["answer"] for prediction in predictions])
        elif self.no_answer_threshold is None:
            return {}
        else:
            no_answer = [p["no_answer_score"] for p in predictions]
            each = squad2_each(golds, _if_answered(predictions), no_answer, self.no_answer_threshold)
        return {name: mean_of(each[name]) for name in names if name in each}

    def find_threshold(
        self, examples: Sequence[QuestionExample], predictions: Sequence[Mapping[str, Any]]
    ) -> float | None:
        """Return the best threshold for the task's metric on these (dev) examples; None if all have an answer."""
        if all(example.answers for example in examples):
            return None
        golds = [[answer.text for answer in example.answers] for example in examples]
        no_answer = [prediction["no_answer_score"] for prediction in predictions]
        return find_threshold(golds, _if_answered(predictions), no_answer, self.metric)

    def tune(self, dev: Sequence[QuestionExample], predictions: Sequence[Mapping[str, Any]]) -> TunedTask:
        """Return the task with the best threshold for "no answer" on the dev examples."""
        threshold = self.find_threshold(dev, predictions)
        return TunedTask(replace(self, no_answer_threshold=threshold), {"no_answer_threshold": threshold})


def _if_answered(predictions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the best answer for each question that is not "no answer"; "" where there is none."""
    return [prediction["n_best"][0]["answer"] if prediction["n_best"] else "" for prediction in predictions]


def _as_json(answer: Any) -> dict[str, Any]:
    values = asdict(answer)
    return {"answer": values.pop("text"), **values}
