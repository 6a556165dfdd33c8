"""Log-probability of a text by a causal language model, token by token from left to right.

The first token is given [CLS], as GPT-2's is given <|endoftext|> in the evaluations of minimal pairs
(lm-evaluation-harness and minicons do so).
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from electra_jax.model.causal_lm import CausalLM
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives.causal_lm import next_tokens
from electra_jax.objectives.electric import text_tokens
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.objectives.protocol import Params


def causal_log_probs(
    network: CausalLM, params: Params, rows: Array, special: SpecialIds, *, end: bool = False
) -> tuple[Array, Array]:
    """Return log p(token | all before it in its text), without holding all logits.

    Args:
        network: A causal language model.
        params: Its parameters.
        rows: int32 ``[batch, length]``, one text a row: [CLS] tokens [SEP] padding, or without [SEP].
        special: Ids of the special tokens.
        end: Whether [SEP] is scored too, as the text's end. The evaluations of minimal pairs leave it out: a sentence
            seldom ends a document, so it would say more of the training text than of the sentence.

    Returns:
        float32 ``[batch, length]``, 0 where nothing is scored; and float32 ``[batch, length]``, 1 for what is.
    """
    inputs = packed_inputs(rows, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    following, weights = next_tokens(inputs)
    out: Any = network.apply({"params": params}, inputs, following, weights, None, method="losses")
    found = -out[1].nll[:, :-1]  # of the token behind each
    counted = text_tokens(rows, special)
    if end:
        counted = jnp.where(rows == special.sep, 1.0, counted)
    return jnp.pad(found, ((0, 0), (1, 0))) * counted, counted
