"""Pseudo-log-likelihood: each token of a text masked in turn, and how likely the masked language model finds it there.

Salazar et al., "Masked Language Model Scoring", ACL 2020, §2.1.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from electra_jax.model.electra import Electra, MaskedLMNetwork
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives.masked_lm import SpecialIds, token_nll
from electra_jax.objectives.protocol import Params


def masked_logits(
    network: Electra | MaskedLMNetwork, params: Params, rows: Array, columns: Array, special: SpecialIds
) -> Array:
    """Return the generator's logits at one column of each row, where it reads [MASK] in place of the token.

    Args:
        network: Whose generator is asked.
        params: Its parameters.
        rows: int32 ``[batch, length]``, one text a row: [CLS] tokens [SEP] padding.
        columns: int32 ``[batch]``.
        special: Ids of the special tokens.

    Returns:
        float32 ``[batch, vocab_rows]``.
    """
    here = jnp.arange(rows.shape[1]) == columns[:, None]
    masked = jnp.where(here, special.mask, rows)
    inputs = packed_inputs(masked, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    logits: Any = network.apply({"params": params}, inputs, columns[:, None], None, method="generate")
    return logits[:, 0]


def masked_log_probs(
    network: Electra | MaskedLMNetwork, params: Params, rows: Array, columns: Array, special: SpecialIds
) -> Array:
    """Return log p(token at a column | all others of its row), float32 ``[batch]``; arguments as `masked_logits`."""
    logits = masked_logits(network, params, rows, columns, special)
    return -token_nll(logits, jnp.take_along_axis(rows, columns[:, None], axis=1)[:, 0])
