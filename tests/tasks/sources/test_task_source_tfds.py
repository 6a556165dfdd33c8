"""TFDS datasets of the shapes that GLUE, CoNLL-2003, SQuAD and AG News have there, prepared here."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from task_sections import task_section

from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Answer, QuestionExample, TextExample, WordsExample
from electra_jax.tasks.sources import load_examples

F = tfds.features
GLUE = {"sentence1": F.Text(), "sentence2": F.Text(), "idx": np.int32}
QUESTIONS = {
    "id": np.str_,
    "context": F.Text(),
    "question": F.Text(),
    "answers": F.Sequence({"text": F.Text(), "answer_start": np.int32}),
}
SHAPES = {
    "mrpc": GLUE | {"label": F.ClassLabel(names=["not_equivalent", "equivalent"])},
    "stsb": GLUE | {"label": np.float32},
    "squad": QUESTIONS,
    "squad2": QUESTIONS | {"is_impossible": np.bool_},
    "ner": {"tokens": F.Sequence(F.Text()), "ner": F.Sequence(F.ClassLabel(names=["O", "B-PER", "I-PER"]))},
    "ag_news": {"title": F.Text(), "description": F.Text(), "label": F.ClassLabel(names=["World", "Sports"])},
    "mnli": {
        "premise": F.Text(),
        "hypothesis": F.Text(),
        "idx": np.int32,
        "label": F.ClassLabel(names=["entailment", "neutral", "contradiction"]),
    },
}
SHAPES["ax"] = SHAPES["mnli"]
MNLI_SPLITS = ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched")


def _pair(idx, label):
    return {"sentence1": f"Übung {idx}", "sentence2": "b", "idx": idx, "label": label}


def _question(*answers, **more):
    return {"id": "q", "context": "Ann met Bob.", "question": "Who?", "answers": list(answers), **more}


ANN, BOB = {"text": "Ann", "answer_start": 0}, {"text": "Bob", "answer_start": 8}
RECORDS = {
    "mrpc": {
        "train": [_pair(n, n % 2) for n in range(300)],
        "validation": [_pair(2, 0)],
        "test": [_pair(7, -1)],
    },
    "stsb": {
        "train": [_pair(0, 2.5), _pair(1, 5.0)],
        "validation": [_pair(0, 0.0)],
        "test": [_pair(0, -1.0)],
    },
    "squad": {"train": [_question(ANN)], "validation": [_question(ANN, BOB)]},
    "squad2": {"train": [_question(is_impossible=True)], "validation": [_question(ANN, is_impossible=False)]},
    "ner": {"train": [{"tokens": ["Ann", "Lee", "left"], "ner": [1, 2, 0]}]},
    "ag_news": {"train": [{"title": f"t{n}", "description": "d", "label": n % 2} for n in range(20)]},
    "mnli": {
        split: [{"premise": split, "hypothesis": "b", "idx": 4, "label": -1 if "test" in split else 2}]
        for split in MNLI_SPLITS
    },
    "ax": {"test": [{"premise": "diagnostic", "hypothesis": "b", "idx": 4, "label": -1}]},
}


class ExampleSource(tfds.core.GeneratorBasedBuilder):
    """One configuration a shape."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in SHAPES]  # noqa: RUF012
    url_infos = None

    def _info(self):
        features = F.FeaturesDict(SHAPES[self.builder_config.name])
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {s: self._generate_examples(r) for s, r in RECORDS[self.builder_config.name].items()}

    def _generate_examples(self, records):
        yield from enumerate(records)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for name in SHAPES:
        ExampleSource(data_dir=folder, config=name, file_format="array_record").download_and_prepare()
    return str(folder)


def _load(prepared, name, config="", **values):
    config = task_section(name, data=f"tfds:example_source/{config or name}", **values)
    return load_examples(name, config, tfds_data_dir=prepared)


