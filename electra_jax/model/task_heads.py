"""Heads for fine-tuning, on the hidden states of `TextEncoder.encode`.

Sources: google-research/electra, finetune/; transformers, models/electra.

The parameters of a task live under ``heads/<task name>/…`` beside ``embeddings`` and ``encoder``. The last layer of
every head is called ``prediction`` (``start``, ``end``, ``answerable_prediction`` for questions); logits are float32.

Styles differ in what they compute. ``reference`` is one linear layer, initialised as Glorot does, with dropout before
it for classification only. ``huggingface`` is what the published ``ElectraFor…`` classes compute, so that their weights
can be used: a hidden layer before the prediction of classification, dropout before tagging, and normal initialisation.
``modernbert`` is what the ``ModernBertFor…`` classes compute, for every kind the same: `modernbert_logits`.
"""

from typing import Literal, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from electra_jax.model.dropout import dropout
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import Dense, Dtype, Initializer, LayerNorm, split_or_none, truncated_normal
from electra_jax.model.operations import gelu
from electra_jax.model.pooling import Pooling, pooled

HeadStyle = Literal["reference", "huggingface", "modernbert"]

# What the reference adds to the logits of tokens that cannot be an answer.
MASKED_ANSWER_LOGIT = -1000.0

# Width of the hidden layers of question answering, whatever the width of the encoder.
ANSWER_HIDDEN_SIZE = 512

# How many deviations from its mean the normal is cut at that ModernBERT's kernels start from.
_MODERNBERT_CUT = 3.0


def head_initializer(style: HeadStyle, initializer_range: float) -> Initializer:
    """Return how kernels start: Glorot-uniform (reference), normal (Hugging Face) or a cut normal (ModernBERT).

    Biases start at 0.
    """
    if style == "reference":
        return nn.initializers.glorot_uniform()
    if style == "modernbert":
        return truncated_normal(initializer_range, _MODERNBERT_CUT)
    return nn.initializers.normal(initializer_range)


class _ModernBertSettings(Protocol):
    """What `modernbert_logits` reads of the head that calls it."""

    @property
    def dtype(self) -> Dtype: ...
    @property
    def dropout_rate(self) -> float: ...
    @property
    def initializer_range(self) -> float: ...
    @property
    def layer_norm_epsilon(self) -> float: ...


def modernbert_logits(head: _ModernBertSettings, outputs: int, x: Array, rng: Array | None) -> Array:
    """Compute dense(gelu) → LayerNorm → dropout → dense as a part of the compact module ``head``.

    The last layer alone has a bias, and its kernel starts with a deviation of 1/√hidden, that of the first layer with
    ``initializer_range``.

    Args:
        head: The module, for its settings.
        outputs: How many logits there are.
        x: States ``[…, hidden]``.
        rng: A key; None means no dropout.

    Returns:
        float32 ``[…, outputs]``.
    """
    width = x.shape[-1]
    first, last = (head_initializer("modernbert", of) for of in (head.initializer_range, width**-0.5))
    x = gelu(Dense(width, head.dtype, first, use_bias=False, name="dense")(x))
    x = LayerNorm(head.layer_norm_epsilon, head.dtype, use_bias=False, name="layer_norm")(x)
    x = dropout(x, head.dropout_rate, rng)
    return Dense(outputs, jnp.float32, last, name="prediction")(x)


class ClassificationHead(nn.Module):
    """One label, or with ``num_labels=1`` one number, for a whole row, from its pooled states.

    reference: dropout → dense. huggingface: dropout → dense(gelu) → dropout → dense.
    """

    num_labels: int
    style: HeadStyle
    dtype: Dtype
    dropout_rate: float = 0.1
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(self, hidden: Array, real: Array, rng: Array | None = None) -> Array:
        """Map states to logits.

        Args:
            hidden: The encoder's states ``[batch, length, hidden]``.
            real: bool ``[batch, length]``, False for padding.
            rng: A key; None means no dropout.

        Returns:
            float32 ``[batch, num_labels]``.
        """
        x = pooled(hidden, real, self.pooling)
        if self.style == "modernbert":
            return modernbert_logits(self, self.num_labels, x, rng)
        init = head_initializer(self.style, self.initializer_range)
        first_rng, second_rng = split_or_none(rng, 2)
        x = dropout(x, self.dropout_rate, first_rng)
        if self.style == "huggingface":
            x = gelu(Dense(hidden.shape[-1], self.dtype, init, name="dense")(x))
            x = dropout(x, self.dropout_rate, second_rng)
        return Dense(self.num_labels, jnp.float32, init, name="prediction")(x)


