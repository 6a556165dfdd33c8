"""Causal language modelling: the next token of every document, left to right."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from electra_jax.config.objectives import CausalLMObjective
from electra_jax.model.causal_lm import CausalLM
from electra_jax.model.flops import encoder_flops, masked_lm_head_flops
from electra_jax.model.inputs import EncoderInputs, packed_inputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives.masked_lm import SpecialIds, padding_sum
from electra_jax.objectives.metrics import MetricSums, mean, weighted_sum
from electra_jax.objectives.protocol import Examples, Params, Subnetwork
from electra_jax.tokenizers import Tokenizer

# Of the rows that are shown, so much is the prompt; the model writes the rest.
PROMPT_SHARE = 4


@struct.dataclass
class CausalLMInputs:
    """A batch and what is to be predicted.

    Attributes:
        original: The rows.
        targets: int32 ``[batch, length]``, the token behind each.
        weights: float32 ``[batch, length]``: 1 where it is of the same document, else 0.
    """

    original: EncoderInputs
    targets: Array
    weights: Array


def next_tokens(inputs: EncoderInputs) -> tuple[Array, Array]:
    """Return the token behind each, int32 ``[batch, length]``, and float32 1 where it is of the same document."""
    targets = jnp.roll(inputs.input_ids, -1, axis=1)
    segments = inputs.segment_ids
    same = (jnp.roll(segments, -1, axis=1) == segments) & (segments != 0)
    return targets, same.at[:, -1].set(False).astype(jnp.float32)


@dataclass(frozen=True)
class NextToken:
    """The mean of -log p(token | those before it in its document); what follows [CLS] is a document's first token."""

    settings: CausalLMObjective
    network: CausalLM
    special: SpecialIds

    subnetworks: ClassVar[Sequence[Subnetwork]] = ()

    def init(self, rng: Array) -> Params:
        """Initialise fresh parameters."""
        return init_params(self.network, rng)

    def draw_inputs(self, batch: Array, rng: Array) -> CausalLMInputs:
        """Derive what is to be predicted of packed rows, int32 ``[batch, length]``; nothing is random."""
        del rng
        special = self.special
        original = packed_inputs(batch, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
        targets, weights = next_tokens(original)
        return CausalLMInputs(original=original, targets=targets, weights=weights)

    def loss_normalizers(self, inputs: CausalLMInputs) -> Array:
        """Return the number of tokens that are predicted."""
        return inputs.weights.sum()

    def loss(
        self, params: Params, inputs: CausalLMInputs, normalizers: Array, dropout_rng: Array | None
    ) -> tuple[Array, MetricSums]:
        """Compute the (share of the) mean cross-entropy, in nats, and the metrics."""
        out: Any = self.network.apply(
            {"params": params},
            inputs.original,
            inputs.targets,
            inputs.weights,
            dropout_rng,
            method="losses",
        )
        total, tokens = out
        return total / jnp.maximum(normalizers, 1.0), {
            "loss": weighted_sum(tokens.nll, inputs.weights),
            "token_accuracy": weighted_sum(tokens.predictions == inputs.targets, inputs.weights),
            "padding_fraction": padding_sum(inputs.original),
        }

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Turn metric sums into metrics by name; ``loss`` is in nats per token."""
        return {name: mean(pair) for name, pair in sums.items()}

    def text_metrics(
        self,
        sums: Mapping[str, np.ndarray],
        *,
        num_targets: int,
        num_bytes: int | None,
        num_words: int | None,
    ) -> dict[str, float | None]:
        """Compute what does not depend on the tokenizer: bits per byte, and perplexity per word.

        The loss of all tokens, ends of documents included, is charged to the bytes and words of the text as it was
        before it was tokenised. Both are None where the tokenizer did not keep all of the text: what it dropped would
        be had for nothing. Of a part of the rows, tokens per byte and per word are taken to be those of all.
        """
        loss = mean(sums["loss"])
        if loss is None or not num_bytes or not num_words:
            return {"bits_per_byte": None, "word_perplexity": None}
        nats = loss * num_targets
        return {
            "bits_per_byte": nats / math.log(2) / num_bytes,
            "word_perplexity": _exp(nats / num_words),
        }

    def flops_per_row(self, length: int) -> float:
        """Count the encoder, and the head at every position."""
        sizes = self.network.sizes
        encoder, embedding = sizes.discriminator, sizes.embedding_size
        head = masked_lm_head_flops(encoder.hidden_size, embedding, sizes.vocab_size, length)
        return encoder_flops(self.network.config.encoder, length) + head

    def baselines(self, most_frequent_share: float) -> str:
        """Describe token_accuracy of a model that always guesses the most frequent token."""
        return f"token_accuracy to compare with: {most_frequent_share:.4f} for always guessing the commonest token"

    @property
    def examples(self) -> Examples:
        """The beginnings of held-out rows, and what the model writes behind them, sampled as it is."""

        def compute(params: Params, rows: Array, rng: Array) -> dict[str, Array]:
            length = rows.shape[1]
            prompt = rows[:, : max(1, length // PROMPT_SHARE)]
            lengths = jnp.full(len(rows), prompt.shape[1], jnp.int32)
            variables = {"params": params}
            first: Any = self.network.apply(variables, prompt, lengths, length, method="prefill")

            def write(state: tuple[Array, Any], key: Array) -> tuple[tuple[Array, Any], Array]:
                ids = jax.random.categorical(key, state[0]).astype(jnp.int32)
                following: Any = self.network.apply(variables, state[1], ids, method="step")
                return following, ids

            keys = jax.random.split(rng, length - prompt.shape[1])
            _, written = jax.lax.scan(write, first, keys)
            return {"written": written.T}

        return Examples(compute, _written_lines)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _written_lines(
    rows: np.ndarray, found: Mapping[str, np.ndarray], tokenizer: Tokenizer, colour: bool
) -> list[str]:
    """Show each prompt and what was written behind it, up to the end of the document."""
    lines = ["beginnings of held-out rows, and >> what the model writes behind them:"]
    for row, written in zip(rows, found["written"], strict=True):
        ends = np.flatnonzero(np.isin(written, [tokenizer.sep_id, tokenizer.pad_id, tokenizer.cls_id]))
        prompt = tokenizer.detokenize(row[: len(row) - len(written)].tolist())
        text = tokenizer.detokenize(written[: ends[0] if len(ends) else None].tolist())
        text = f"\033[1m{text}\033[0m" if colour else text
        lines.append(f"{prompt} >> {text}".replace("\n", "⏎"))
    return lines
