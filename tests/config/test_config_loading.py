"""Files, inheritance and overrides become the values they should."""

import random
import struct

import pytest

from electra_jax.config import Config, dump_config, load_config
from electra_jax.config.keys import keys
from electra_jax.config.yaml_format import dump, parse, parse_value
from electra_jax.errors import UserError

AWKWARD_STRINGS = (
    *("1e5", "1e-4", ".5e3", "08", "010", "0x1F", "0o7", "1_000", "1:30", "2026-01-02", ".inf", "-.nan"),
    *("", "~", "null", "yes", "No", "on", "True", "=", "<<", "-", "- a", "*a", "&a", "!a", "%a", "@a", "`a`"),
    *(
        "a: b",
        "a #b",
        " a ",
        "[ab]*.txt",
        "{a}",
        "'",
        '"',
        "a\nb\n",
        "\t",
        "é\u2028\x85\ufeff",
        "😀",
        "long " * 60,
    ),
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-4", 1e-4), ("1E4", 1e4), ("-2.5e+3", -2500.0), (".5", 0.5), ("3.", 3.0), ("1.0e-12", 1e-12)),
        *(("12", 12), ("-7", -7), ("1_000", 1000), ("010", 10), ("1:30", "1:30"), ("0x10", "0x10")),
        *(("null", None), ("~", None), ("", None), ("true", True), ("False", False), ("yes", "yes")),
        *(("2026-99-99", "2026-99-99"), ("e5", "e5"), ("1e", "1e"), ("text:a/*.txt", "text:a/*.txt")),
        *(("'1e-4'", "1e-4"), ('"null"', "null"), ("[1, 1e-1, a]", [1, 0.1, "a"]), ("{a: 1}", {"a": 1})),
    ],
)
def test_values_read_alike_in_files_and_in_overrides(text, value):
    read = parse(f"key: {text}", "here")["key"]
    assert (read, type(read)) == (value, type(value))
    assert (parse_value(text), type(parse_value(text))) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["text:a #1/*.txt", "text:a: b", "*.txt", "[ab]*.txt", "&x", "!x", "@x", "<<"]
)
def test_override_needs_no_second_layer_of_quotes(text):
    assert parse_value(text) == text


@pytest.mark.parametrize("text", AWKWARD_STRINGS)
def test_strings_survive_the_round_trip(text, write):
    config = Config.model_validate({"data": {"text_field": text}})
    assert load_config(write(dump_config(config))) == config


def test_floats_survive_the_round_trip_exactly():
    draw = random.Random(0)
    numbers = [struct.unpack("<d", draw.randbytes(8))[0] for _ in range(2000)]
    numbers = [n for n in numbers if n == n] + [1e-4, 5e-324, 1 / 3, 0.1 + 0.2, 1e22, 1e-12, 0.0]
    assert parse(dump(numbers), "here") == numbers


@pytest.mark.parametrize("kind", ["electra", "masked_lm", "electric", "causal_lm", "finetune"])
def test_dump_is_what_the_kind_of_run_reads_in_the_order_of_the_schema(kind):
    values = parse(dump_config(Config.model_validate({"objective": {"kind": kind}})), "here")
    wanted = [key.name for key in keys() if kind in key.runs]
    assert list(_dotted(values, "", set(wanted))) == wanted


def _dotted(values, prefix, known):
    for name, value in values.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in known:
            yield from _dotted(value, f"{prefix}{name}.", known)
        else:
            yield f"{prefix}{name}"


def test_whole_numbers_are_floats_where_the_schema_says_so(write):
    rate = load_config(write("optimizer:\n  learning_rate: 1\n")).optimizer.learning_rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_base_is_relative_to_its_file_and_merged_deeply(write):
    write("seed: 3\ntrain:\n  steps: 10\n  batch_size: 4\n", "presets/grand.yaml")
    write("base: grand.yaml\ntrain:\n  steps: 20\n", "presets/parent.yaml")
    path = write("base: ../presets/parent.yaml\noptimizer:\n  warmup_steps: 0\n", "mine/child.yaml")
    config = load_config(path, ["train.log_every=7"])
    assert (config.seed, config.train.steps, config.train.batch_size) == (3, 20, 4)
    assert (config.optimizer.warmup_steps, config.train.log_every) == (0, 7)


def test_a_whole_configuration_wins_over_its_base(write):
    """Also where the base was written by hand, whose settings are else those that count most."""
    write("train:\n  steps: 777\n  log_every: 3\n", "lab.yaml")
    whole = dump_config(load_config(write("train:\n  steps: 1234\n", "short.yaml")))
    assert load_config(write(f"base: lab.yaml\n{whole}", "whole.yaml")).train.steps == 1234
    assert load_config(write("base: lab.yaml\ntrain:\n  steps: 5\n", "hand.yaml")).train.steps == 5


def test_overrides_win_and_the_last_one_wins(write):
    path = write("train:\n  steps: 10\n")
    assert load_config(path, ["train.steps=20", "train.steps=30"]).train.steps == 30
    assert load_config(path, [" train . steps = 5 "]).train.steps == 5
    assert load_config(path, ["train.eval_batches=null"]).train.eval_batches is None


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "train:\n", "train:\n  # steps: 1\nobjective: null\n"]
)
def test_empty_files_and_sections_mean_the_defaults(text, write):
    assert load_config(write(text)) == Config()
    assert load_config(write(text), ["train.steps=5"]).train.steps == 5


def test_override_leaves_aliased_sections_alone(write):
    path = write("model: &same {}\ngenerator: *same\n")
    assert load_config(path, ["model.num_layers=2"]).model.num_layers == 2


def test_objective_is_chosen_by_kind(write):
    config = load_config(write("objective:\n  mask_rate: 0.2\n"), ["objective.kind=masked_lm"])
    assert (config.objective.kind, config.objective.mask_rate) == ("masked_lm", 0.2)
    assert load_config(write(dump_config(config))) == config


def test_objective_of_another_kind_drops_nothing_silently(write):
    path = write("objective:\n  discriminator_weight: 20.0\n")
    with pytest.raises(
        UserError,
        match=r"discriminator_weight: it belongs to objective\.kind=electra\|electric, not to masked",
    ):
        load_config(path, ["objective.kind=masked_lm"])


def test_section_of_another_objective_names_the_key_that_chooses(write):
    with pytest.raises(UserError, match=r"it belongs to objective\.kind=electra, not to masked_lm"):
        load_config(write(""), ["objective.kind=masked_lm", "objective.temperature_schedule.to=2.0"])


def test_linear_change_that_would_not_arrive_is_refused(write):
    late = ["objective.mask_rate_schedule.to=0.3", "objective.mask_rate_schedule.begin=0.75"]
    with pytest.raises(UserError, match=r"to 0\.3 is never reached: set over to 0\.25 or less"):
        load_config(write(""), late)
    load_config(write(""), [*late, "objective.mask_rate_schedule.over=0.25"])
    load_config(write(""), [*late, "objective.mask_rate_schedule.shape=exponential"])
