"""Ranking candidates after a context: replies of a dialogue, passages for a question, sentences alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.errors import UserError
from electra_jax.model.layers import Dtype
from electra_jax.model.pooling import Pooling
from electra_jax.model.ranking_head import PairEncoder, scores_of_all, scores_of_own
from electra_jax.model.task_heads import HeadStyle, MultipleChoiceHead
from electra_jax.tasks.choice_rows import option_rows, together
from electra_jax.tasks.losses import softmax_cross_entropy
from electra_jax.tasks.measures import Measure
from electra_jax.tasks.metrics import METRICS, SCORED_PAIRS, check_metric, classification_scores
from electra_jax.tasks.negatives import with_negatives
from electra_jax.tasks.protocol import ChoiceExample, RankingExample, Rows, TaskBatch, TextExample, TunedTask
from electra_jax.tasks.rank_metrics import ranking_measures
from electra_jax.tasks.ranking_rows import CANDIDATES_PER_ROW, prediction_rows, training_rows
from electra_jax.tokenizers import Tokenizer

# The logit of what is no candidate of a row; finite, so that a row of padding alone has a loss.
_NO_CANDIDATE = -1e9
_COSINE_SCALE = 20.0


@dataclass(frozen=True)
class RankingTask:
    """Which of many candidates follows a context; implements `Task`.

    Attributes:
        name: of the task.
        config: its section.
        tokenizer: encodes the texts.
        max_length: of a context in tokens; of context and candidate together for the cross-encoder.
        hidden_size: of the encoder.
        head_style: of the cross-encoder, the head of the original's shape, or of Hugging Face's ELECTRA or ModernBERT.
        head_dropout: dropout rate in that head.
        dtype: of its matrix products.
        initializer_range: standard deviation of the initial weights of Hugging Face's head.
        pooling: what stands for a text.
        layer_norm_epsilon: of ModernBERT's head.
        kind: "ranking".
        labels: none: a candidate is its text.
        f1_of: None.
        shares: nothing.

    Raises:
        UserError: a metric that does not exist, or more codes than a context has tokens.
    """

    name: str
    config: RankingConfig
    tokenizer: Tokenizer
    max_length: int
    hidden_size: int
    head_style: HeadStyle
    head_dropout: float
    dtype: Dtype
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5
    kind: str = "ranking"
    labels: tuple[()] = ()
    f1_of: None = None
    shares: tuple[()] = ()

    def __post_init__(self) -> None:
        if self.config.metric is not None:
            check_metric(self.name, "ranking", self.config.metric)
        if self.config.number_of_codes > self.max_length:
            raise UserError(
                f"finetune.tasks.{self.name}.codes is {self.config.number_of_codes}, more than the {self.max_length} "
                "tokens of a context that they look at: lower it, or raise data.sequence_length"
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, the one that selects first: of scored pairs, or of candidates."""
        of_pairs = self.config.has_scored_pairs
        known = [name for name in METRICS["ranking"] if (name in SCORED_PAIRS) == of_pairs]
        first = self.config.metric or known[0]
        return (first, *(name for name in known if name != first))

    @property
    def metric(self) -> str:
        """The metric that selects checkpoints and seeds."""
        return self.metrics[0]

    @property
    def _crosses(self) -> bool:
        return self.config.encoder == "cross"

    @property
    def reads_one_kind(self) -> bool:
        """Whether contexts and candidates are texts of one kind, which are read and cut alike."""
        return self.config.positives_from == "dropout"

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of a context, and of a candidate, for encoders that read them apart."""
        of_candidate = min(self.config.max_candidate_tokens, self.max_length)
        return (of_candidate if self.reads_one_kind else self.max_length, of_candidate)

    def encode(self, examples: Sequence[RankingExample | TextExample], *, training: bool) -> Rows:
        """Encode examples; see `ranking_rows`, and for the cross-encoder `choice_rows`.

        A pair of texts is a context with one candidate.

        Raises:
            UserError: in training, an example without a right candidate, or without the negatives that it needs.
        """
        ranked = [_with_candidates(example) for example in examples]
        if not training:
            return (
                option_rows(self.tokenizer, _as_choices(ranked), self.max_length)
                if self._crosses
                else prediction_rows(self.tokenizer, ranked, *self.longest, keeps_start=self.reads_one_kind)
            )
        chosen, owners = with_negatives(ranked, self.config, f"finetune.tasks.{self.name}")
        if self._crosses:
            rows = together(
                option_rows(self.tokenizer, _as_choices(chosen), self.max_length), self.tokenizer.pad_id
            )
            rows = replace(rows, targets={"candidate": np.zeros(len(chosen), np.int32)})
        else:
            rows = training_rows(self.tokenizer, chosen, *self.longest, keeps_start=self.reads_one_kind)
        return replace(rows, example_index=owners)

    def head(self) -> nn.Module:
        """Return what makes vectors of texts, or for the cross-encoder a number of a pair."""
        if self._crosses:
            return MultipleChoiceHead(
                style=self.head_style,
                dtype=self.dtype,
                dropout_rate=self.head_dropout,
                initializer_range=self.initializer_range,
                pooling=self.pooling,
                layer_norm_epsilon=self.layer_norm_epsilon,
            )
        usual = _COSINE_SCALE if self.config.similarity == "cosine" else 1 / math.sqrt(self.hidden_size)
        fixed = self.config.temperature
        return PairEncoder(
            codes=self.config.number_of_codes,
            pooling=self.pooling,
            similarity=self.config.similarity,
            scale=1 / fixed if fixed is not None else self.config.scale or usual,
            scale_is_learned=fixed is None,
        )

    def loss(self, head: Any, hidden: Array, batch: TaskBatch, rng: Array | None) -> Array:
        """Return the cross-entropy of the right candidate, float32 ``[batch]``.

        The others are the row's own, and with ``negatives_from: batch`` all of the batch, over all devices, but those
        that a row of the batch has as right after the same context, and the context itself.
        """
        numbers = batch.targets["candidate"]
        if self._crosses:
            is_candidate = batch.inputs.segment_ids.max(axis=-1) > 0
            return softmax_cross_entropy(
                jnp.where(is_candidate, head(hidden, batch.inputs.segment_ids != 0, rng), _NO_CANDIDATE),
                numbers,
            )
        rows, own = numbers.shape
        pairs = head(hidden, batch.inputs.segment_ids, own)
        if not self.config.negatives_of_batch:
            scores, right = scores_of_own(pairs.contexts, pairs.candidates), jnp.zeros(rows, jnp.int32)
            is_wrong = (numbers != 0) & (numbers != numbers[:, :1])
        else:
            scores = scores_of_all(pairs.contexts, pairs.candidates.reshape(rows * own, -1))
            right = jnp.arange(rows, dtype=jnp.int32) * own
            contexts = batch.targets["context"]
            is_own_text = contexts[:, None] == numbers.reshape(1, -1)
            is_wrong = (numbers.reshape(1, -1) != 0) & ~is_own_text & ~_right_in_batch(numbers, contexts)
        is_right = jnp.arange(scores.shape[1]) == right[:, None]
        logits = jnp.where(is_wrong | is_right, scores * pairs.scale, _NO_CANDIDATE)
        return softmax_cross_entropy(logits, right)

    def outputs(self, head: Any, hidden: Array, batch: TaskBatch) -> dict[str, Array]:
        """Return ``score``, float32 ``[batch, candidates]``, of those in each row; the cross-encoder has one."""
        if self._crosses:
            return {"score": head(hidden, batch.inputs.segment_ids != 0)[:, None]}
        pairs = head(hidden, batch.inputs.segment_ids, CANDIDATES_PER_ROW)
        return {"score": scores_of_own(pairs.contexts, pairs.candidates) * pairs.scale}

    def predictions(
        self, examples: Sequence[RankingExample | TextExample], rows: Rows, outputs: Mapping[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Return ``id``, ``label`` (the number of the best candidate), ``candidate`` (its text) and all ``scores``.

        ``truncated`` is present, and true, where a text did not fit.
        """
        scores: list[list[float]] = [[] for _ in examples]
        is_cut = [False] * len(examples)
        for row, (owner, detail) in enumerate(zip(rows.example_index, rows.details, strict=True)):
            count, cut = (1, detail) if self._crosses else detail
            scores[owner] += outputs["score"][row, :count].tolist()
            is_cut[owner] |= cut
        results = []
        for example, of_one, cut in zip(map(_with_candidates, examples), scores, is_cut, strict=True):
            best = int(np.argmax(of_one))
            result = {
                "id": example.id,
                "label": best,
                "candidate": example.candidates[best],
                "scores": of_one,
            }
            results.append(result | ({"truncated": True} if cut else {}))
        return results

    def score(
        self, examples: Sequence[RankingExample | TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Return the metrics in percent; see `ranking_measures`, and of scored pairs the correlations with a score."""
        if self.config.has_scored_pairs:
            gold: list[Any] = [example.label for example in examples if isinstance(example, TextExample)]
            scores = [prediction["scores"][0] for prediction in predictions]
            return classification_scores("regression", self.metrics, gold, scores)
        every = np.arange(len(examples))
        found = self.measures(examples, predictions, self.metrics)
        return {name: found[name](every) for name in self.metrics}

    def measures(
        self,
        examples: Sequence[RankingExample | TextExample],
        predictions: Sequence[Mapping[str, Any]],
        names: Sequence[str],
    ) -> dict[str, Measure]:
        """Return those of the task's metrics that are among ``names``; none of scored pairs, which no sum gives."""
        ranked = []
        if self.config.has_scored_pairs:
            return {}
        for example, prediction in zip(examples, predictions, strict=True):
            if isinstance(example, TextExample) or example.relevant is None:
                raise ValueError("right candidates that are hidden cannot be compared with")
            ranked.append(_each_right_text_once(example, np.array(prediction["scores"], np.float64)))
        return ranking_measures(ranked, [name for name in names if name in self.metrics])

    def tune(
        self, dev: Sequence[RankingExample | TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> TunedTask:
        """Return the task as it is: nothing is tuned on the dev examples."""
        del dev, predictions
        return TunedTask(self)


def _with_candidates(example: RankingExample | TextExample) -> RankingExample:
    """Return a pair of texts as a context with one candidate."""
    if isinstance(example, RankingExample):
        return example
    return RankingExample(example.id, example.text, (example.pair or "",))


def _each_right_text_once(example: RankingExample, scores: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the scores of an example's candidates and the numbers of the right ones, without copies of right ones."""
    rights = {example.candidates[n] for n in example.relevant or ()}
    first = {text: n for n, text in reversed(list(enumerate(example.candidates)))}
    kept = [n for n, text in enumerate(example.candidates) if text not in rights or first[text] == n]
    return scores[kept], [place for place, n in enumerate(kept) if example.candidates[n] in rights]


def _as_choices(examples: Sequence[RankingExample]) -> list[ChoiceExample]:
    return [ChoiceExample(example.id, example.context, example.candidates) for example in examples]


def _right_in_batch(numbers: Array, contexts: Array) -> Array:
    """Return which candidates of the batch a row with the same context has as the right one, bool ``[rows, all]``.

    Args:
        numbers: int32 ``[rows, candidates]``, equal for equal texts, the right one first.
        contexts: int32 ``[rows]``, equal for equal contexts.
    """
    same = contexts[:, None] == contexts  # [rows, rows]
    is_right = numbers[:, :1] == numbers.reshape(1, -1)  # [rows, all]
    return same.astype(jnp.float32) @ is_right.astype(jnp.float32) > 0
