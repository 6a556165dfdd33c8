"""Replaced-token detection: what the discriminator thinks of every token of a text as it stands.

ELECTRA's discriminator (Clark et al., ICLR 2020, §2) gives the probability that a token was replaced. log(1 − p) is 0
where it takes the token for the original, and the more negative the surer it is of the opposite.
"""

from typing import Any

import jax
from jax import Array

from electra_jax.model.electra import Electra
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives.electric import text_tokens
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.objectives.protocol import Params


def original_log_probs(
    network: Electra, params: Params, rows: Array, special: SpecialIds
) -> tuple[Array, Array]:
    """Return log(1 − p replaced) of every token of a text, in one pass.

    Args:
        network: Whose discriminator is asked.
        params: Its parameters; the generator's are not needed.
        rows: int32 ``[batch, length]``, one text a row: [CLS] tokens [SEP] padding.
        special: Ids of the special tokens.

    Returns:
        float32 ``[batch, length]``, 0 where nothing is scored; and float32 ``[batch, length]``, 1 for text tokens.
    """
    inputs = packed_inputs(rows, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    logits: Any = network.apply({"params": params}, inputs, None, method="discriminate")
    counted = text_tokens(rows, special)
    return jax.nn.log_sigmoid(-logits) * counted, counted
