"""Every mistake ends in one sentence that names the place and what would be right."""

import pytest

from electra_jax.config import load_config
from electra_jax.errors import UserError


def message(path, overrides=()):
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    assert "pydantic" not in text
    assert "Config" not in text
    return text


@pytest.fixture
def empty(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("")
    return path


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("train.stesp=5", "train.steps"),
        ("learning_rate=1e-3", "optimizer.learning_rate"),
        ("batch_size=3", "train.batch_size"),
        ("optimizer.batch_size=3", "train.batch_size"),
        ("optimiser.learning_rate=3", "optimizer.learning_rate"),
        ("optimiser=3", "optimizer"),
        ("model.hidden=3", "model.hidden_size"),
        ("objective.mask_prob=.1", "objective.mask_rate"),
        ("objective.discriminator_wieght=.1", "objective.discriminator_weight"),
        ("model.vocab_size=3", "tokenizer.vocab_size"),
        ("train.seed=3", "seed"),
        ("data.seed=3", "seed"),
        ("optimizer.lr=3", "optimizer.learning_rate"),
        ("lr=3", "optimizer.learning_rate"),
        ("finetune.lr=3", "optimizer.learning_rate"),
        ("train.save_every=3", "train.checkpoint_every"),
        ("compute.precision=3", "compute.dtype"),
        ("train.max_steps=3", "train.steps"),
        ("data.path=x", "data.source"),
        ("kind=3", "tokenizer.kind or objective.kind or optimizer.kind"),
    ],
)
def test_unknown_key_names_the_nearest_right_one(override, suggestion, empty):
    key = override.partition("=")[0]
    assert message(empty, [override]).endswith(f"unknown key {key}; did you mean {suggestion}?")


@pytest.mark.parametrize("name", ["epochs", "num_train_epochs"])
def test_the_key_that_a_finetuning_has_is_named_in_one(name, empty):
    assert "did you mean finetune.epochs?" in message(empty, ["objective.kind=finetune", f"train.{name}=3"])


def test_unknown_key_like_no_other(empty):
    assert "unknown key zzz; python -m electra_jax.config lists" in message(empty, ["zzz=1"])


def test_unknown_section_names_each_of_its_keys(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("training:\n  steps: 5\n  batch_size: 2\n")
    text = message(path)
    assert "training.steps; did you mean train.steps?" in text
    assert "training.batch_size; did you mean train.batch_size?" in text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.steps=many", "train.steps is 'many', but must be a valid integer"),
        ("train.steps=1e3", "train.steps is 1000.0, but must be a valid integer"),
        ("train.steps=", "train.steps is null, but must be a valid integer"),
        ("train.steps=true", "train.steps is true, but must be a valid integer"),
        ("train.steps='5'", "train.steps is '5', but must be a valid integer"),
        ("train.steps=0", "train.steps is 0, but must be greater than or equal to 1"),
        ("train.steps=2147483648", "train.steps is 2147483648, but must be less than 2147483648"),
        ("train.log_every=10000000000", "but must be less than 2147483648"),
        ("optimizer.warmup_steps=3000000000", "but must be less than 2147483648"),
        ("train.steps.more=0", "train.steps is {'more': 0}, but must be a valid integer"),
        ("train=5", "train is 5, but is a section, which holds keys such as train.steps"),
        ("objective=5", "objective is 5, but is a section, which holds keys such as objective."),
        ("data.eval_fraction=.7", "data.eval_fraction is 0.7, but must be less than 0.5"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate is inf, but must be a finite number"),
        ("tokenizer.lowercase=yes", "tokenizer.lowercase is 'yes', but must be true or false"),
        (
            "tokenizer.kind=bpe",
            "tokenizer.kind is 'bpe', but must be 'sentencepiece', 'wordpiece' or 'characters'",
        ),
        ("init_from=12", "init_from is 12, but must be a valid string"),
        (
            "objective.kind=mlm",
            "objective.kind is 'mlm', but must be one of 'electra', 'masked_lm', 'electric'",
        ),
        (
            "objective.kind=[1]",
            "objective.kind is [1], but must be one of 'electra', 'masked_lm', 'electric'",
        ),
        ("objective.temperature=0", "objective.temperature is 0, but must be greater than 0"),
        ("train.accumulation_steps=3", "train: batch_size 128 is not divisible by accumulation_steps 3"),
        ("model.num_heads=3", "model: hidden_size 256 is not divisible by num_heads 3"),
        (
            ["tokenizer.kind=wordpiece", "tokenizer.vocab_file=v.txt", "tokenizer.keep_newlines=true"],
            "tokenizer.keep_newlines=true does not go with tokenizer.kind=wordpiece",
        ),
        ("data.sequence_length=513", "data.sequence_length 513 is above model.max_positions 512"),
    ],
)
def test_wrong_value_names_key_value_and_what_is_expected(override, expected, empty):
    text = message(empty, override if isinstance(override, list) else [override])
    assert text.startswith(f"{empty} with overrides: ")
    assert expected in text


