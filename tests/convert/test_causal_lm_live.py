"""`ElectraForCausalLM` of `transformers`, where it is installed: the same logits, both ways."""

import numpy as np
import pytest
from parity import encoder_inputs, largest, load_params

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.objectives import build_network

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

NO_DROPOUT = ["model.hidden_dropout=0", "model.attention_dropout=0"]


def test_logits_are_the_same_there_and_back(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "embedding_size": 16, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ElectraConfig(
        vocab_size=50, num_hidden_layers=2, initializer_range=0.3, is_decoder=True, **sizes
    )
    theirs = transformers.ElectraForCausalLM(config).eval()
    theirs.generation_config.repetition_penalty = 1.2
    theirs.save_pretrained(tmp_path / "theirs")
    weights = read_huggingface([tmp_path / "theirs"], overrides=NO_DROPOUT)
    assert weights.config.generation.repetition_penalty == 1.2
    assert weights.config.data.sequence_length == 512  # as many as it has positions
    write_huggingface(weights, tmp_path / "back")
    back = transformers.ElectraForCausalLM.from_pretrained(tmp_path / "back" / "generator").eval()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name

    ids = np.random.default_rng(0).integers(5, 50, (3, 12))
    ones, zeros = np.ones_like(ids), np.zeros_like(ids)
    network = build_network(weights.config, weights.vocab_size)
    ours = network.apply({"params": load_params(weights)}, encoder_inputs(ids, ones, zeros), method="logits")
    with torch.no_grad():
        expected = back(torch.tensor(ids)).logits.numpy()
    assert largest(ours[..., :50], expected) < 1e-4 * np.abs(expected).max()
