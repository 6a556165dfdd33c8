"""Fine-tuned ModernBERTs against `transformers` itself (`make test-huggingface`): theirs used by us, ours by them."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
from huggingface_folder import words
from modern_weights import TASKS, fine_tuned
from parity import encoder_inputs, load_params
from small_run import SmallVocabulary

import electra_jax
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.model.task_heads import SpanHead, TaggingHead
from electra_jax.objectives import build_network
from electra_jax.tasks.build import build_task
from electra_jax.tokenizers.build import KINDS

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

VOCABULARY = SmallVocabulary.vocab_size
LENGTHS = np.array([24, 9, 17, 2])
CLASSES, TAGS = ("b", "a", "c"), ("O", "B-X", "I-X", "B-Y", "I-Y")


@dataclass(frozen=True)
class Case:
    """A class of theirs with the labels of config.json, our kind of task, and what stands for a text."""

    architecture: Any
    kind: str
    labels: tuple[str, ...] | None = None
    pooling: str = "cls"
    problem: str | None = None


TEXTS = transformers.ModernBertForSequenceClassification
CASES = {
    f"{name}-{pooling}": Case(architecture, kind, labels, pooling, problem)
    for pooling in ("cls", "mean")
    for name, architecture, kind, labels, problem in (
        ("classification", TEXTS, "classification", CLASSES, None),
        ("multi-label", TEXTS, "classification", CLASSES, "multi_label_classification"),
        ("regression", TEXTS, "regression", ("LABEL_0",), None),
        ("multiple_choice", transformers.ModernBertForMultipleChoice, "multiple_choice", None, None),
    )
} | {
    "tagging": Case(transformers.ModernBertForTokenClassification, "tagging", TAGS),
    "question_answering": Case(transformers.ModernBertForQuestionAnswering, "question_answering"),
}


def _vocabulary():
    return "".join(f"{word}\n" for word in words(VOCABULARY))


@pytest.fixture(params=CASES)
def folder(request, tmp_path):
    """(case, folder, model) of a model as it starts there, with windows of 6 tokens in the second layer and so on."""
    torch.manual_seed(0)
    case = CASES[request.param]
    named = {} if case.labels is None else {"id2label": dict(enumerate(case.labels))}
    config = transformers.ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=128,
        local_attention=6,
        global_attn_every_n_layers=3,
        norm_eps=1e-3,
        pad_token_id=0,
        classifier_pooling=case.pooling,
        classifier_dropout=0.2,
        problem_type=case.problem,
        initializer_range=0.3,
        **named,
    )
    model = case.architecture(config).eval()
    model.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "vocab.txt").write_text(_vocabulary())
    return case, tmp_path / "theirs", model


@pytest.fixture(scope="module")
def batch():
    """Rows of which three are padded, most longer than a window: int64 ``[4, 24]`` ids and mask."""
    mask = (np.arange(24) < LENGTHS[:, None]).astype(np.int64)
    return np.random.default_rng(0).integers(5, VOCABULARY, mask.shape) * mask, mask


def _tokenizer():
    return KINDS["wordpiece"](_vocabulary().encode(), lowercase=True, strip_accents=True, where="here")


def _ours(weights, batch):
    """float32 logits ``[4, outputs]`` of texts, ``[4, 24, outputs]`` of tokens."""
    ((name, settings),) = weights.tasks.items()
    network = build_network(weights.config, weights.vocab_size)
    head = build_task(name, settings, weights.config, weights.tokenizer or _tokenizer()).head()
    ids, mask = batch

    @jax.jit
    def logits(params):
        encoder = {scope: params[scope] for scope in ("embeddings", "encoder")}
        states = network.apply(
            {"params": encoder}, encoder_inputs(ids, mask, np.zeros_like(ids)), None, method="encode"
        )
        real = () if isinstance(head, SpanHead | TaggingHead) else (mask > 0,)
        return head.apply({"params": params["heads"][name]}, states, *real)

    found = logits(load_params(weights))
    if isinstance(head, SpanHead):
        return np.stack([found.start, found.end], axis=-1)
    return np.asarray(found if found.ndim > 1 else found[:, None])


def _theirs(model, batch, kind):
    ids, mask = (torch.tensor(array) for array in batch)
    if kind == "multiple_choice":  # two examples of two options
        ids, mask = (array.reshape(2, 2, -1) for array in (ids, mask))
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask)
    if kind == "question_answering":
        return np.stack([out.start_logits.numpy(), out.end_logits.numpy()], axis=-1)
    return out.logits.numpy().reshape(-1, 1) if kind == "multiple_choice" else out.logits.numpy()


def _difference(ours, theirs, mask):
    """The largest, of what is no padding."""
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0.3
    differences = np.abs(ours - theirs)
    return (differences if ours.ndim == 2 else differences[mask > 0]).max()


def test_the_logits_of_a_folder_of_theirs(folder, batch, within):
    case, path, model = folder
    weights = read_huggingface([path])
    assert [task.kind for task in weights.tasks.values()] == [case.kind]
    difference = _difference(_ours(weights, batch), _theirs(model, batch, case.kind), batch[1])
    within(f"ModernBERT's heads: logits of {case.architecture.__name__}", difference, 1e-5)


def test_a_folder_of_theirs_goes_out_again_bit_for_bit(folder, batch, tmp_path):
    case, path, model = folder
    write_huggingface(read_huggingface([path]), tmp_path / "again")
    (name,) = (each.name for each in (tmp_path / "again").iterdir())
    again, info = case.architecture.from_pretrained(tmp_path / "again" / name, output_loading_info=True)
    assert not any(info.values()), info
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for parameter, tensor in before.items():
        assert torch.equal(tensor, after[parameter]), parameter
    for setting in ("classifier_dropout", "norm_eps", "num_labels", "local_attention", "layer_types"):
        assert getattr(again.config, setting) == getattr(model.config, setting), setting
    if case.labels is not None:
        assert again.config.id2label == dict(enumerate(case.labels))
    np.testing.assert_array_equal(_theirs(model, batch, case.kind), _theirs(again.eval(), batch, case.kind))


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("name", TASKS)
def test_what_is_trained_here_is_loaded_whole_and_computes_the_same(name, pooling, batch, within, tmp_path):
    pools = name not in ("tagging", "question_answering")
    if not pools and pooling == "mean":
        pytest.skip("it says something of every token")
    weights = fine_tuned(name, _tokenizer(), **({"pooling": pooling} if pools else {}))
    write_huggingface(weights, tmp_path)
    kind = weights.tasks["mine"].kind
    auto = {
        "classification": transformers.AutoModelForSequenceClassification,
        "regression": transformers.AutoModelForSequenceClassification,
        "tagging": transformers.AutoModelForTokenClassification,
        "question_answering": transformers.AutoModelForQuestionAnswering,
        "multiple_choice": transformers.AutoModelForMultipleChoice,
    }[kind]
    model, info = auto.from_pretrained(tmp_path / "mine", output_loading_info=True)
    assert not any(info.values()), info
    assert type(model).__name__ == model.config.architectures[0]
    ours, theirs = _ours(weights, batch), _theirs(model.eval(), batch, kind)
    if kind == "regression":  # theirs is the number itself, ours where it lies between the labels
        task = weights.tasks["mine"]
        ours = ours * (task.high - task.low) + task.low
    # These weights make logits of up to some tens.
    difference = _difference(ours, theirs, batch[1]) / max(1, np.abs(theirs).max())
    within(f"ModernBERT's heads, written: logits of {type(model).__name__} (relative)", difference, 1e-5)


def test_texts_are_answered_as_there(folder, within):
    """From the text on, through the tokenizer, of one text and of a pair."""
    case, path, model = folder
    first, second = "word4 word7 word1 word30 word31 word32 word33 word34", "word9 word2 word30 word31"
    ours = electra_jax.load(path)
    if case.kind == "multiple_choice":
        options = (second, "word8 word9 word10 word11")
        with torch.no_grad():
            ids = torch.tensor([[_ids(first, option) for option in options]])
            theirs = torch.softmax(
                model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0], dim=-1
            )
        found = ours.choose(first, options)["probabilities"]
        within("ModernBERT's heads: probabilities of options", np.abs(found - theirs.numpy()).max(), 1e-5)
        return
    ids = torch.tensor([_ids(first) if case.kind == "tagging" else _ids(first, second)])
    with torch.no_grad():
        out = model(input_ids=ids)
    if case.kind == "question_answering":
        answer = ours.answer(first, second)
        start, end = out.start_logits[0, 10:14].numpy(), out.end_logits[0, 10:14].numpy()
        scores = {(i, j): start[i] + end[j] for i in range(4) for j in range(i, 4)}
        i, j = max(scores, key=scores.__getitem__)
        assert answer["answer"] == " ".join(second.split()[i : j + 1])
        within(
            "ModernBERT's heads: score of an answer", abs(answer["n_best"][0]["score"] - scores[i, j]), 1e-5
        )
        return
    if case.kind == "tagging":
        (answer,) = ours.tag([first])
        shares = torch.softmax(out.logits[0, 1:-1], dim=-1).max(dim=-1).values.numpy()
        within(
            "ModernBERT's heads: probabilities of tags", np.abs(answer["probabilities"] - shares).max(), 1e-5
        )
        return
    (answer,) = ours.classify([(first, second)])
    if case.kind == "regression":
        within("ModernBERT's heads: a number", abs(answer["value"] - out.logits.item()), 1e-5)
        return
    logits = out.logits[0]
    shares = torch.sigmoid(logits) if case.problem else torch.softmax(logits, dim=-1)
    assert [*answer["probabilities"]] == [*CLASSES]
    found = [*answer["probabilities"].values()]
    within("ModernBERT's heads: probabilities of classes", np.abs(found - shares.numpy()).max(), 1e-5)


def _ids(*texts):
    """[CLS] text [SEP] text [SEP]; words are numbered behind the five special tokens."""
    return [2, *(i for text in texts for i in (*(5 + int(w.removeprefix("word")) for w in text.split()), 3))]
