"""Keys of tasks that write: what does not go together is refused in a sentence, and what may change is free."""

import pytest

from electra_jax.config import __main__ as config_command
from electra_jax.config import dump_config, load_config
from electra_jax.config.compare import differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.errors import UserError

TASK = {"kind": "seq2seq"}


def _config(task=(), **sections):
    values = {"objective": {"kind": "finetune"}, "finetune": {"tasks": {"mine": TASK | dict(task)}}}
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return Config.model_validate(values)


REFUSED = {
    "a mean that nobody takes": (
        {},
        {"finetune": {"tasks": {"mine": TASK}, "select": "best", "average_last": 3}},
        "average_last is 3, but select=best averages nothing",
    ),
    "a language's name": ({"language": "klingon"}, {}, "language 'klingon' is no code of a language"),
    "more layers than are copied": (
        {"decoder": {"init": "encoder", "num_layers": 3}},
        {},
        "decoder.num_layers 3 is not the encoder's 12, which it is with decoder.init=encoder: leave it out",
    ),
    "another width than is shared": (
        {"decoder": {"sharing": "all", "hidden_size": 64}},
        {},
        "decoder.hidden_size 64 is not the encoder's 256, which it is with decoder.sharing=all",
    ),
    "other heads than are shared": (
        {"decoder": {"sharing": "all", "num_heads": 8}},
        {},
        "decoder.num_heads 8 is not the encoder's 4",
    ),
    "another feed-forward width": (
        {"decoder": {"init": "encoder", "intermediate_size": 64}},
        {},
        "decoder.intermediate_size 64 is not the encoder's 1024",
    ),
    "heads that do not divide": (
        {"decoder": {"hidden_size": 64, "num_heads": 3}},
        {},
        "the decoder's width 64 is not divisible by decoder.num_heads 3",
    ),
    "heads that do not divide the encoder's": (
        {"decoder": {"num_heads": 3}},
        {},
        "the decoder's width 256 is not divisible by decoder.num_heads 3",
    ),
    "the generator and all layers": (
        {"decoder": {"init": "generator", "sharing": "all"}},
        {},
        "sharing all is the encoder's layers, not the generator's",
    ),
    "targets beyond the positions": (
        {"max_target_tokens": 513},
        {},
        "max_target_tokens 513 is above model.max_positions 512",
    ),
    "a column beside conversations": (
        {"conversations": {}, "source": "a"},
        {},
        "source is not read with conversations, where each turn follows those before it: leave it out",
    ),
    "chunks of a conversation": (
        {"conversations": {}, "long": "chunks"},
        {},
        "long chunks is not for conversations",
    ),
    "lines for conversations": (
        {"conversations": {}, "dev": {"source_file": "a", "target_file": "b"}},
        {},
        "dev has two files of parallel lines, which are no conversations",
    ),
    "chunks with what is retrieved": (
        {"retrieval": {}, "long": "chunks"},
        {},
        "long chunks is not for retrieval",
    ),
    "lines without what is retrieved": (
        {"retrieval": {}, "train": {"source_file": "a", "target_file": "b"}},
        {},
        "train has two files of parallel lines, which hold nothing retrieved",
    ),
    "no room beside what is retrieved": (
        {"retrieval": {"max_tokens": 126}},
        {},
        "retrieval.max_tokens 126 leaves a source no room in data.sequence_length 128",
    ),
    "one token type": (
        {"retrieval": {}},
        {"model": {"type_vocab_size": 1}},
        "retrieval needs model.type_vocab_size of at least 2",
    ),
    "replies by somebody unknown": (
        {"conversations": {"speakers": "alternate", "replies_by": "Ann"}},
        {},
        "replies_by needs to know who speaks, which speakers alternate does not",
    ),
    "refining": (
        {},
        {"generation": {"method": "refine"}},
        "generation.method=refine needs a generator and a discriminator, not a decoder",
    ),
    "keys of refining": (
        {},
        {"generation": {"refine": {"steps": 3}}},
        "a decoder does not read generation.refine.steps",
    ),
    "beams that draw": (
        {},
        {"generation": {"beams": 2, "top_k": 3}},
        "beams 2 draws nothing, so top_k does not go with it",
    ),
    "no task that writes": (
        {"kind": "classification"},
        {"generation": {"beams": 2, "max_new_tokens": 3}},
        "no task of kind seq2seq reads generation.max_new_tokens, generation.beams",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_go_together(what):
    task, sections, message = REFUSED[what]
    with pytest.raises(ValueError, match="Value error") as caught:
        _config(task, **sections)
    assert message in str(caught.value)


def test_sizes_of_a_checkpoint_that_are_not_known_yet_are_not_compared():
    """They are once it is read; until then `model.*` has defaults that mean nothing."""
    task = {"decoder": {"sharing": "all", "hidden_size": 768}, "max_target_tokens": 1024}
    assert _config(task, init_from="runs/base").init_from == "runs/base"
    sizes = {"hidden_size": 512, "num_layers": 2, "num_heads": 8, "max_positions": 1024}
    with pytest.raises(ValueError, match=r"decoder\.hidden_size 768 is not the encoder's 512"):
        _config(task, init_from="runs/base", model=sizes)


def test_the_keys_are_listed_with_their_kind(capsys):
    assert config_command.main([]) == 0
    listed = capsys.readouterr().out
    for key in (
        "source",
        "target",
        "max_target_tokens",
        "long",
        "label_smoothing",
        "word_dropout",
        "decoder.init",
        "decoder.copy_mechanism",
    ):
        assert f"finetune.tasks.NAME.{key}" in listed
    assert "finetune.batch_tokens" in listed


def test_a_configuration_is_read_as_it_was_written(tmp_path):
    files = {"source_file": "a.de", "target_file": ["a.en", "b.en"]}
    config = _config(
        {"train": files, "dev": {"source_file": "b.de", "target_file": "c.en"}, "decoder": {"num_layers": 2}},
        generation={"beams": 4},
    )
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml", []) == config
    with pytest.raises(UserError, match=r"decoder\.init"):
        load_config(tmp_path / "config.yaml", ["finetune.tasks.mine.decoder.init=discriminator"])


@pytest.mark.parametrize(
    ("task", "sections", "key", "free", "with_best"),
    [
        ({}, {"generation": {"beams": 4}}, "generation.beams", True, False),
        ({}, {"generation": {"max_new_tokens": 4}}, "generation.max_new_tokens", True, False),
        ({"metrics": ["ter"]}, {}, "finetune.tasks.mine.metrics", True, False),
        ({"label_smoothing": 0.2}, {}, "finetune.tasks.mine.label_smoothing", False, False),
        ({"prefix": "a"}, {}, "finetune.tasks.mine.prefix", False, False),
        ({"decoder": {"num_layers": 2}}, {}, "finetune.tasks.mine.decoder.num_layers", False, False),
    ],
)
def test_what_may_change_after_training_and_not_where_the_best_parameters_were_chosen_by_it(
    task, sections, key, free, with_best
):
    (change,) = differences(_config(), _config(task, **sections))
    assert (change.key, change.free) == (key, free)
    best = {"finetune": {"select": "best", "tasks": {"mine": TASK | task}}}
    old = _config(finetune={"select": "best", "tasks": {"mine": TASK}})
    (change,) = differences(old, _config(**best, **sections))
    assert (change.key, change.free) == (key, with_best)


def test_a_loss_against_repeats_is_refused_where_tokens_are_copied():
    copies = {"decoder": {"copy_mechanism": True}}
    with pytest.raises(ValueError, match="unlikelihood is against repeats out of the vocabulary alone"):
        _config(copies | {"unlikelihood": 1.0})
    assert _config(copies).finetune.tasks["mine"].decoder.copy_mechanism


@pytest.mark.parametrize("data", ["tfds:wmt", "glue"])
def test_data_of_benchmarks_has_no_texts_to_write(data):
    with pytest.raises(ValueError, match="no texts to write are read: give train and dev"):
        _config({"data": data})


def test_keys_are_explained_and_differences_shown_as_they_are_written():
    assert "finetune.tasks.NAME.decoder.init" in (text := config_command.reference())
    assert "decoder.kind=" not in text
    with pytest.raises(UserError, match=r"language is 'e', but must have at least 2 characters$"):
        load_config("finetune/recipe", ["finetune.tasks.mine={kind: seq2seq, language: e}"])
    files = [{"source_file": "a.de", "target_file": f"{name}.en"} for name in "ab"]
    shown = format_differences(differences(*(_config({"train": pair}) for pair in files)))
    assert "'target_file': 'b.en'" in shown
    assert "ParallelFiles" not in shown
