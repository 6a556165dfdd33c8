"""Electric: −E(x)_t, which stands for log p(x_t | all other tokens), of all tokens of a text in one pass."""

from jax import Array

from electra_jax.model.electric import Electric
from electra_jax.objectives.electric import negative_energies
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.objectives.protocol import Params


def electric_log_probs(
    network: Electric, params: Params, rows: Array, special: SpecialIds
) -> tuple[Array, Array]:
    """Return −E(x)_t of every token of a text (Clark et al., EMNLP 2020, §2), with its partition functions taken as 1.

    Args:
        network: Whose discriminator gives the energies.
        params: Its parameters; the towers' are not needed.
        rows: int32 ``[batch, length]``, one text a row: [CLS] tokens [SEP] padding.
        special: Ids of the special tokens.

    Returns:
        float32 ``[batch, length]``, 0 where nothing is scored; and float32 ``[batch, length]``, 1 for text tokens.
    """
    return negative_energies(network, params, rows, special)
