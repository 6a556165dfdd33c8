"""A causal language model: a decoder over the embeddings, with the tied vocabulary head.

Parameters as those of masked-language modelling, ``embeddings``, ``encoder`` and ``generator_head``; the network is
Hugging Face's ``ElectraForCausalLM``.
"""

from functools import partial
from typing import Any, cast

from jax import Array

from electra_jax.model.cache import Cache
from electra_jax.model.decoder import Decoder
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.heads import MaskedLMHead
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.text_decoder import read_prompt, read_token
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.model.vocabulary_loss import TokenLosses, vocabulary_loss


class CausalLM(TextEncoder):
    """Every token sees itself and what is before it in its document; call it by its methods."""

    def setup(self) -> None:  # noqa: D102
        self.embeddings = Embeddings(self.config.embeddings)
        self.encoder = Decoder(self.config.encoder)
        self.generator_head = MaskedLMHead(self.sizes.vocab_size, self.config.encoder.block)

    def logits(self, inputs: EncoderInputs, rng: Array | None = None) -> Array:
        """Return float32 logits of the next token, ``[batch, length, vocab_rows]``, of every token."""
        return self.generator_head(self.encode(inputs, rng), self.embeddings.word_table())

    def losses(
        self, inputs: EncoderInputs, targets: Array, weights: Array, rng: Array | None = None
    ) -> tuple[Array, TokenLosses]:
        """Return Σ w · nll of the tokens that follow, and what is known of each, without holding all logits.

        Args:
            inputs: Whole rows.
            targets: int32 ``[batch, length]``, the token behind each.
            weights: float32 ``[batch, length]``, 0 where there is none.
            rng: A key; None means no dropout.
        """
        operations = self.config.encoder.block.operations
        loss = partial(vocabulary_loss, ids=targets, weights=weights, operations=operations)
        result: Any = self.generator_head(self.encode(inputs, rng), self.embeddings.word_table(), loss)
        return result

    def prefill(self, ids: Array, lengths: Array, slots: int) -> tuple[Array, Cache]:
        """Read prompts; see `read_prompt`."""
        return read_prompt(self.embeddings, cast(Decoder, self.encoder), self._logits, (ids, lengths), slots)

    def step(self, cache: Cache, ids: Array) -> tuple[Array, Cache]:
        """Read one token more of each row; see `read_token`."""
        return read_token(self.embeddings, cast(Decoder, self.encoder), self._logits, cache, ids)

    def _logits(self, states: Array) -> Array:
        logits: Array = self.generator_head(states, self.embeddings.word_table())
        return logits

    def __call__(self, inputs: EncoderInputs, positions: Array) -> Any:
        """Run the whole network, so that all parameters are created."""
        del positions
        return self.logits(inputs)
