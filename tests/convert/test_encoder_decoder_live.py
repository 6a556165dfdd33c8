"""`EncoderDecoderModel` of `transformers`, where it is installed: the same logits and the same texts, both ways."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from parity import encoder_inputs, largest

import electra_jax
from electra_jax.config.loading import with_overrides
from electra_jax.convert.encoder_decoder_format import TASK
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.partitioning import mesh
from electra_jax.tasks.objective import FineTuning

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

VOCAB = 40
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(VOCAB - 5))]
SOURCES = ["w1 w2 w3", "w20", "w9 w9 w10 w11 w12 w9 w30 w31", ""]
NEVER_WRITTEN = [0, 1, 2, 4]
WIDE = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 1}
NARROW = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 40, "num_hidden_layers": 2}
# Sizes of the decoder, and how likely the end is: some texts have one.
CASES = {"as wide": (WIDE, -1.0), "narrower": (NARROW, 3.5), "the encoder itself": (WIDE, 3.5)}


def _config(sizes, **more):
    return transformers.ElectraConfig(
        vocab_size=VOCAB,
        embedding_size=16,
        max_position_embeddings=24,
        initializer_range=0.4,
        **sizes,
        **more,
    )


def _theirs(sizes, end):
    """A model of `transformers` with random weights, its decoder's embeddings those of the encoder."""
    torch.manual_seed(0)
    encoder = transformers.ElectraModel(_config(WIDE))
    decoder = transformers.ElectraForCausalLM(_config(sizes, is_decoder=True, add_cross_attention=True))
    model = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    with torch.no_grad():
        decoder.electra.embeddings.load_state_dict(encoder.embeddings.state_dict())
        decoder.generator_lm_head.bias[3] = end
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 2
    model.config.pad_token_id = model.generation_config.pad_token_id = 0
    model.config.eos_token_id = model.generation_config.eos_token_id = 3
    model.generation_config.max_new_tokens = 12
    return model


def _tied(weights):
    """The model with the encoder's layers in place of the decoder's own."""
    scope, section = f"heads/{TASK}/decoder/", f"finetune.tasks.{TASK}"
    parameters = {
        name: array
        for name, array in weights.parameters.items()
        if name.replace(scope, "encoder/", 1) == name
        or name.replace(scope, "encoder/", 1) not in weights.parameters
    }
    overrides = [f"{section}={{kind: seq2seq, decoder: {{sharing: all}}}}"]
    config = with_overrides(weights.config.model_dump(), overrides, "theirs")
    return replace(weights, config=config, parameters=parameters)


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory):
    """(the folder it went out to, theirs as it came in, theirs as it came out, ours)."""
    folder = tmp_path_factory.mktemp("both")
    theirs = _theirs(*CASES[request.param])
    theirs.save_pretrained(folder / "theirs")
    (folder / "theirs" / "vocab.txt").write_text("\n".join(WORDS))
    weights = read_huggingface([folder / "theirs"])
    if request.param == "the encoder itself":
        weights, theirs = _tied(weights), None
    write_native(weights, folder / "ours", folder / "ours")
    write_huggingface(read_native(folder / "ours"), folder / "out")
    out, info = transformers.EncoderDecoderModel.from_pretrained(
        folder / "out" / TASK, output_loading_info=True
    )
    assert not any(info.values()), info
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        ours = electra_jax.load(folder / "ours")
    return folder / "out" / TASK, theirs, out.eval(), ours


def test_weights_come_back_to_the_bit(both):
    _, theirs, out, _ = both
    if theirs is None:
        shared = out.encoder.encoder.state_dict()
        state = {f"decoder.electra.encoder.{name}": tensor for name, tensor in shared.items()}
    else:
        state = theirs.state_dict()
        assert out.state_dict().keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, out.state_dict()[name]), name


def test_logits_are_the_same(both):
    _, _, out, ours = both
    rng = np.random.default_rng(0)
    source, target = rng.integers(5, VOCAB, (3, 9)), rng.integers(5, VOCAB, (3, 7))
    mask = (np.arange(9) < np.array([[9], [4], [6]])).astype(np.int64)
    with torch.no_grad():
        expected = out(
            input_ids=torch.tensor(source),
            attention_mask=torch.tensor(mask),
            decoder_input_ids=torch.tensor(target),
        ).logits.numpy()

    task, segments = ours.tasks[TASK], jnp.asarray(mask, jnp.int32)
    tuning = FineTuning(ours._network, ours.tasks, {})
    inputs = encoder_inputs(source, mask, np.zeros_like(source))
    encoder = {"params": {name: ours._params[name] for name in ("embeddings", "encoder")}}
    hidden = ours._network.apply(encoder, inputs, None, method="encode")

    def logits(head):
        ones = jnp.ones(target.shape, jnp.int32)
        embedded = head.embeddings(encoder_inputs(target, ones, np.zeros_like(target)), None)
        states = head.decoder.decode(embedded, ones, None, head.source(hidden, segments))
        return head.lm_head(states, head.embeddings.word_table())

    params = tuning._head_parameters(ours._params, task)
    found = nn.apply(logits, task.head())({"params": params})[..., :VOCAB]
    assert largest(found, expected) < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("settings", "their_settings"),
    [
        ({"beams": 1}, {}),
        ({"beams": 3, "length_penalty": 0.6}, {"num_beams": 3, "length_penalty": 0.6}),
        ({"beams": 1, "no_repeat_source_ngram": 1}, {}),
        (
            {"beams": 3, "length_penalty": 0.6, "no_repeat_source_ngram": 2},
            {"num_beams": 3, "length_penalty": 0.6},
        ),
    ],
    ids=["greedy", "beams", "nothing of the source", "beams, no two of the source"],
)
@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_texts_are_the_same(both, settings, their_settings):
    _, _, out, ours = both
    if "num_beams" in their_settings:
        their_settings = {**their_settings, "early_stopping": "never"}
    finishes = set()
    for source, text in zip(SOURCES, ours.generate(SOURCES, **settings), strict=True):
        ids = torch.tensor([[2, *ours.tokenizer.encode(source), 3]])
        blocked = []
        if n := settings.get("no_repeat_source_ngram"):
            # Theirs by the setting would count [CLS] and [SEP], too: no text could end like its source.
            blocked = [transformers.EncoderNoRepeatNGramLogitsProcessor(n, ids[:, 1:-1])]
        with torch.no_grad():
            (expected,) = out.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                logits_processor=transformers.LogitsProcessorList(blocked),
                **their_settings,
            ).tolist()
        assert expected[0] == 2
        assert list(text.tokens) == [id for id in expected[1:] if id != 0], source
        finishes.add(text.finish)
    assert finishes == {"end", "length"}


@pytest.mark.filterwarnings("ignore:the tokenizer does not keep")
def test_the_folder_alone_writes_what_we_do(both):
    folder, _, out, ours = both
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(SOURCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        texts = tokenizer.batch_decode(out.generate(**batch), skip_special_tokens=True)
    assert texts == [text.text for text in ours.generate(SOURCES)]