def test_classes_are_spelled_as_in_the_official_files(prepared):
    examples = _load(prepared, "mrpc")
    assert examples["train"] == [TextExample(str(n), f"Übung {n}", "b", str(n % 2)) for n in range(300)]
    assert examples["dev"] == [TextExample("2", "Übung 2", "b", "0")]
    assert examples["test"] == [TextExample("7", "Übung 7", "b", None)]


def test_numbers(prepared):
    examples = _load(prepared, "stsb")
    assert [e.label for split in ("train", "dev", "test") for e in examples[split]] == [2.5, 5.0, 0.0, None]


def test_splits_of_mnli(prepared):
    examples = _load(prepared, "mnli")
    assert [(s, e[0].text, e[0].label) for s, e in examples.items()] == [
        ("train", "train", "contradiction"),
        ("dev", "validation_matched", "contradiction"),
        ("dev_mismatched", "validation_mismatched", "contradiction"),
        ("test", "test_matched", None),
        ("test_mismatched", "test_mismatched", None),
        ("test_diagnostic", "diagnostic", None),
    ]


def test_diagnostic_examples_that_are_not_prepared_are_absent(tmp_path):
    ExampleSource(data_dir=tmp_path, config="mnli", file_format="array_record").download_and_prepare()
    assert "test_diagnostic" not in _load(str(tmp_path), "mnli")


def test_questions(prepared):
    examples = _load(prepared, "squad")
    assert examples["train"] == [QuestionExample("q", "Who?", "Ann met Bob.", (Answer("Ann", 0),))]
    assert examples["dev"][0].answers == (Answer("Ann", 0), Answer("Bob", 8))
    examples = _load(prepared, "squad2")
    assert [e[0].answers for e in examples.values()] == [(), (Answer("Ann", 0),)]


def test_words(prepared):
    expected = {"train": [WordsExample("0", ("Ann", "Lee", "left"), ("B-PER", "I-PER", "O"))]}
    assert _load(prepared, "ner") == expected
    assert _load(prepared, "mine", "ner", kind="tagging", text="tokens", label="ner") == expected


def test_title_and_description_are_one_text(prepared):
    examples = _load(prepared, "ag_news")
    assert examples["train"][0] == TextExample("0", "t0 . d", None, "World")
    assert [e.id for e in examples["dev"]] == ["9", "19"]


def test_any_dataset_with_named_features(prepared):
    examples = _load(prepared, "mine", "mrpc", kind="classification", text="sentence1", label="label")
    assert examples["train"][1] == TextExample("1", "Übung 1", None, "equivalent")
    assert examples["test"][0].label is None


@pytest.mark.parametrize(
    ("name", "config", "values", "message"),
    [
        ("cola", "mrpc", {}, "has no feature 'sentence'; its features are 'idx', 'label', 'sentence1'"),
        ("mine", "mrpc", {"kind": "classification"}, r"finetune\.tasks\.mine\.text is not set"),
        ("mine", "mrpc", {"kind": "regression", "text": "sentence1"}, r"mine\.label is not set"),
        ("mine", "mrpc", {"kind": "regression", "text": "sentence1", "label": "label"}, "'not_equivalent' is not a"),
        ("mine", "ner", {"kind": "classification", "text": "tokens", "label": "ner"}, "the label is a list or an"),
        ("mrpc", "absent", {}, r"tfds:example_source/absent"),
        ("mrpc", "mrpc:train", {}, "all its splits are read"),
    ],
)  # fmt: skip
def test_datasets_that_do_not_fit(prepared, name, config, values, message):
    with pytest.raises(UserError, match=message) as caught:
        _load(prepared, name, config, **values)
    assert "\n" not in str(caught.value)


def test_needed_splits(prepared):
    config = task_section("ner", data="tfds:example_source/ner")
    with pytest.raises(UserError, match="has no dev examples; tfds:example_source/ner has train"):
        load_examples("ner", config, tfds_data_dir=prepared, needs=("train", "dev"))
