"""What fine-tuning says of the model it starts from."""

import pytest
from huggingface_folder import TINY, write_encoder_decoder
from pydantic import ValidationError
from tiny_models import write_causal, write_pre_trained

from electra_jax.config.schema import Config
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.native_format import write_native
from electra_jax.errors import UserError
from electra_jax.tasks.starting_point import starting_point

NARROW = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A work directory of an encoder with a narrow decoder, its task called seq2seq."""
    folder = tmp_path_factory.mktemp("converted")
    write_native(
        read_huggingface([write_encoder_decoder(folder / "theirs", TINY, {**TINY, **NARROW})]),
        folder / "ours",
        folder / "ours",
    )
    return folder / "ours"


def notes(folder):
    tasks = {"mine": {"kind": "classification"}}
    config = Config.model_validate(
        {"objective": {"kind": "finetune"}, "init_from": str(folder), "finetune": {"tasks": tasks}}
    )
    return starting_point(config)[2]


def test_a_model_that_saw_one_side_alone_is_said_to_see_both(tmp_path):
    assert any("only what is before a token" in line for line in notes(write_causal(tmp_path / "lm")))
    assert not any("only what" in line for line in notes(write_pre_trained(tmp_path / "pair")))


def test_the_first_layers_are_taken_where_they_are_there(tmp_path):
    origin = write_pre_trained(tmp_path / "pair")

    def start(first, **sections):
        tasks = {"mine": {"kind": "classification"}, **sections.pop("tasks", {})}
        values = {
            "objective": {"kind": "finetune"},
            "init_from": str(origin),
            "finetune": {
                "tasks": tasks,
                "first_layers": first,
                "from_scratch": sections.pop("scratch", False),
            },
            "tokenizer": {"kind": "sentencepiece", "vocab_file": None},
        }
        return starting_point(Config.model_validate({**values, **sections}))

    config, _, lines = start(1)
    assert config.model.num_layers == 1
    assert f"layers: the first 1 of 1 of {origin / 'checkpoints' / '1'}" in lines
    for first, sections, message in (
        (2, {}, "first_layers is 2, but .* has 1 layers: lower it"),
        (1, {"model": {"num_layers": 2}}, "first_layers is 1, but model.num_layers is 2: leave one out"),
        (1, {"init_from": None}, "first_layers is 1, but there is no checkpoint with layers"),
        (1, {"scratch": True}, "from_scratch takes no parameters"),
        (
            1,
            {"tasks": {"write": {"kind": "seq2seq", "decoder": {"init": "encoder"}}}},
            "the decoder of write starts from the encoder's layers, all of them",
        ),
    ):
        with pytest.raises((UserError, ValidationError), match=message):
            start(first, **sections)


def decoders(origin, tasks):
    """By task the sizes of its decoder."""
    config = Config.model_validate(
        {"objective": {"kind": "finetune"}, "init_from": str(origin), "finetune": {"tasks": tasks}}
    )
    resolved = starting_point(config)[0]
    return {name: task.decoder.model_dump() for name, task in resolved.finetune.tasks.items()}


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        ({}, (24, 2, 3, 40)),
        ({"init": "generator"}, (24, 2, 3, 40)),  # there is none, but what was learned from one
        ({"num_layers": 2}, (24, 2, 3, 40)),
        ({"num_layers": 1}, (None, 1, None, None)),  # starts anew
        ({"init": "encoder"}, (None, None, None, None)),
        ({"sharing": "all"}, (None, None, None, None)),
    ],
)
def test_a_decoder_that_is_taken_over_has_its_sizes(converted, decoder, expected):
    (found,) = decoders(converted, {"mt": {"kind": "seq2seq", "decoder": decoder}}).values()
    assert tuple(found[key] for key in ("hidden_size", "num_layers", "num_heads", "intermediate_size")) == (
        expected
    )


def test_of_several_decoders_the_one_of_the_same_name_is_taken_over(converted):
    tasks = {name: {"kind": "seq2seq"} for name in ("mt", "seq2seq")}
    found = decoders(converted, tasks)
    assert (found["mt"]["hidden_size"], found["seq2seq"]["hidden_size"]) == (None, 24)


def test_a_vocabulary_that_the_texts_of_a_task_cannot_fill_names_the_task(tmp_path):
    (tmp_path / "train.tsv").write_text("from\tto\nan old house\tein altes Haus\n")
    files = {"train": str(tmp_path / "train.tsv"), "source": "from", "target": "to"}
    values = {
        "objective": {"kind": "finetune"},
        "finetune": {"tasks": {"mine": {"kind": "seq2seq", **files}}},
    }
    with pytest.raises(
        UserError, match=r"vocab_size 30522 is more than the text of finetune\.tasks \(mine\) can fill"
    ):
        starting_point(Config.model_validate(values))
    sizes = {"tokenizer": {"vocab_size": 275}}
    _, tokenizer, lines = starting_point(Config.model_validate(values | sizes))
    assert tokenizer.vocab_size == 275
    assert lines[0] == "trained a vocabulary of 275 on the texts of mine, sources and targets together"
    # A run that goes on has its own, whatever is in the files by now.
    tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "train.tsv").write_text("from\tto\nsomething else\tetwas anderes\n")
    _, same, lines = starting_point(Config.model_validate(values | sizes), tmp_path / "tokenizer")
    assert same.fingerprint == tokenizer.fingerprint
    assert not any("trained a vocabulary" in line for line in lines)
