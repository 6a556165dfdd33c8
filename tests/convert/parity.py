"""What the comparisons with other implementations have in common."""

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.convert.flat_parameters import unflatten
from electra_jax.model.inputs import EncoderInputs


def load_params(weights):
    """Converted weights as the tree of arrays that a network is applied to."""
    return jax.tree.map(jnp.asarray, unflatten(weights.parameters, weights.config.model.vocab_multiple))


def encoder_inputs(input_ids, attention_mask, token_type_ids):
    """BERT's three arrays ``[batch, length]`` as ours: one document a row."""
    positions = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape)
    arrays = (input_ids, token_type_ids, positions, attention_mask)
    return EncoderInputs(*(jnp.asarray(array, jnp.int32) for array in arrays))


def largest(ours, theirs):
    """The largest absolute difference."""
    return np.abs(np.asarray(ours) - np.asarray(theirs)).max()


def gradients_difference(ours, recorded):
    """The largest difference of any gradient by name: its norm relative to that of the array.

    A key's bias shifts all scores of a query alike, so its gradient is 0 and what is recorded is rounding: it is set
    against the largest gradient.
    """
    assert ours.keys() == recorded.keys()
    most = max(np.linalg.norm(array) for array in recorded.values())
    return max(
        np.linalg.norm(np.asarray(ours[name]) - expected)
        / (most if name.endswith("key.bias") else np.linalg.norm(expected))
        for name, expected in recorded.items()
    )