class MultipleChoiceHead(nn.Module):
    """One number for each text, by which those of an example are compared, from its pooled states.

    reference: dropout → dense, as its heads of classification have. huggingface: dense(gelu) → dropout → dense.
    """

    style: HeadStyle
    dtype: Dtype
    dropout_rate: float = 0.1
    initializer_range: float = 0.02
    pooling: Pooling = "first"
    layer_norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(self, hidden: Array, real: Array, rng: Array | None = None) -> Array:
        """Map states to logits.

        Args:
            hidden: The encoder's states ``[…, length, hidden]``.
            real: bool ``[…, length]``, False for padding.
            rng: A key; None means no dropout.

        Returns:
            float32 ``[…]``.
        """
        x = pooled(hidden, real, self.pooling)
        if self.style == "modernbert":
            return modernbert_logits(self, 1, x, rng)[..., 0]
        init = head_initializer(self.style, self.initializer_range)
        if self.style == "huggingface":
            x = gelu(Dense(hidden.shape[-1], self.dtype, init, name="dense")(x))
        x = dropout(x, self.dropout_rate, rng)
        return Dense(1, jnp.float32, init, name="prediction")(x)[..., 0]


class TaggingHead(nn.Module):
    """A label for every token that is asked for.

    reference: dense. huggingface: dropout → dense.
    """

    num_labels: int
    style: HeadStyle
    dtype: Dtype
    dropout_rate: float = 0.1
    initializer_range: float = 0.02
    layer_norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(self, hidden: Array, positions: Array | None = None, rng: Array | None = None) -> Array:
        """Map ``[batch, length, hidden]`` to float32 logits ``[batch, labelled, num_labels]``.

        Args:
            hidden: The encoder's states.
            positions: int ``[batch, labelled]``, of the first wordpiece of each word; None is every token.
            rng: A key; None means no dropout.
        """
        x = hidden
        if positions is not None:
            x = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
        if self.style == "modernbert":
            return modernbert_logits(self, self.num_labels, x, rng)
        if self.style == "huggingface":
            x = dropout(x, self.dropout_rate, rng)
        init = head_initializer(self.style, self.initializer_range)
        return Dense(self.num_labels, jnp.float32, init, name="prediction")(x)


@struct.dataclass
class AnswerLogits:
    """A question-answering head's logits for each row, float32.

    Attributes:
        start: ``[batch, length]``.
        end: ``[batch, length]``.
        answerable: ``[batch]``, > 0 says that there is **no** answer (the reference's name, trained on
            ``is_impossible``); None where the head has no such classifier.
    """

    start: Array
    end: Array
    answerable: Array | None


@struct.dataclass
class AnswerBeam:
    """The ``k`` best starts of each row, and for each of them its ``k`` best ends, best first.

    Scores are float32 ``[batch, k]`` and ``[batch, k, k]``, positions int32 of the same shapes. A span is scored by the
    sum of its two scores. They are log-probabilities from a joint head and logits from an independent one, as in the
    reference. Ends before their start are not sorted out, nor tokens outside the passage where it is shorter than ``k``
    (those have scores near −1000).
    """

    start_scores: Array
    start_positions: Array
    end_scores: Array
    end_positions: Array


def answer_mask(inputs: EncoderInputs) -> Array:
    """Return which tokens may start or end an answer: the second sentence, and [CLS] for 'none'.

    The [SEP] that closes the passage is among them, as in the reference.

    Returns:
        bool ``[batch, length]``.
    """
    passage = (inputs.segment_ids != 0) & (inputs.token_type_ids == 1)
    return passage | (jnp.arange(passage.shape[1]) == 0)


def independent_beam(start_logits: Array, end_logits: Array, size: int) -> AnswerBeam:
    """Return the best starts and ends of ``[batch, length]`` logits that are independent of each other.

    ``size`` is cut to the length.
    """
    batch, length = start_logits.shape
    size = min(size, length)
    start_scores, start_positions = jax.lax.top_k(start_logits, size)
    ends = jax.lax.top_k(end_logits, size)
    end_scores, end_positions = (jnp.broadcast_to(x[:, None], (batch, size, size)) for x in ends)
    return AnswerBeam(start_scores, start_positions, end_scores, end_positions)


