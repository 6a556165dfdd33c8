"""How likely a decoder finds a text that is there already: every token is given those before it."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from electra_jax.model.text_decoder import TextDecoder
from electra_jax.tasks.copyable import copyable
from electra_jax.tasks.protocol import NO_TARGET, TaskBatch
from electra_jax.tokenizers import Tokenizer


def token_log_probs(
    head: TextDecoder, hidden: Array, batch: TaskBatch, *, tokenizer: Tokenizer
) -> dict[str, Array]:
    """Return log p(token | the source, all tokens before it) of each target token, without holding all logits.

    Args:
        head: the bound decoder.
        hidden: the encoder's states ``[batch, length, hidden]``.
        batch: with ``target_ids``, int32 ``[batch, target_length]``, `NO_TARGET` where there is no token.
        tokenizer: of the texts.

    Returns:
        ``log_probs``, float32 ``[batch, target_length]``, 0 where there is no token.
    """
    targets = batch.targets["target_ids"]
    is_token = targets != NO_TARGET
    targets = jnp.where(is_token, targets, tokenizer.pad_id)
    start = jnp.full_like(targets[:, :1], tokenizer.cls_id)
    read = jnp.concatenate([start, targets[:, :-1]], axis=1)
    weights = is_token.astype(jnp.float32)
    source = head.source(hidden, batch.inputs.segment_ids, copyable(batch, tokenizer))
    _, nll = head.losses(source, read, targets, weights)
    return {"log_probs": -nll * weights}
