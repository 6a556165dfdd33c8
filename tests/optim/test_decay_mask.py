"""Which parameters are decayed, over the parameters of every kind of network."""

import re

import jax
import numpy as np
import pytest

from electra_jax.config.schema import Config
from electra_jax.objectives import build_objective
from electra_jax.optim.decay_mask import weight_decay_mask


class Vocabulary:
    vocab_size = 64
    pad_id, unk_id, cls_id, sep_id, mask_id = range(5)


def _flat(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(key.key) for key in path): leaf for path, leaf in leaves}


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"objective": {"kind": "masked_lm"}},
        {"generator": {"sharing": "none"}},
        {"generator": {"sharing": "all", "size_fraction": 1.0}},
    ],
    ids=str,
)
def test_every_parameter_is_covered_as_in_the_original(overrides):
    config = Config.model_validate(
        {"model": {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "embedding_size": 4}, **overrides}
    )
    objective = build_objective(config, Vocabulary())
    mask = _flat(weight_decay_mask(jax.eval_shape(objective.init, jax.random.key(0))))
    # The original's exclude_from_weight_decay, matched anywhere in the name.
    assert mask == {name: not re.search("layer_norm|bias", name) for name in mask}
    assert mask["embeddings/word/embedding"] is True
    assert mask["generator_head/output_bias"] is False
    assert mask["embeddings/layer_norm/scale"] is False


def test_what_no_rule_covers_is_an_error_that_lists_it():
    leaf = np.zeros(1)
    params = {
        "encoder": {"gate": leaf, "scale": leaf, "kernel": leaf},
        "layer": {"scale": leaf},
        "bias": leaf,
        "temperature": leaf,
    }
    with pytest.raises(ValueError, match=r"covers: encoder/gate, encoder/scale, layer/scale, temperature$"):
        weight_decay_mask(params)
