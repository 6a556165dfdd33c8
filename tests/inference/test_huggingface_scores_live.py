"""Scores and fillings against `transformers` itself, where it is installed, with a generator of random weights."""

import jax
import numpy as np
import pytest
from huggingface_folder import TINY, random_tensors, words, write_folder

import electra_jax
from electra_jax.config.schema import Config
from electra_jax.inference.model import Model
from electra_jax.partitioning import mesh

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(our model, their tokenizer, their model, the folder of both)."""
    folder = tmp_path_factory.mktemp("models") / "generator"
    tensors = {name: 5 * array for name, array in random_tensors("generator", TINY).items()}
    write_folder(folder, "generator", tensors=tensors)
    vocabulary = [*words(TINY["vocab_size"])[:-2], "##s", "."]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        ours = electra_jax.load(folder, notes=[])
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    return ours, tokenizer, transformers.ElectraForMaskedLM.from_pretrained(folder).eval(), folder


def test_fill_is_fill_mask(pair):
    ours, tokenizer, network, _ = pair
    pipeline = transformers.pipeline("fill-mask", model=network, tokenizer=tokenizer, device="cpu")
    texts = ["word7 [MASK] word9 .", "[MASK]s word3", "word1[MASK]."]
    for text in texts:
        # Theirs proposes special tokens too.
        theirs = [f for f in pipeline(text, top_k=40) if f["token"] >= 5][:30]
        (found,) = ours.fill(text, k=30)
        assert [f.token for f in found] == [tokenizer.convert_ids_to_tokens(f["token"]) for f in theirs]
        assert [f.probability for f in found] == pytest.approx([f["score"] for f in theirs], rel=1e-4)
    two = "word7 [MASK] [MASK] word2"
    for gap, theirs in zip(ours.fill(two, k=1), pipeline(two, top_k=40), strict=True):
        assert gap[0].probability == pytest.approx(
            max(f["score"] for f in theirs if f["token"] >= 5), rel=1e-4
        )


def test_pll_is_that_of_their_logits(pair):
    ours, tokenizer, network, _ = pair
    for text in ("word7 word8s word9 .", "word1"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        expected = []
        for column in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, column] = tokenizer.mask_token_id
            with torch.no_grad():
                log_probs = torch.log_softmax(network(masked).logits[0, column], dim=-1)
            expected.append(float(log_probs[ids[0, column]]))
        found = [token.score for token in ours.score(text, "pll", per_token=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert ours.score(text) == pytest.approx(sum(expected), rel=1e-4)


def test_lm_is_that_of_their_causal_model(pair):
    ours, tokenizer, _, folder = pair
    network = transformers.ElectraForCausalLM.from_pretrained(folder, is_decoder=True).eval()
    settings = ours.config.model_dump(include={"model"}) | {
        "objective": {"kind": "causal_lm"},
        "data": {"sequence_length": 16},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        causal = Model(Config.model_validate(settings), ours.tokenizer, ours._params, {})
    for text in ("word7 word8s word9 .", "word1"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_probs = torch.log_softmax(network(ids).logits[0], dim=-1)
        expected = [float(log_probs[column - 1, ids[0, column]]) for column in range(1, ids.shape[1])]
        found = [token.score for token in causal.score(text, per_token=True, end=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
