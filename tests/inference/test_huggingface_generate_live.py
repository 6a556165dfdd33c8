"""`generate` of `transformers`, where it is installed: the same weights write the same tokens."""

import json

import numpy as np
import pytest

import electra_jax

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

VOCAB = 40
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(VOCAB - 5))]
PROMPTS = ["w1 w2 w3", "w20", "w9 w9 w10 w11 w12 w9", ""]
NEVER_WRITTEN = [0, 1, 2, 4]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(theirs, ours): a model of `transformers`, and the same one loaded from the folder that it wrote."""
    folder = tmp_path_factory.mktemp("causal")
    torch.manual_seed(0)
    config = transformers.ElectraConfig(
        vocab_size=VOCAB,
        num_hidden_layers=2,
        hidden_size=32,
        embedding_size=16,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.4,
        is_decoder=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    theirs = transformers.ElectraForCausalLM(config).eval()
    with torch.no_grad():
        theirs.generator_lm_head.bias[3] += 1.0  # so that some texts end
    theirs.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "strip_accents": False})
    )
    return theirs, electra_jax.load(folder, notes=[])


# Ours, and theirs.
CASES = {
    "greedy": ({}, {}),
    "repetition": ({"repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
    "ngrams": ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    "least": ({"min_new_tokens": 9}, {"min_new_tokens": 9}),
    "bans": ({"ban": ["w2 w3", "w7"]}, {"bad_words_ids": [[7, 8], [12]]}),
    "ends": ({"end_tokens": ["w4"]}, {"eos_token_id": [3, 9]}),
}
FILTERS = ("repetition", "ngrams", "least", "bans")
PENALTIES = (0.0, 1.0, 2.0, -1.0)


def write(both, ours, theirs):
    """Tokens and scores of both."""
    network, model = both
    found = model.generate(PROMPTS, max_new_tokens=14, **ours)
    for prompt, texts in zip(PROMPTS, found, strict=True):
        texts = texts if isinstance(texts, list) else [texts]
        ids = torch.tensor([[2, *model.tokenizer.encode(prompt)]])
        settings = {"eos_token_id": 3, "suppress_tokens": NEVER_WRITTEN, **theirs}
        with torch.no_grad():
            outcome = network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=14,
                do_sample=False,
                pad_token_id=0,
                num_return_sequences=len(texts),
                return_dict_in_generate=True,
                output_scores=True,
                **settings,
            )
        for number, text in enumerate(texts):
            expected = outcome.sequences[number, ids.shape[1] :].tolist()
            yield prompt, text, expected, outcome


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_greedy_decoding_writes_the_same(both, name):
    for prompt, text, expected, _ in write(both, *CASES[name]):
        assert list(text.tokens) == expected, prompt


@pytest.mark.parametrize("stop", ["exact", "first", "huggingface"])
@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_beams_write_the_same_with_the_same_scores(both, stop):
    early = {"exact": "never", "first": True, "huggingface": False}[stop]
    together = [
        {key: value for name in FILTERS for key, value in CASES[name][side].items()} for side in (0, 1)
    ]
    cases = [({}, {}, penalty) for penalty in PENALTIES] + [(*together, 1.0)]
    finishes = set()
    for more, their_more, penalty in cases if stop == "exact" else cases[:4]:
        ours = {"beams": 4, "n_best": 3, "length_penalty": penalty, "stop": stop, **more}
        theirs = {"num_beams": 4, "length_penalty": penalty, "early_stopping": early, **their_more}
        for number, (prompt, text, expected, outcome) in enumerate(write(both, ours, theirs)):
            written = expected[: expected.index(3) + 1] if 3 in expected else [id for id in expected if id]
            assert list(text.tokens) == written, (prompt, penalty, more)
            np.testing.assert_allclose(text.score, float(outcome.sequences_scores[number % 3]), 1e-5, 1e-4)
            finishes.add(text.finish)
    assert finishes == {"end", "length"}