class PairHidden(nn.Module):
    """gelu(dense([left; right])) without storing the pairs: each side is multiplied by its half of the kernel."""

    features: int
    dtype: Dtype
    kernel_init: Initializer

    @nn.compact
    def __call__(self, left: Array, right: Array) -> Array:
        """Map ``[…, m]`` and ``[…, n]``, with leading axes that broadcast, to ``[…, features]``.

        The kernel is that of the concatenation, ``[m + n, features]``.
        """
        cut = left.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (cut + right.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        return gelu(left.astype(self.dtype) @ kernel[:cut] + right.astype(self.dtype) @ kernel[cut:] + bias)


class QuestionAnsweringHead(nn.Module):
    """The reference's head for SQuAD; no dropout.

    start: dense(1). end, joint: dense512-gelu([h_start; h_token]) → 1, with the gold start in training and each of the
    best starts in evaluation; independent: dense(1). answerable: dense512-gelu([h_cls; Σ softmax(start)·h]) → 1.
    """

    joint: bool
    answerable: bool
    dtype: Dtype

    def setup(self) -> None:  # noqa: D102
        init = head_initializer("reference", 0.0)

        def hidden() -> PairHidden:
            return PairHidden(ANSWER_HIDDEN_SIZE, self.dtype, init)

        self.start = Dense(1, jnp.float32, init)
        if self.joint:
            self.end_hidden = hidden()
        self.end = Dense(1, jnp.float32, init)
        if self.answerable:
            self.answerable_hidden = hidden()
            self.answerable_prediction = Dense(1, jnp.float32, init)

    def __call__(self, hidden: Array, mask: Array, start_positions: Array) -> AnswerLogits:
        """Compute the logits for the loss.

        Args:
            hidden: The encoder's states ``[batch, length, hidden]``.
            mask: bool ``[batch, length]``, of `answer_mask`.
            start_positions: int ``[batch]``, the gold starts, 0 where there is no answer. A joint head's ``end`` is
                conditioned on these starts; an independent one does not read them.
        """
        start = self.start_logits(hidden, mask)
        if self.joint:
            given = jnp.take_along_axis(hidden, start_positions[:, None, None], axis=1)
            end = self.end(self.end_hidden(given, hidden))[..., 0]
        else:
            end = self.end(hidden)[..., 0]
        return AnswerLogits(start, _masked(end, mask), self.answerable_logits(hidden, start))

    def beam(self, hidden: Array, mask: Array, size: int) -> tuple[AnswerBeam, Array | None]:
        """Compute the best spans, and the answerable logits ``[batch]`` (None without that classifier), for evaluation.

        ``size`` is cut to the length. A joint head makes ``[batch, size, length, 512]`` on the way.
        """
        start = self.start_logits(hidden, mask)
        answerable = self.answerable_logits(hidden, start)
        if not self.joint:
            return independent_beam(start, _masked(self.end(hidden)[..., 0], mask), size), answerable
        size = min(size, hidden.shape[1])
        start_scores, start_positions = jax.lax.top_k(jax.nn.log_softmax(start), size)
        given = jnp.take_along_axis(hidden, start_positions[:, :, None], axis=1)
        end = self.end(self.end_hidden(given[:, :, None], hidden[:, None]))[..., 0]
        end_log_probs = jax.nn.log_softmax(_masked(end, mask[:, None]))
        end_scores, end_positions = jax.lax.top_k(end_log_probs, size)
        return AnswerBeam(start_scores, start_positions, end_scores, end_positions), answerable

    def start_logits(self, hidden: Array, mask: Array) -> Array:
        """Return float32 ``[batch, length]``, masked."""
        return _masked(self.start(hidden)[..., 0], mask)

    def answerable_logits(self, hidden: Array, start: Array) -> Array | None:
        """Return float32 ``[batch]`` from hidden states and masked start logits; None without the classifier."""
        if not self.answerable:
            return None
        probabilities = jax.nn.softmax(start)
        expected = jnp.einsum("bl,blh->bh", probabilities, hidden.astype(jnp.float32))
        return self.answerable_prediction(self.answerable_hidden(hidden[:, 0], expected))[..., 0]


def _masked(logits: Array, mask: Array) -> Array:
    # Added, not replaced, as in the reference: forbidden tokens keep their order.
    return logits + jnp.where(mask, 0.0, MASKED_ANSWER_LOGIT)


class SpanHead(nn.Module):
    """Hugging Face's question answering: two outputs for every token, no mask.

    huggingface: dense, without dropout.
    """

    dtype: Dtype
    initializer_range: float = 0.02
    style: Literal["huggingface", "modernbert"] = "huggingface"
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-5

    @nn.compact
    def __call__(self, hidden: Array, rng: Array | None = None) -> AnswerLogits:
        """Map states to start and end logits of every token, padding too; no ``answerable``.

        Args:
            hidden: The encoder's states ``[batch, length, hidden]``.
            rng: A key; None means no dropout.
        """
        if self.style == "modernbert":
            logits = modernbert_logits(self, 2, hidden, rng)
        else:
            init = head_initializer("huggingface", self.initializer_range)
            logits = Dense(2, jnp.float32, init, name="prediction")(hidden)
        return AnswerLogits(logits[..., 0], logits[..., 1], None)
