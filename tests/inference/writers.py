"""Causal language models of a few thousand random weights, made in a second."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import small_config

from electra_jax.inference.model import Model
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning import mesh
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*SPECIAL, *"abcdefgh .\n"]
WORDS = [*SPECIAL, "ann", "bob", "left", "##s", "'", "t", ".", ",", "[unused0]"]
MODEL = {"hidden_size": 16, "embedding_size": 16, "num_layers": 1, "num_heads": 2, "vocab_multiple": 8}


def causal_model(*, words=False, length=32, devices=None, **sections):
    """A model that writes something else behind every prompt."""
    if words:
        tokenizer = WordPieceTokenizer("\n".join(WORDS).encode(), lowercase=True, strip_accents=True)
    else:
        content = json.dumps(LETTERS).encode()
        tokenizer = CharactersTokenizer(content, lowercase=False, strip_accents=False)
    config = small_config(
        model={**MODEL, "max_positions": length},
        objective={"kind": "causal_lm"},
        data={"sequence_length": length},
        tokenizer={"kind": "characters"},
        **sections,
    )
    params = _random(
        jax.eval_shape(lambda: init_params(build_network(config, tokenizer.vocab_size), jax.random.key(0)))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:devices])
        return Model(config, tokenizer, params, {})


def _random(shapes):
    """Weights that make every text another; LayerNorms keep their size."""
    rng = np.random.default_rng(0)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: (rng.normal(size=leaf.shape) * 0.5 + ("scale" in str(path[-1]))).astype(
            np.float32
        ),
        shapes,
    )


class Teacher:
    """The same network without a cache: a whole text at once."""

    def __init__(self, model):
        length = model.config.model.max_positions

        @jax.jit
        def log_probs(row):
            zeros = jnp.zeros_like(row)
            inputs = EncoderInputs(row, zeros, jnp.arange(length)[None], zeros + 1)
            logits = model._network.apply({"params": params}, inputs, method="logits")[0]
            return jax.nn.log_softmax(logits.astype(jnp.float32))

        params = jax.tree.map(np.asarray, model._params)
        self._log_probs, self._length = log_probs, length

    def log_probs(self, ids, count):
        """Log-probabilities of the last ``count`` of ``ids``, by one pass over them all."""
        of_all = np.asarray(
            self._log_probs(jnp.asarray([[*ids, *[0] * (self._length - len(ids))]], jnp.int32))
        )
        return [float(of_all[place - 1, ids[place]]) for place in range(len(ids) - count, len(ids))]
