"""Replaced-token detection: the generator's masked LM and the discriminator, trained together.

Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020, §2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array

from electra_jax.config.objectives import ElectraObjective, ElectricObjective, MaskingConfig
from electra_jax.model.electra import Electra
from electra_jax.model.flops import discriminator_head_flops, encoder_flops, masked_lm_head_flops
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives.marked_text import marked_lines
from electra_jax.objectives.masked_lm import (
    LOSS_EPSILON,
    SpecialIds,
    draw_masked_lm_inputs,
    masked_lm_baselines,
    masked_lm_terms,
    num_slots,
    padding_sum,
)
from electra_jax.objectives.masking import MaskedBatch, scatter
from electra_jax.objectives.metrics import (
    MetricSums,
    area_under_curve,
    auc_histogram,
    auc_with_padding,
    mean,
    weighted_sum,
)
from electra_jax.objectives.protocol import Examples, Params, Subnetwork
from electra_jax.objectives.sampling import replacement_logits, sample_by_gumbel, sample_by_inverse_cdf
from electra_jax.objectives.scheduled import scheduled_value

METRICS = (
    "masked_lm_loss",
    "masked_lm_accuracy",
    "sampled_masked_lm_accuracy",
    "disc_loss",
    "disc_accuracy",
    "disc_auc",
    "disc_precision",
    "disc_recall",
    "padding_fraction",
)


@struct.dataclass
class ElectraInputs:
    """A batch, its masks, and the random numbers that its replacements are sampled with.

    Attributes:
        original: The original rows.
        masked: Their masks.
        sample_uniforms: ``[batch, slots, 2]`` for the inverse of the cumulative distribution, or with reference_quirks
            ``[batch, slots, vocab_rows]`` for the Gumbel trick.
    """

    original: EncoderInputs
    masked: MaskedBatch
    sample_uniforms: Array


def draw_electra_inputs(
    batch: Array,
    rng: Array,
    objective: MaskingConfig,
    special: SpecialIds,
    vocab_rows: int,
    done: Array | float = 1.0,
) -> ElectraInputs:
    """Draw the masks and the sampling noise of a batch.

    Args:
        batch: int32 ``[batch, length]``.
        rng: A key.
        objective: Mask rate, how it changes or is drawn, probability of [MASK], reference_quirks.
        special: Ids of the special tokens.
        vocab_rows: Rows of the word table, which is the last axis of the generator's logits.
        done: Share of the run's steps that is done, where the rate changes.
    """
    mask_rng, sample_rng = jax.random.split(rng)
    masked_lm = draw_masked_lm_inputs(batch, mask_rng, objective, special, done)
    width = vocab_rows if objective.reference_quirks else 2
    uniforms = jax.random.uniform(sample_rng, (*masked_lm.masked.positions.shape, width))
    return ElectraInputs(original=masked_lm.original, masked=masked_lm.masked, sample_uniforms=uniforms)


@struct.dataclass
class Corruption:
    """What the discriminator reads, and its labels.

    Attributes:
        input_ids: int32 ``[batch, length]``, the original rows with the sampled tokens written over the chosen ones.
        labels: int32 ``[batch, length]``, 1 where the discriminator should say 'replaced'.
        sampled_ids: int32 ``[batch, slots]``.
    """

    input_ids: Array
    labels: Array
    sampled_ids: Array


def corrupt(
    logits: Array, inputs: ElectraInputs, config: ElectraObjective, done: Array | float = 1.0
) -> Corruption:
    """Replace every chosen token by a sample from the generator; no gradient flows through it.

    A sample that equals the original is labelled original.

    Args:
        logits: The generator's, ``[batch, slots, vocab]``.
        inputs: The batch.
        config: temperature and how it changes, disallow_correct, reference_quirks.
        done: Share of the run's steps that is done, where the temperature changes.
    """
    masked, original = inputs.masked, inputs.original.input_ids
    temperature = scheduled_value(config.temperature, config.temperature_schedule, done)
    logits = replacement_logits(
        logits, masked.ids, temperature=temperature, disallow_correct=config.disallow_correct
    )
    sample = sample_by_gumbel if config.reference_quirks else sample_by_inverse_cdf
    sampled_ids = jax.lax.stop_gradient(sample(logits, inputs.sample_uniforms))
    input_ids = scatter(original, masked.positions, sampled_ids, masked.weights)
    return Corruption(
        input_ids=input_ids, labels=(input_ids != original).astype(jnp.int32), sampled_ids=sampled_ids
    )


def discriminator_terms(
    logits: Array, labels: Array, real: Array, *, auc_counts_padding: bool
) -> tuple[Array, MetricSums]:
    """Compute the discriminator's summed loss and its metrics.

    Args:
        logits: ``[batch, length]``.
        labels: ``[batch, length]``, 1 for replaced.
        real: float32 ``[batch, length]``, 0 for padding.
        auc_counts_padding: The original's quirk.

    Returns:
        Sigmoid cross-entropy summed over all real tokens, special ones included (a float32 scalar), and the metric
        sums.
    """
    cross_entropy = optax.sigmoid_binary_cross_entropy(logits, labels.astype(jnp.float32))
    predictions = (logits > 0).astype(jnp.int32)
    right = predictions == labels
    sums = {
        "disc_loss": weighted_sum(cross_entropy, real),
        "disc_accuracy": weighted_sum(right, real),
        "disc_auc": auc_with_padding(logits, labels, real)
        if auc_counts_padding
        else auc_histogram(logits, labels, real),
        "disc_precision": weighted_sum(right, real * predictions),
        "disc_recall": weighted_sum(right, real * labels),
    }
    return (cross_entropy * real).sum(), sums


def summarize_networks(
    sums: Mapping[str, np.ndarray],
    names: Sequence[str],
    generator_loss: str,
    settings: ElectraObjective | ElectricObjective,
) -> dict[str, float | None]:
    """Turn the metric sums of generator and discriminator into metrics.

    Args:
        sums: By name.
        names: The metrics, in the order in which they are printed.
        generator_loss: The one of them that trains the generator.
        settings: Weights of the two losses.

    Returns:
        ``loss``, the weighted total of the two mean losses, None if one of them is; then the metrics.
    """
    metrics = {
        name: area_under_curve(sums[name]) if name == "disc_auc" else mean(sums[name]) for name in names
    }
    first, second = metrics[generator_loss], metrics["disc_loss"]
    total = None
    if first is not None and second is not None:
        total = settings.generator_weight * first + settings.discriminator_weight * second
    return {"loss": total, **metrics}


@dataclass(frozen=True)
class ReplacedTokenDetection:
    """ELECTRA's loss: generator_weight · masked_lm_loss + discriminator_weight · disc_loss."""

    settings: ElectraObjective
    network: Electra
    special: SpecialIds
    done: Array | float = 1.0  # share of the run's steps

    subnetworks: ClassVar[Sequence[Subnetwork]] = (
        Subnetwork(
            "generator", ("generator_embeddings", "generator_encoder", "generator_head"), "masked_lm_loss"
        ),
        Subnetwork("discriminator", ("encoder", "discriminator_head"), "disc_loss"),
    )
    text_metrics: ClassVar[None] = None

    def init(self, rng: Array) -> Params:
        """Initialise fresh parameters of both networks."""
        return init_params(self.network, rng)

    def at(self, done: Array) -> "ReplacedTokenDetection":
        """Return the objective where a share ``done`` of the run is done; see `ScheduledObjective`."""
        return replace(self, done=done)

    def draw_inputs(self, batch: Array, rng: Array) -> ElectraInputs:
        """Draw masks and sampling noise of ``batch``, int32 ``[batch, length]``."""
        settings, rows = self.settings, self.network.sizes.vocab_rows
        return draw_electra_inputs(batch, rng, settings, self.special, rows, self.done)

    def loss_normalizers(self, inputs: ElectraInputs) -> tuple[Array, Array]:
        """Return the sum of the masks' weights and the number of real tokens in the batch."""
        return inputs.masked.weights.sum(), (inputs.original.segment_ids != 0).sum().astype(jnp.float32)

    def run_generator(
        self, params: Params, inputs: ElectraInputs, dropout_rng: Array | None = None
    ) -> tuple[Array, Corruption]:
        """Run the generator on the masked rows and sample replacements from it.

        Args:
            params: Parameters as `init` makes them.
            inputs: The batch.
            dropout_rng: A key; None means no dropout.

        Returns:
            The generator's logits ``[batch, slots, vocab_rows]``, and the corrupted rows.
        """
        masked_rows = replace(inputs.original, input_ids=inputs.masked.input_ids)
        logits: Any = self.network.apply(
            {"params": params}, masked_rows, inputs.masked.positions, dropout_rng, method="generate"
        )
        return logits, corrupt(logits, inputs, self.settings, self.done)

    def run_discriminator(
        self, params: Params, inputs: ElectraInputs, corruption: Corruption, dropout_rng: Array | None = None
    ) -> Array:
        """Return the discriminator's logits for corrupted rows, float32 ``[batch, length]``."""
        corrupted_rows = replace(inputs.original, input_ids=corruption.input_ids)
        logits: Any = self.network.apply(
            {"params": params}, corrupted_rows, dropout_rng, method="discriminate"
        )
        return logits

    def loss(
        self,
        params: Params,
        inputs: ElectraInputs,
        normalizers: tuple[Array, Array],
        dropout_rng: Array | None,
    ) -> tuple[Array, MetricSums]:
        """Compute both losses over (a part of) the batch, and the metrics of both networks."""
        settings = self.settings
        generator_rng, discriminator_rng = split_or_none(dropout_rng, 2)
        generator_logits, corruption = self.run_generator(params, inputs, generator_rng)
        masked_lm_sum, generator_sums = masked_lm_terms(generator_logits, inputs.masked)
        logits = self.run_discriminator(params, inputs, corruption, discriminator_rng)
        real = (inputs.original.segment_ids != 0).astype(jnp.float32)
        disc_sum, discriminator_sums = discriminator_terms(
            logits, corruption.labels, real, auc_counts_padding=settings.reference_quirks
        )
        masked_tokens, real_tokens = normalizers
        loss = settings.generator_weight * masked_lm_sum / (masked_tokens + LOSS_EPSILON)
        loss += settings.discriminator_weight * disc_sum / (real_tokens + LOSS_EPSILON)
        sampled_right = corruption.sampled_ids == inputs.masked.ids
        return loss, {
            **generator_sums,
            "sampled_masked_lm_accuracy": weighted_sum(sampled_right, inputs.masked.weights),
            **discriminator_sums,
            "padding_fraction": padding_sum(inputs.original),
        }

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Turn metric sums into metrics by name; ``loss`` is the weighted total of the two mean losses."""
        return summarize_networks(sums, METRICS, "masked_lm_loss", self.settings)

    def flops_per_row(self, length: int) -> float:
        """Count both encoders, the generator's head at the chosen positions, and the discriminator's at all.

        A generator that is not trained counts a third: a step is counted as three such passes, and it has one.
        """
        sizes = self.network.sizes
        generator, embedding = sizes.generator, sizes.generator_embedding_size
        slots = num_slots(self.settings, length)
        flops = encoder_flops(self.network.config.generator_encoder, length)
        flops += masked_lm_head_flops(generator.hidden_size, embedding, sizes.vocab_size, slots)
        flops /= 3 if self.network.config.generator_frozen else 1
        flops += encoder_flops(self.network.config.encoder, length)
        return flops + discriminator_head_flops(sizes.discriminator.hidden_size, length)

    def baselines(self, most_frequent_share: float) -> str:
        """Describe masked_lm_accuracy without learning; see `masked_lm_baselines`."""
        return masked_lm_baselines(self.settings, most_frequent_share)

    @property
    def examples(self) -> Examples:
        """Text with tokens replaced by the generator, and what the discriminator marks."""

        def compute(params: Params, rows: Array, rng: Array) -> dict[str, Array]:
            inputs = self.draw_inputs(rows, rng)
            _, corruption = self.run_generator(params, inputs)
            logits = self.run_discriminator(params, inputs, corruption)
            return {
                "segment_ids": inputs.original.segment_ids,
                "input_ids": corruption.input_ids,
                "logits": logits,
            }

        return Examples(compute, marked_lines)
