"""Masked-language modelling, on its own and as the generator's part of ELECTRA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from electra_jax.config.objectives import DrawnRateConfig, MaskedLMObjective, MaskingConfig
from electra_jax.model.electra import MaskedLMNetwork
from electra_jax.model.flops import encoder_flops, masked_lm_head_flops
from electra_jax.model.inputs import EncoderInputs, packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.model.vocabulary_loss import first_largest
from electra_jax.objectives.masking import MaskedBatch, draw_masks, max_masked
from electra_jax.objectives.metrics import MetricSums, mean, weighted_sum
from electra_jax.objectives.protocol import Params, Subnetwork
from electra_jax.objectives.scheduled import highest_value, scheduled_value
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
        """Return the ids of ``tokenizer``."""
        return cls(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)


@struct.dataclass
class MaskedLMInputs:
    """A batch and its masks."""

    original: EncoderInputs  # the original rows
    masked: MaskedBatch


def draw_masked_lm_inputs(
    batch: Array,
    rng: Array,
    config: MaskingConfig,
    special: SpecialIds,
    done: Array | float = 1.0,
) -> MaskedLMInputs:
    """Derive segments and positions of packed rows and draw their masks.

    Args:
        batch: int32 ``[batch, length]``.
        rng: A key.
        config: Mask rate, how it changes or is drawn, probability of [MASK], reference_quirks.
        special: Ids of the special tokens.
        done: Share of the run's steps that is done, where the rate changes.
    """
    original = packed_inputs(batch, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    masked = draw_masks(
        rng,
        batch,
        pad_id=special.pad,
        ineligible_ids=(special.cls, special.sep, special.mask),
        mask_id=special.mask,
        mask_rate=mask_rate_at(config, done),
        mask_token_probability=config.mask_token_probability,
        with_replacement=config.reference_quirks,
        mask_rate_high=config.mask_rate_high if isinstance(config, DrawnRateConfig) else None,
        slots=num_slots(config, batch.shape[1]),
    )
    return MaskedLMInputs(original=original, masked=masked)


def mask_rate_at(config: MaskingConfig, done: Array | float) -> Array | float:
    """Return the (lowest) rate where a share ``done`` of the run's steps is done."""
    if not isinstance(config, DrawnRateConfig):
        return config.mask_rate
    return scheduled_value(config.mask_rate, config.mask_rate_schedule, done)


def num_slots(config: MaskingConfig, length: int) -> int:
    """Return the largest number of tokens that a row of ``length`` can have masked in the whole run."""
    if not isinstance(config, DrawnRateConfig):
        return max_masked(config.mask_rate, length)
    return max_masked(
        config.mask_rate_high or highest_value(config.mask_rate, config.mask_rate_schedule), length
    )


def token_nll(logits: Array, ids: Array) -> Array:
    """Return -log softmax(logits)[ids].

    Args:
        logits: ``[..., vocab]``.
        ids: int ``[...]``.

    Returns:
        float32 ``[...]``.
    """
    picked = jnp.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def masked_lm_terms(logits: Array, masked: MaskedBatch) -> tuple[Array, MetricSums]:
    """Compute the generator's summed loss and its metrics.

    Args:
        logits: ``[batch, slots, vocab]``.
        masked: The masks; ids and weights ``[batch, slots]``.

    Returns:
        Σ w·nll, a float32 scalar, and the metric sums.
    """
    nll = token_nll(logits, masked.ids)
    predictions = first_largest(logits)
    sums = {
        "masked_lm_loss": weighted_sum(nll, masked.weights),
        "masked_lm_accuracy": weighted_sum(predictions == masked.ids, masked.weights),
    }
    return (nll * masked.weights).sum(), sums


def padding_sum(inputs: EncoderInputs) -> Array:
    """Return the share of padding as a (sum, weight) pair.

    Rows of padding alone, which only fill up an evaluation batch, do not count.
    """
    padding = inputs.segment_ids == 0
    return weighted_sum(padding, jnp.broadcast_to(~padding.all(axis=-1, keepdims=True), padding.shape))


def masked_lm_baselines(settings: MaskingConfig, most_frequent_share: float) -> str:
    """Describe what masked_lm_accuracy would be without learning from context, as a line to compare the result with.

    Chosen tokens that are kept and not masked can be copied: a network that ignores context copies these and guesses
    the most frequent token for the others.
    """
    masked = settings.mask_token_probability
    copying = (1 - masked) + masked * most_frequent_share
    guessing = most_frequent_token_baseline(most_frequent_share)
    return f"{guessing}, {copying:.4f} for that and copying the chosen tokens that are not masked"


def most_frequent_token_baseline(most_frequent_share: float) -> str:
    """Describe masked_lm_accuracy of a network that always guesses the most frequent token."""
    return f"masked_lm_accuracy to compare with: {most_frequent_share:.4f} for always guessing the commonest token"


@dataclass(frozen=True)
class MaskedLM:
    """Plain masked-language modelling with the discriminator-sized encoder."""

    settings: MaskedLMObjective
    network: MaskedLMNetwork
    special: SpecialIds
    done: Array | float = 1.0  # share of the run's steps

    subnetworks: ClassVar[Sequence[Subnetwork]] = ()
    examples: ClassVar[None] = None
    text_metrics: ClassVar[None] = None

    def init(self, rng: Array) -> Params:
        """Initialise fresh parameters."""
        return init_params(self.network, rng)

    def at(self, done: Array) -> "MaskedLM":
        """Return the objective where a share ``done`` of the run is done; see `ScheduledObjective`."""
        return replace(self, done=done)

    def draw_inputs(self, batch: Array, rng: Array) -> MaskedLMInputs:
        """Draw the masks of ``batch``, int32 ``[batch, length]``."""
        return draw_masked_lm_inputs(batch, rng, self.settings, self.special, self.done)

    def loss_normalizers(self, inputs: MaskedLMInputs) -> Array:
        """Return Σ w over the batch: the number of chosen tokens, or of all that could be where rates are drawn."""
        return inputs.masked.weights.sum()

    def loss(
        self, params: Params, inputs: MaskedLMInputs, normalizers: Array, dropout_rng: Array | None
    ) -> tuple[Array, MetricSums]:
        """Compute Σ w·nll / (Σ w + 1e-6), and the metrics."""
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
        """Turn metric sums into metrics by name; ``loss`` is masked_lm_loss."""
        metrics = {name: mean(pair) for name, pair in sums.items()}
        return {"loss": metrics["masked_lm_loss"], **metrics}

    def flops_per_row(self, length: int) -> float:
        """Count the encoder, and the head at the chosen positions."""
        sizes = self.network.sizes
        encoder, embedding = sizes.discriminator, sizes.embedding_size
        slots = num_slots(self.settings, length)
        head = masked_lm_head_flops(encoder.hidden_size, embedding, sizes.vocab_size, slots)
        return encoder_flops(self.network.config.encoder, length) + head

    def baselines(self, most_frequent_share: float) -> str:
        """Describe masked_lm_accuracy without learning; see `masked_lm_baselines`."""
        return masked_lm_baselines(self.settings, most_frequent_share)
