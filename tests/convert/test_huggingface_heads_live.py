"""Fine-tuned models against `transformers` itself (`make test-huggingface`): theirs used by us, ours by them."""

import numpy as np
import pytest
from huggingface_folder import words

import electra_jax
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.tasks.losses import multi_label_loss, weighted_mean
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import ChoiceExample

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)

TAGS = {0: "O", 1: "B-X", 2: "I-X"}
CLASSES = {0: "b", 1: "a", 2: "c"}
CASES = {
    "classification": (transformers.ElectraForSequenceClassification, CLASSES),
    "multi-label": (transformers.ElectraForSequenceClassification, CLASSES),
    "regression": (transformers.ElectraForSequenceClassification, {0: "LABEL_0"}),
    "tagging": (transformers.ElectraForTokenClassification, TAGS),
    "question_answering": (transformers.ElectraForQuestionAnswering, {0: "LABEL_0", 1: "LABEL_1"}),
    "multiple_choice": (transformers.ElectraForMultipleChoice, {0: "LABEL_0", 1: "LABEL_1"}),
}


@pytest.fixture(params=CASES)
def folder(request, tmp_path):
    """(kind, folder, model) of a model with random weights of the small size, 4 layers."""
    torch.manual_seed(0)
    architecture, names = CASES[request.param]
    problem = "multi_label_classification" if request.param == "multi-label" else None
    config = transformers.ElectraConfig(
        vocab_size=60, num_hidden_layers=4, id2label=names, problem_type=problem
    )
    model = architecture(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    model.eval().save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "vocab.txt").write_text("\n".join(words(60)) + "\n")
    return request.param, tmp_path / "theirs", model


def _row(*texts):
    """[CLS] text [SEP] text [SEP], with types; words are numbered behind the five special tokens."""
    ids, types = [2], [0]
    for number, text in enumerate(texts):
        some = [5 + int(word.removeprefix("word")) for word in text.split()] + [3]
        ids, types = ids + some, types + [number] * len(some)
    return {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types])}


OPTIONS = ("word9 word2", "word30 word31", "word5 word8")  # of one length


def _choice(context, *options):
    """A row of options, ``[1, options, length]``."""
    rows = [_row(context, option) for option in options]
    return {name: torch.stack([row[name][0] for row in rows])[None] for name in rows[0]}


def test_our_answers_are_theirs(folder, within):
    kind, path, model = folder
    ours, first, second = electra_jax.load(path), "word4 word7 word1", "word9 word2 word30 word31"
    if kind == "multiple_choice":
        with torch.no_grad():
            theirs = model(**_choice(first, *OPTIONS)).logits[0]
        rows = ours.tasks[kind].encode([ChoiceExample("0", first, OPTIONS)], training=False)
        objective = FineTuning(ours._network, ours.tasks, {})
        logits = ours._run("logits", objective.outputs, rows, kind)["logit"]
        within("multiple choice: logits", np.abs(logits - theirs.numpy()).max(), 1e-5)
        answer = ours.choose(first, OPTIONS)
        shares = torch.softmax(theirs, dim=-1).numpy()
        within("multiple choice: probabilities", np.abs(answer["probabilities"] - shares).max(), 1e-5)
        return
    with torch.no_grad():
        out = model(**_row(first) if kind == "tagging" else _row(first, second))
    if kind == "question_answering":
        answer = ours.answer(first, second)
        start, end = out.start_logits[0].numpy(), out.end_logits[0].numpy()
        scores = {(i, j): start[i + 5] + end[j + 5] for i in range(4) for j in range(i, 4)}
        i, j = max(scores, key=scores.__getitem__)
        assert answer["answer"] == " ".join(second.split()[i : j + 1])
        within("answers: score of the best span", abs(answer["n_best"][0]["score"] - scores[i, j]), 1e-4)
        no_answer = start[0] + end[0] - scores[i, j]
        within("answers: score of no answer", abs(answer["no_answer_score"] - no_answer), 1e-4)
        return
    if kind == "multi-label":
        theirs = torch.sigmoid(out.logits[0]).numpy()
        (answer,) = ours.classify([(first, second)])
        assert list(answer["probabilities"]) == list(CLASSES.values())
        within(
            "multi-label: probabilities", np.abs(list(answer["probabilities"].values()) - theirs).max(), 1e-5
        )
        assert answer["labels"] == [CLASSES[number] for number in range(3) if theirs[number] >= 0.5]
        return
    theirs = torch.softmax(out.logits[0], dim=-1).numpy()
    if kind == "tagging":
        (answer,) = ours.tag([first])
        assert answer["tags"] == _repaired([TAGS[i] for i in theirs[1:4].argmax(axis=-1)])
        within(
            "tagging: probabilities", np.abs(answer["probabilities"] - theirs[1:4].max(axis=-1)).max(), 1e-5
        )
        return
    (answer,) = ours.classify([(first, second)])
    if kind == "regression":
        within("regression: value", abs(answer["value"] - out.logits.item()), 1e-4)
        return
    assert list(answer["probabilities"]) == list(CLASSES.values())
    within(
        "classification: probabilities", np.abs(list(answer["probabilities"].values()) - theirs).max(), 1e-5
    )


def _repaired(tags):
    """An I that nothing begins is read as B."""
    return [
        "B" + tag[1:] if tag[0] == "I" and (i == 0 or tags[i - 1] == "O") else tag
        for i, tag in enumerate(tags)
    ]


def test_what_is_written_loads_whole_and_computes_the_same(folder, tmp_path):
    kind, path, model = folder
    write_huggingface(read_huggingface([path]), tmp_path / "again")
    name = "classification" if kind == "multi-label" else kind
    again, info = type(model).from_pretrained(tmp_path / "again" / name, output_loading_info=True)
    assert not any(info.values()), info
    row = _row("word4 word7", "word1")
    if kind == "multiple_choice":
        row = _choice("word4 word7", *OPTIONS)
    with torch.no_grad():
        before, after = (m(**row) for m in (model, again.eval()))
    if kind == "multiple_choice":
        torch.testing.assert_close(before.logits, after.logits, rtol=1e-5, atol=1e-6)
        for name, tensor in again.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name]), name
        return
    names = again.config.id2label
    if kind == "question_answering":
        assert torch.equal(before.start_logits, after.start_logits)
        assert torch.equal(before.end_logits, after.end_logits)
        return
    numbers = {label: number for number, label in model.config.id2label.items()}
    order = [numbers[names[number]] for number in range(len(names))]
    torch.testing.assert_close(before.logits[..., order], after.logits, rtol=1e-5, atol=1e-6)
    if kind in ("classification", "multi-label"):
        assert names == CLASSES
        assert again.config.problem_type == (model.config.problem_type or "single_label_classification")


def test_the_loss_of_labels_is_theirs(within):
    """That of a model of theirs, which is PyTorch's BCEWithLogitsLoss, from its own logits."""
    model = transformers.ElectraForSequenceClassification(
        transformers.ElectraConfig(
            vocab_size=60, num_hidden_layers=1, id2label=CLASSES, problem_type="multi_label_classification"
        )
    ).eval()
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    ids = torch.tensor([[2, 7, 8, 3], [2, 9, 5, 3]])
    with torch.no_grad():
        out = model(input_ids=ids, labels=labels)
    losses = multi_label_loss(out.logits.numpy(), labels.numpy().astype(np.int8))
    ours = weighted_mean(losses, np.ones(2, np.float32))
    within("multi-label: loss of a batch", abs(float(ours) - out.loss.item()), 1e-6)
