"""Folders of models with model.block=modern against `transformers` itself, where it is installed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_folder import words
from modern_weights import random_weights
from parity import encoder_inputs, largest, load_params
from safetensors.numpy import load_file
from small_run import SmallVocabulary

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.objectives import build_network
from electra_jax.tokenizers.build import KINDS

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

VOCABULARY = SmallVocabulary.vocab_size
AUTO = {
    "discriminator": transformers.AutoModelForTokenClassification,
    "generator": transformers.AutoModelForMaskedLM,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, weights) of a discriminator and a generator of its width."""
    content = "".join(f"{word}\n" for word in words(VOCABULARY)).encode()
    tokenizer = KINDS["wordpiece"](content, lowercase=True, strip_accents=True, where="here")
    weights = random_weights(tokenizer, generator={"size_fraction": 1.0, "layers_fraction": 0.4})
    folder = tmp_path_factory.mktemp("written")
    write_huggingface(weights, folder)
    return folder, weights


@pytest.fixture(scope="module")
def batch():
    """Rows of which one is padded: int64 ``[2, 16]`` ids and mask."""
    mask = (np.arange(16) < np.array([[16], [9]])).astype(np.int64)
    return np.random.default_rng(0).integers(5, VOCABULARY, (2, 16)) * mask, mask


def _ours(weights, batch):
    """Logits of both networks, by name."""
    network = build_network(weights.config, weights.vocab_size)
    ids, mask = batch
    inputs = encoder_inputs(ids, mask, np.zeros_like(ids))
    positions = jnp.broadcast_to(jnp.arange(16), ids.shape)

    @jax.jit
    def logits(params):
        words = network.apply({"params": params}, inputs, positions, method="generate")[..., :VOCABULARY]
        return {
            "generator": words,
            "discriminator": network.apply({"params": params}, inputs, method="discriminate")[..., None],
        }

    return logits(load_params(weights))


def _theirs(model, batch):
    with torch.no_grad():
        return model(input_ids=torch.tensor(batch[0]), attention_mask=torch.tensor(batch[1])).logits.numpy()


def test_what_is_written_loads_whole_and_computes_the_same(written, batch, within):
    folder, weights = written
    ours, real = _ours(weights, batch), batch[1] > 0
    for network, auto in AUTO.items():
        model, info = auto.from_pretrained(folder / network, output_loading_info=True)
        assert not any(info.values()), info
        difference = largest(np.asarray(ours[network])[real], _theirs(model.eval(), batch)[real])
        within(f"modern: logits of the {network}", difference, 1e-5)
        described = json.loads((folder / network / "config.json").read_text())
        assert type(model).__name__ == described["architectures"][0]
        known = json.loads(model.config.to_json_string(use_diff=False))
        of_version_4 = ("global_rope_theta", "local_rope_theta")
        assert {k: v for k, v in described.items() if known.get(k) != v and k not in of_version_4} == {}
        assert model.config.pad_token_id == weights.tokenizer.pad_id


def test_the_tokenizer_gives_what_the_model_reads(written):
    folder, _ = written
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "discriminator")
    encoded = tokenizer("word3 word4", return_tensors="pt")
    assert encoded.keys() == {"input_ids", "attention_mask"}
    model = AUTO["discriminator"].from_pretrained(folder / "discriminator")
    assert model(**encoded).logits.shape == (1, 4, 1)


@pytest.mark.parametrize(
    "kind", ["ModernBertModel", "ModernBertForMaskedLM", "ModernBertForTokenClassification"]
)
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_what_transformers_writes_comes_in_and_goes_out_bit_for_bit(kind, pickled, tmp_path):
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        local_attention=8,
        num_labels=1,
        pad_token_id=0,
    )
    theirs = getattr(transformers, kind)(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    theirs.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    expected = load_file(file)
    if pickled:
        file.unlink()
        torch.save(theirs.state_dict(), tmp_path / "theirs" / "pytorch_model.bin")
    weights = read_huggingface([tmp_path / "theirs"])
    model = weights.config.model
    assert (model.rope_theta, model.rope_theta_global) == (10_000.0, 160_000.0)
    assert (model.local_attention.window, model.local_attention.global_every) == (8, 3)
    write_huggingface(weights, tmp_path / "again")
    network = "generator" if kind == "ModernBertForMaskedLM" else "discriminator"
    again = load_file(tmp_path / "again" / network / "model.safetensors")
    assert again.keys() == expected.keys()
    assert all(np.array_equal(array, expected[name]) for name, array in again.items())
    assert type(transformers.AutoModel.from_pretrained(tmp_path / "again" / network)).__name__ == (
        "ModernBertModel"
    )