def test_several_errors_are_all_in_one_message(empty):
    text = message(empty, ["train.steps=0", "model.hidden_size=x", "train.stesp=1"])
    for part in ("train.steps is 0", "model.hidden_size is 'x'", "unknown key train.stesp"):
        assert part in text


def test_long_values_are_cut(empty):
    assert len(message(empty, [f"train.steps={'x' * 10_000}"])) < 400


@pytest.mark.parametrize("override", ["train.steps", "=5", ".steps=5", "train..steps=5", "train.=5", "--"])
def test_override_without_its_form(override, empty):
    assert f"override {override!r} must have the form key.path=value" in message(empty, [override])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n  steps: 1\n  steps: 2\n", " line 3: not valid YAML: key 'steps' is given twice"),
        ("seed: 1\nseed: 1\n", " line 2: not valid YAML: key 'seed' is given twice"),
        ("train: {steps: {{STEPS}}}\n", " line 1: not valid YAML: a key must be a name"),
        ("seed: 1\ntrain: [1\n", " line 3: not valid YAML: expected ',' or ']'"),
        ("train:\n\tsteps: 1\n", " line 2: not valid YAML: found character '\\t'"),
        ("seed: 1\n---\nseed: 2\n", " line 2: not valid YAML: but found another document"),
        ("seed: 1\ninit_from: a\x00b\n", " line 2: not valid YAML: the character U+0000 is not text"),
        ("seed: !!int many\n", ": not valid YAML: "),
        ("seed: !!python/object:os.system x\n", " line 1: not valid YAML: could not determine a constructor"),
        ("train: &a\n  steps: *a\n", " line 1: not valid YAML: a value holds itself, by its aliases (*)"),
        ("- train\n", ": expected sections such as 'train:' at the top level, found a list"),
        ("train\n", ": expected sections such as 'train:' at the top level, found a str"),
        ("1: 2\n", ": unknown key 1: keys are names"),
        ("base: 5\n", ": base must be the path of one YAML file, or a preset's name, not 5"),
        ("base: [a.yaml, b.yaml]\n", ": base must be the path of one YAML file"),
    ],
)
def test_malformed_file_names_file_and_line(text, expected, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert message(path).startswith(f"{path}{expected}")


def test_missing_file_names_its_neighbours(tmp_path):
    for name in ("small.yaml", "base.yaml", "large.yaml"):
        (tmp_path / name).write_text("")
    path = tmp_path / "smal.yaml"
    assert message(path).startswith(
        f"configuration file {path} does not exist; in {tmp_path} there are: small."
    )
    assert "there are: base.yaml, large.yaml, small.yaml" in message(tmp_path / "zzzzzzzzzzzzzz")
    nowhere = tmp_path / "no" / "small.yaml"
    assert message(nowhere).endswith(f": there is no folder {tmp_path / 'no'}")


def test_unreadable_files(tmp_path):
    assert "cannot be read: it is a directory, not a regular file" in message(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"seed: 1 # \xff\n")
    assert message(binary) == f"configuration file {binary} is not UTF-8 text (byte 10)"


def test_bases_missing_circular_and_wrong(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("base: second.yaml\n")
    assert message(first).startswith(f"the base of {first}, {second} does not exist")
    second.write_text("base: ./first.yaml\n")
    assert message(first).endswith(f"in a circle: {first} -> {second} -> {first}")
    first.write_text("base: first.yaml\n")
    assert "in a circle" in message(first)
    second.write_text("stesp: 1\n")
    first.write_text("base: second.yaml\n")
    assert message(first).startswith(f"{first} over {second}: unknown key stesp")


@pytest.mark.parametrize("override", ["data.text_field=caf\udce9", 'data.cache_dir="caf\\udce9"'])
def test_override_that_is_not_utf8(override, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("{}")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load_config(path, [override])
