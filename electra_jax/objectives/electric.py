"""Electric: an energy for every token, learned by telling it from tokens that a cloze model proposes.

Clark et al., "Pre-Training Transformers as Energy-Based Cloze Models", EMNLP 2020, §2 and §3. A generator of two
towers, the paper's two-tower cloze model, gives q(x_t | all other tokens) at every position. The discriminator gives an
energy E(x)_t, and p(x_t | all other tokens) is taken to be exp(-E(x)_t). It is trained by noise-contrastive estimation,
which needs no partition function: training makes it come out as 1. With a share r of the tokens replaced, the log-odds
that token t was drawn from the noise are log(r q / ((1 - r) p)) = E(x)_t + log q(x_t) + log(r / (1 - r)).

Replacements are drawn from q as it is. A temperature, or excluding the original token, would make the noise another
distribution than the one whose logarithm is added.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.objectives import ElectricObjective
from electra_jax.model.electric import ClozeOutputs, Electric
from electra_jax.model.flops import discriminator_head_flops, encoder_flops, masked_lm_head_flops
from electra_jax.model.inputs import EncoderInputs, packed_inputs
from electra_jax.model.layers import split_or_none
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import electra
from electra_jax.objectives.electra import (
    Corruption,
    ElectraInputs,
    discriminator_terms,
    draw_electra_inputs,
    summarize_networks,
)
from electra_jax.objectives.marked_text import marked_lines
from electra_jax.objectives.masked_lm import (
    LOSS_EPSILON,
    SpecialIds,
    masked_lm_terms,
    most_frequent_token_baseline,
    padding_sum,
)
from electra_jax.objectives.masking import scatter
from electra_jax.objectives.metrics import MetricSums, weighted_sum
from electra_jax.objectives.protocol import Examples, Params, Subnetwork
from electra_jax.objectives.sampling import sample_by_gumbel, sample_by_inverse_cdf

METRICS = ("cloze_loss", *electra.METRICS)


def text_tokens(input_ids: Array, special: SpecialIds) -> Array:
    """Return float32 1 for every token that may be chosen and 0 for special tokens and padding."""
    excluded = jnp.array([special.pad, special.cls, special.sep, special.mask])
    return (~jnp.isin(input_ids, excluded)).astype(jnp.float32)


def corrupt_with_noise(logits: Array, inputs: ElectraInputs, *, gumbel: bool) -> Corruption:
    """Replace every chosen token by a sample from the cloze model; no gradient flows through it.

    A sample that equals the original is labelled replaced: the label says where the token came from.

    Args:
        logits: The cloze model's at the chosen positions, ``[batch, slots, vocab]``.
        inputs: The batch; of ``masked`` the chosen positions are used, and its rows with [MASK] are not.
        gumbel: Sample as the original does.
    """
    masked, original = inputs.masked, inputs.original.input_ids
    sample = sample_by_gumbel if gumbel else sample_by_inverse_cdf
    sampled_ids = sample(jax.lax.stop_gradient(logits), inputs.sample_uniforms)
    ones = jnp.ones_like(masked.positions)
    return Corruption(
        input_ids=scatter(original, masked.positions, sampled_ids, masked.weights),
        labels=scatter(jnp.zeros_like(original), masked.positions, ones, masked.weights),
        sampled_ids=sampled_ids,
    )


def noise_log_odds(energies: Array, log_q: Array, *, mask_rate: float) -> Array:
    """Return the log-odds that a token is noise, E + log q + log(r / (1 - r)); no gradient reaches the cloze model.

    Args:
        energies: float32 ``[batch, length]``.
        log_q: float32 ``[batch, length]``, log-probabilities by the cloze model of the tokens the energies are of.
        mask_rate: r, the share of tokens that are replaced.

    Returns:
        float32 ``[batch, length]``.
    """
    return energies + jax.lax.stop_gradient(log_q) + math.log(mask_rate / (1.0 - mask_rate))


def negative_energies(
    network: Electric, params: Params, rows: Array, special: SpecialIds
) -> tuple[Array, Array]:
    """Return -E(x)_t of every text token of rows with one text each.

    Args:
        network: Whose discriminator gives the energies.
        params: Its parameters.
        rows: int32 ``[batch, length]``: [CLS] tokens [SEP] padding.
        special: Ids of the special tokens.

    Returns:
        float32 ``[batch, length]``, 0 for all but text tokens; and float32 ``[batch, length]``, 1 for these.
    """
    inputs = packed_inputs(rows, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    energies: Any = network.apply({"params": params}, inputs, None, method="discriminate")
    text = text_tokens(rows, special)
    return -energies * text, text


@dataclass(frozen=True)
class EnergyBasedCloze:
    """Electric's loss: generator_weight · cloze_loss + discriminator_weight · disc_loss."""

    settings: ElectricObjective
    network: Electric
    special: SpecialIds

    subnetworks: ClassVar[Sequence[Subnetwork]] = (
        Subnetwork("generator", ("generator_ltr", "generator_rtl", "cloze_head"), "cloze_loss"),
        Subnetwork("discriminator", ("encoder", "discriminator_head"), "disc_loss"),
    )
    text_metrics: ClassVar[None] = None

    def init(self, rng: Array) -> Params:
        """Initialise fresh parameters of both towers, their head and the discriminator."""
        return init_params(self.network, rng)

    def draw_inputs(self, batch: Array, rng: Array) -> ElectraInputs:
        """Draw which tokens of ``batch``, int32 ``[batch, length]``, are replaced, and the noise to sample with."""
        return draw_electra_inputs(batch, rng, self.settings, self.special, self.network.sizes.vocab_rows)

    def loss_normalizers(self, inputs: ElectraInputs) -> tuple[Array, Array]:
        """Return the number of text tokens, and of real tokens (special ones counted), in the batch."""
        text = text_tokens(inputs.original.input_ids, self.special).sum()
        return text, (inputs.original.segment_ids != 0).sum().astype(jnp.float32)

    def run_generator(
        self, params: Params, inputs: ElectraInputs, dropout_rng: Array | None = None
    ) -> tuple[ClozeOutputs, Corruption]:
        """Run the cloze model on the original rows and sample replacements from it.

        Args:
            params: Parameters as `init` makes them.
            inputs: The batch.
            dropout_rng: A key; None means no dropout.

        Returns:
            The cloze model's distributions at every position, and the corrupted rows.
        """
        cloze, _, corruption = self._run_generator(params, inputs, dropout_rng)
        return cloze, corruption

    def _run_generator(
        self, params: Params, inputs: ElectraInputs, dropout_rng: Array | None
    ) -> tuple[ClozeOutputs, Array, Corruption]:
        """Return the logits at the chosen positions, ``[batch, slots, vocab_rows]``, besides."""
        cloze: Any = self.network.apply({"params": params}, inputs.original, dropout_rng, method="cloze")
        logits = cloze.at(inputs.masked.positions).logits()
        return cloze, logits, corrupt_with_noise(logits, inputs, gumbel=self.settings.reference_quirks)

    def energies(self, params: Params, inputs: EncoderInputs, dropout_rng: Array | None = None) -> Array:
        """Return E(x)_t of every token, float32 ``[batch, length]``; low where a token is likely in its context."""
        energies: Any = self.network.apply({"params": params}, inputs, dropout_rng, method="discriminate")
        return energies

    def run_discriminator(
        self,
        params: Params,
        inputs: ElectraInputs,
        corruption: Corruption,
        cloze: ClozeOutputs,
        original_nll: Array,
        dropout_rng: Array | None = None,
    ) -> Array:
        """Return the log-odds ``[batch, length]`` that a token of the corrupted rows was drawn from the cloze model.

        q is that of the original rows, as in the original: the towers do not run a second time.

        Args:
            params: Parameters as `init` makes them.
            inputs: The batch.
            corruption: The corrupted rows.
            cloze: The cloze model's distributions, of the original rows.
            original_nll: -log q of the original tokens, float32 ``[batch, length]``.
            dropout_rng: A key; None means no dropout.
        """
        corrupted_rows = replace(inputs.original, input_ids=corruption.input_ids)
        energies = self.energies(params, corrupted_rows, dropout_rng)
        log_q = cloze.log_ratio(corruption.input_ids, inputs.original.input_ids) - original_nll
        return noise_log_odds(energies, log_q, mask_rate=self.settings.mask_rate)

    def pseudo_log_likelihood(self, params: Params, rows: Array) -> Array:
        """Return Σ_t -E(x)_t over the text tokens, in one pass and without masking.

        That is Σ_t log p(x_t | all other tokens) with the partition functions taken as 1. It ranks texts, and is not a
        normalised probability (Clark et al., EMNLP 2020). Special tokens do not count.

        Args:
            params: Parameters as `init` makes them.
            rows: int32 ``[batch, length]``, one text a row: [CLS] tokens [SEP] padding.

        Returns:
            float32 ``[batch]``.
        """
        return negative_energies(self.network, params, rows, self.special)[0].sum(axis=1)

    def loss(
        self,
        params: Params,
        inputs: ElectraInputs,
        normalizers: tuple[Array, Array],
        dropout_rng: Array | None,
    ) -> tuple[Array, MetricSums]:
        """Compute both losses over (a part of) the batch, and the metrics of both networks."""
        settings, original, masked = self.settings, inputs.original, inputs.masked
        generator_rng, discriminator_rng = split_or_none(dropout_rng, 2)
        cloze, masked_logits, corruption = self._run_generator(params, inputs, generator_rng)
        text = text_tokens(original.input_ids, self.special)
        cloze_sum, tokens = cloze.losses(original.input_ids, text)
        # Over the chosen tokens alone, to compare it with other objectives; the cloze model learns from all.
        _, masked_sums = masked_lm_terms(masked_logits, masked)
        logits = self.run_discriminator(params, inputs, corruption, cloze, tokens.nll, discriminator_rng)
        real = (original.segment_ids != 0).astype(jnp.float32)
        disc_sum, discriminator_sums = discriminator_terms(
            logits, corruption.labels, real, auc_counts_padding=settings.reference_quirks
        )
        text_tokens_total, real_tokens = normalizers
        loss = settings.generator_weight * cloze_sum / (text_tokens_total + LOSS_EPSILON)
        loss += settings.discriminator_weight * disc_sum / (real_tokens + LOSS_EPSILON)
        return loss, {
            "cloze_loss": weighted_sum(tokens.nll, text),
            **masked_sums,
            "sampled_masked_lm_accuracy": weighted_sum(corruption.sampled_ids == masked.ids, masked.weights),
            **discriminator_sums,
            "padding_fraction": padding_sum(original),
        }

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Turn metric sums into metrics by name; ``loss`` is the weighted total of the two mean losses."""
        return summarize_networks(sums, METRICS, "cloze_loss", self.settings)

    def flops_per_row(self, length: int) -> float:
        """Count both towers, a head over their joined states at every position, and the discriminator."""
        sizes = self.network.sizes
        generator, embedding = sizes.generator, sizes.embedding_size
        flops = 2 * encoder_flops(self.network.config.generator_encoder, length)
        flops += masked_lm_head_flops(2 * generator.hidden_size, embedding, sizes.vocab_size, length)
        flops += encoder_flops(self.network.config.encoder, length)
        return flops + discriminator_head_flops(sizes.discriminator.hidden_size, length)

    def baselines(self, most_frequent_share: float) -> str:
        """Describe guessing; nothing can be copied, as the generator never sees the token it predicts."""
        return most_frequent_token_baseline(most_frequent_share)

    @property
    def examples(self) -> Examples:
        """Text with tokens replaced by the cloze model, and what the discriminator marks."""

        def compute(params: Params, rows: Array, rng: Array) -> dict[str, Array]:
            inputs = self.draw_inputs(rows, rng)
            cloze, corruption = self.run_generator(params, inputs)
            ids = inputs.original.input_ids
            _, tokens = cloze.losses(ids, text_tokens(ids, self.special))
            logits = self.run_discriminator(params, inputs, corruption, cloze, tokens.nll)
            return {
                "segment_ids": inputs.original.segment_ids,
                "input_ids": corruption.input_ids,
                "logits": logits,
            }

        return Examples(compute, marked_lines)
