"""Reading TFDS datasets that a small builder prepares here."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from electra_jax.config.text import DataConfig
from electra_jax.data.sources import open_source
from electra_jax.errors import UserError

TRAIN = [f" Text number {number}: Übung.\n" for number in range(600)]
TRAIN[3] = "  "  # An empty document is not yielded.


class LetterSource(tfds.core.GeneratorBasedBuilder):
    """Letters."""

    VERSION = tfds.core.Version("1.2.3")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="plain"), tfds.core.BuilderConfig(name="other")]  # noqa: RUF012
    url_infos = None

    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "body": tfds.features.Text(),
            "label": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(TRAIN),
            "test": self._generate_examples(["One.", "Two."]),
            "blank": self._generate_examples([" ", ""]),
            "latin": self._generate_examples(["fine", "für".encode("latin-1")]),
        }

    def _generate_examples(self, texts):
        for number, text in enumerate(texts):
            yield number, {"text": text, "body": f"body {number}", "label": number}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    LetterSource(data_dir=folder, config="plain", file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def config(prepared, tmp_path):
    return DataConfig(tfds_data_dir=str(prepared), cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("letter_source/plain", [text.strip() for text in TRAIN if text.strip()]),
        ("letter_source", [text.strip() for text in TRAIN if text.strip()]),
        ("letter_source/plain:test", ["One.", "Two."]),
        ("letter_source/plain:train[10:12]", [TRAIN[10].strip(), TRAIN[11].strip()]),
        ("letter_source/plain:train[:1]+test", [TRAIN[0].strip(), "One.", "Two."]),
    ],
)
def test_documents_of_a_split(config, spec, expected):
    source = open_source(f"tfds:{spec}", config)
    assert list(source.documents()) == expected
    assert list(pickle.loads(pickle.dumps(source)).documents()) == expected
    assert source.name == f"tfds:{spec}"
    assert source.num_documents >= len(expected)
    assert "tensorflow" not in sys.modules


def test_fingerprint_tells_splits_and_fields_apart(config):
    body = config.model_copy(update={"text_field": "body"})
    sources = [
        open_source("tfds:letter_source/plain", config),
        open_source("tfds:letter_source/plain:test", config),
        open_source("tfds:letter_source/plain:train[:50%]", config),
        open_source("tfds:letter_source/plain", body),
    ]
    assert len({source.fingerprint for source in sources}) == len(sources)
    assert open_source("tfds:letter_source/plain:train", config).fingerprint == sources[0].fingerprint
    assert next(sources[3].documents()) == "body 0"


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        ("leter_source", {}, "did you mean tfds:letter_source"),
        ("gleu", {}, "did you mean tfds:glue"),
        ("zzzzqqqq", {}, "tensorflow.org/datasets/catalog"),
        (
            "glue/cola",
            {},
            r"electra_jax\[tfds-prepare\].*tfds build glue/cola --file_format=array_record --data_dir=",
        ),
        ("letter_source/other", {}, r"is not prepared in .* \(of letter_source, plain is there\)"),
        ("letter_source/plain:dev", {}, "'dev' is not a split .* the splits are: blank, latin, test, train"),
        ("letter_source/plain:train[", {}, "the splits are"),
        ("letter_source/plain:train[9999:]", {}, "the splits are"),
        ("letter_source/plain:train[:0]", {}, "is empty"),
        ("letter_source/plain:train[5:2]", {}, "is empty"),
        ("letter_source/plain:all[:10%]", {}, "'all.:10%.' is not a split or a slice of one"),
        ("letter_source/1.2.3", {}, "names a version: leave it out, as in tfds:letter_source;"),
        ("letter_source/plain:blank", {}, "has no text"),
        (
            "letter_source/plain",
            {"text_field": "nope"},
            "'nope' does not exist; the fields are body, label, text",
        ),
        ("letter_source/plain", {"text_field": "label"}, "'label' is not text; .* of which text: body, text"),
        ("not a name", {}, "cannot be opened"),
        ("letter_source/a=1,b", {}, "cannot be opened"),
    ],
)
def test_mistakes(config, spec, settings, message):
    with pytest.raises(UserError, match=message):
        open_source(f"tfds:{spec}", config.model_copy(update=settings))
    assert not Path(config.cache_dir).exists()


def test_a_data_directory_that_does_not_exist(config, tmp_path):
    config = config.model_copy(update={"tfds_data_dir": str(tmp_path / "none")})
    with pytest.raises(UserError, match="is not prepared in"):
        open_source("tfds:ag_news_subset", config)


def test_text_that_is_not_utf8_names_the_record(config):
    source = open_source("tfds:letter_source/plain:latin", config)
    with pytest.raises(UserError, match="the text of record 1 is not UTF-8 at byte 1"):
        list(source.documents())


@pytest.fixture
def copy(prepared, tmp_path):
    """A directory of its own with the prepared dataset, to be spoilt."""
    version = Path("letter_source/plain/1.2.3")
    (tmp_path / version).mkdir(parents=True)
    for path in (prepared / version).iterdir():
        (tmp_path / version / path.name).write_bytes(path.read_bytes())
    return tmp_path / version


def test_tfrecord_has_no_random_access(copy, tmp_path):
    info = json.loads((copy / "dataset_info.json").read_text())
    (copy / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match=f"--dataset_version_dir={copy} --out_file_format=array_record"):
        open_source("tfds:letter_source/plain", DataConfig(tfds_data_dir=str(tmp_path)))


def test_missing_and_damaged_shards(copy, tmp_path):
    config = DataConfig(tfds_data_dir=str(tmp_path))
    (shard,) = copy.glob("*-train.array_record*")
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(UserError, match="cannot be read"):
        open_source("tfds:letter_source/plain", config)
    shard.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        open_source("tfds:letter_source/plain", config)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata(copy, tmp_path, name):
    (copy / name).write_text("{")
    with pytest.raises(UserError, match="letter_source/plain"):
        open_source("tfds:letter_source/plain", DataConfig(tfds_data_dir=str(tmp_path)))
