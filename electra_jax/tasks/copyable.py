"""Which tokens of a source a decoder may copy."""

import jax.numpy as jnp
from jax import Array

from electra_jax.tasks.protocol import TaskBatch
from electra_jax.tokenizers import Tokenizer


def copyable(batch: TaskBatch, tokenizer: Tokenizer) -> Array:
    """Return the sources' tokens, int32 ``[batch, length]``, -1 for padding and for those that are no text."""
    ids = batch.inputs.input_ids
    special = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.unk_id)
    is_text = (batch.inputs.segment_ids != 0) & ~jnp.isin(ids, jnp.array(special))
    return jnp.where(is_text, ids, -1)
