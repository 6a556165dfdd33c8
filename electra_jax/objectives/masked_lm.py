"""Masked-language modelling, alone and as the generator's part of ELECTRA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from electra_jax.config.schema import MaskedLMObjective, MaskingConfig
from electra_jax.model.electra import MaskedLMNetwork
from electra_jax.model.flops import encoder_flops, masked_lm_head_flops
from electra_jax.model.inputs import EncoderInputs, packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives.masking import MaskedBatch, draw_masks, max_masked
from electra_jax.objectives.metrics import Sums, mean, weighted
from electra_jax.objectives.protocol import Params, Subnetwork
from electra_jax.tokenizers import Tokenizer

LOSS_EPSILON = 1e-6  # in every denominator of the reference


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int
    mask: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "SpecialIds":
        """Those of ``tokenizer``."""
        return cls(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)


@struct.dataclass
class MaskedLMInputs:
    """A batch and its masks."""

    original: EncoderInputs  # the original rows
    masked: MaskedBatch


def draw_masked_lm_inputs(
    batch: Array, rng: Array, config: MaskingConfig, special: SpecialIds
) -> MaskedLMInputs:
    """Lays out packed rows ``[batch, length]`` and draws their masks."""
    original = packed_inputs(batch, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    masked = draw_masks(
        rng,
        batch,
        pad_id=special.pad,
        ineligible_ids=(special.cls, special.sep, special.mask),
        mask_id=special.mask,
        mask_rate=config.mask_rate,
        mask_token_probability=config.mask_token_probability,
        with_replacement=config.reference_quirks,
    )
    return MaskedLMInputs(original=original, masked=masked)


def token_nll(logits: Array, ids: Array) -> Array:
    """-log softmax(logits)[ids]; ``[..., vocab]``, ``[...]`` → ``[...]``, float32."""
    picked = jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def first_largest(logits: Array) -> Array:
    """argmax over the last axis, int32 ``[...]``; two plain reductions, where XLA's argmax is slow on a CPU."""
    entries = logits.shape[-1]
    is_largest = logits == logits.max(axis=-1, keepdims=True)
    return jnp.where(is_largest, jnp.arange(entries, dtype=jnp.int32), entries).min(axis=-1)


def masked_lm_terms(logits: Array, masked: MaskedBatch) -> tuple[Array, Sums]:
    """The summed loss Σ w·nll (float32 scalar), and the generator's metrics.

    Args:
        logits: ``[batch, slots, vocab]``.
        masked: the masks; ids and weights ``[batch, slots]``.
    """
    nll = token_nll(logits, masked.ids)
    predictions = first_largest(logits)
    sums = {
        "masked_lm_loss": weighted(nll, masked.weights),
        "masked_lm_accuracy": weighted(predictions == masked.ids, masked.weights),
    }
    return (nll * masked.weights).sum(), sums


def padding_sum(inputs: EncoderInputs) -> Array:
    """Share of padding, as a (sum, weight) pair; a row of nothing else only fills an evaluation batch up."""
    padding = inputs.segment_ids == 0
    return weighted(padding, jnp.broadcast_to(~padding.all(axis=-1, keepdims=True), padding.shape))


def masked_lm_baselines(settings: MaskingConfig, most_frequent_share: float) -> str:
    """What masked_lm_accuracy would be without learning from context, as a line to compare the result with.

    Chosen tokens that are kept and not masked can be copied, so that is what a network of no context reaches.
    """
    masked = settings.mask_token_probability
    copying = (1 - masked) + masked * most_frequent_share
    guessing = commonest_token_baseline(most_frequent_share)
    return f"{guessing}, {copying:.4f} for that and copying the chosen tokens that are not masked"


def commonest_token_baseline(most_frequent_share: float) -> str:
    """The same for a network that never sees the token it predicts."""
    return f"masked_lm_accuracy to compare with: {most_frequent_share:.4f} for always guessing the commonest token"


@dataclass(frozen=True)
class MaskedLM:
    """Plain masked-language modelling with the discriminator-sized encoder."""

    settings: MaskedLMObjective
    network: MaskedLMNetwork
    special: SpecialIds

    subnetworks: ClassVar[Sequence[Subnetwork]] = ()
    examples: ClassVar[None] = None

    def init(self, rng: Array) -> Params:
        """Fresh parameters."""
        return init_params(self.network, rng)

    def draw_inputs(self, batch: Array, rng: Array) -> MaskedLMInputs:
        """Draws the masks of ``batch``, int32 ``[batch, length]``."""
        return draw_masked_lm_inputs(batch, rng, self.settings, self.special)

    def loss_normalizers(self, inputs: MaskedLMInputs) -> Array:
        """Σ w over the batch."""
        return inputs.masked.weights.sum()

    def loss(
        self, params: Params, inputs: MaskedLMInputs, normalizers: Array, dropout_rng: Array | None
    ) -> tuple[Array, Sums]:
        """Σ w·nll / (Σ w + 1e-6)."""
        masked = inputs.masked
        masked_rows = replace(inputs.original, input_ids=masked.input_ids)
        logits: Any = self.network.apply(
            {"params": params}, masked_rows, masked.positions, dropout_rng, method="generate"
        )
        total, sums = masked_lm_terms(logits, masked)
        return total / (normalizers + LOSS_EPSILON), {
            **sums,
            "padding_fraction": padding_sum(inputs.original),
        }

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Metrics by name."""
        metrics = {name: mean(pair) for name, pair in sums.items()}
        return {"loss": metrics["masked_lm_loss"], **metrics}

    def flops_per_row(self, length: int) -> float:
        """Of the encoder, and the head at the chosen positions."""
        sizes = self.network.sizes
        encoder, embedding = sizes.discriminator, sizes.embedding_size
        slots = max_masked(self.settings.mask_rate, length)
        head = masked_lm_head_flops(encoder.hidden_size, embedding, sizes.vocab_size, slots)
        return encoder_flops(encoder, embedding, length) + head

    def baselines(self, most_frequent_share: float) -> str:
        """See `masked_lm_baselines`."""
        return masked_lm_baselines(self.settings, most_frequent_share)
