"""Folders for sentence-transformers, loaded by the library, where it is installed: the vectors are ours."""

import warnings

import jax
import numpy as np
import pytest
from huggingface_folder import words
from modern_weights import MODEL, random_weights
from small_run import SmallVocabulary

from electra_jax.convert.flat_parameters import unflatten
from electra_jax.convert.sentence_transformers_writing import write_sentence_transformers
from electra_jax.inference.model import Model
from electra_jax.partitioning import mesh
from electra_jax.tokenizers.build import KINDS

library = pytest.importorskip(
    "sentence_transformers",
    reason="sentence-transformers is not installed: pip install -e '.[huggingface]'",
)

TEXTS = ["word1 word2 word3", "word7", "word9 word8 word7 word6 " * 20, "word4 word4"]


@pytest.fixture(
    scope="module", params=[{"num_layers": 3, "embedding_size": 16}, MODEL], ids=["bert", "modern"]
)
def weights(request):
    content = "".join(f"{word}\n" for word in words(SmallVocabulary.vocab_size)).encode()
    tokenizer = KINDS["wordpiece"](content, lowercase=True, strip_accents=True, where="here")
    return random_weights(tokenizer, model=request.param)


@pytest.mark.parametrize(("layer", "pooling"), [(None, "mean"), (1, "first"), (2, "mean")])
def test_vectors_are_ours(weights, layer, pooling, tmp_path, monkeypatch):
    monkeypatch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
    write_sentence_transformers(weights, tmp_path, layer, pooling)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        theirs = library.SentenceTransformer(str(tmp_path), device="cpu")
    params = unflatten(weights.parameters, weights.config.model.vocab_multiple)
    ours = Model(weights.config, weights.tokenizer, params, {}).encode(TEXTS, pooling, layer, cut=[])
    found = theirs.encode(TEXTS)
    np.testing.assert_allclose(found, ours, atol=2e-5)
    assert abs(found[0] - found[1]).max() > 1e-2
    assert theirs.similarity(found, found).shape == (4, 4)
