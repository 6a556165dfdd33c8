"""Every key that is set is read by this kind of run, or refused in a sentence."""

import ast
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import electra_jax
from electra_jax.config import Config, dump_config, load_config
from electra_jax.config.compare import differences, format_differences
from electra_jax.config.fields import FINETUNING, PRETRAINING
from electra_jax.config.keys import Key, keys
from electra_jax.config.loading import validate
from electra_jax.errors import UserError

KINDS = (*PRETRAINING, *FINETUNING)
RESTRICTED = [key for key in keys() if key.runs != Key.runs and not key.in_objective]
# Where a run of a kind begins; what it reads is read there or in what that imports.
BEGINS = {"finetune": "electra_jax.tasks.finetune"}
TRAIN = "electra_jax.train"
# What a fine-tuning may import for other reasons, and never calls to train.
PRETRAINS = (
    TRAIN,
    "electra_jax.data.prepare",
    "electra_jax.training.pretraining",
    "electra_jax.training.examples",
)


def _config(kind, **sections):
    return Config.model_validate({"objective": {"kind": kind}, **sections})


def test_the_kinds_of_run_are_those_of_the_objective():
    (kind,) = (key for key in keys() if key.name == "objective.kind")
    assert kind.kinds == KINDS


def _candidates(annotation):
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    for inner in get_args(annotation):
        yield from _candidates(inner)
    yield from (True, False, 1, 2, 3, 0.25, 0.5, "text:a.txt", [8, 16], ["a"], {"rte": {}})


def _nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def _another_value(key):
    """One that a run which reads the key takes, and that is not its default."""
    for value in _candidates(key.field.annotation):
        if value == key.field.default:
            continue
        try:
            _config(key.runs[0], **_nested(key.name, value))
        except ValueError:
            continue
        return value
    pytest.skip(f"{key.name} takes no value by itself")


@pytest.mark.parametrize("key", RESTRICTED, ids=lambda key: key.name)
def test_a_key_that_a_kind_of_run_does_not_read_is_refused(key):
    value = _another_value(key)
    for kind in set(KINDS) - set(key.runs):
        with pytest.raises(ValueError, match=rf"does not read {key.name}|finetune\.tasks names rte"):
            _config(kind, **_nested(key.name, value))
        _config(kind, **_nested(key.name, key.field.get_default()))  # as it is anyway: nothing is lost


@cache
def _attributes_read(begin, without):
    """Names of the attributes read by a module and by all of the package that it imports, some rooms left out."""
    names, seen, left = set(), set(), [begin]
    while left:
        module = left.pop()
        left_out = any(f"{module}.".startswith(f"{room}.") for room in without)
        if module in seen or left_out or not module.startswith("electra_jax"):
            continue
        seen.add(module)
        if (file := _file(module)) is None:
            continue  # a name in a module
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
    return frozenset(names)


def _file(module):
    path = Path(electra_jax.__file__).parents[1].joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_a_kind_of_run_takes_is_read_by_its_code(kind):
    begin = BEGINS.get(kind, TRAIN)
    without = ("electra_jax.config", *(PRETRAINS if kind in FINETUNING else ("electra_jax.tasks",)))
    read = _attributes_read(begin, without) | {"keep_memory", "kind"}  # main's own, before it knows the kind
    read |= _attributes_read(
        "electra_jax.distributed.joining", ("electra_jax.config",)
    )  # by the command, for all
    for writes in ("settings", "refine"):
        read |= _attributes_read(f"electra_jax.generation.{writes}", ("electra_jax.config",))
    # Properties of the sections stand for these.
    properties = {"total_steps": "steps", "evaluation_interval": "eval_every", "total_warmup": "warmup_steps"}
    read |= {key for name, key in properties.items() if name in read}
    taken = {key.name for key in keys() if kind in key.runs}
    assert {name for name in taken if name.rpartition(".")[2] not in read} == set()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"steps": 1}, "finetune": {"epochs": 3.0}}, r"train\.steps \(1\) and finetune\.epochs \(3\.0\) say"),
        ({"optimizer": {"warmup_steps": 7}, "finetune": {"warmup_fraction": 0.1}}, r"warmup_steps \(7\) and"),
        ({"train": {"steps": None}, "finetune": {"epochs": None}}, "are both null"),
    ],
)  # fmt: skip
def test_steps_and_epochs_are_one_or_the_other(sections, message):
    with pytest.raises(ValueError, match=message):
        _config("finetune", **sections)


def test_what_fine_tuning_takes_where_nothing_is_set():
    config = _config("finetune")
    assert (config.train.steps, config.train.eval_every, config.optimizer.warmup_steps) == (None, None, None)
    assert (config.finetune.epochs, config.train.keep_checkpoints) == (3.0, 1)
    config = _config("finetune", train={"steps": 500, "keep_checkpoints": 4}, optimizer={"warmup_steps": 7})
    assert (config.train.steps, config.finetune.epochs) == (500, None)
    assert (config.optimizer.warmup_steps, config.finetune.warmup_fraction) == (7, None)
    assert config.train.keep_checkpoints == 4
    for key in ("steps", "eval_every"):
        with pytest.raises(ValueError, match=f"{key} is null, but must be a valid integer"):
            _config("electra", train={key: None})


def test_a_preset_and_a_runs_own_file_give_way_and_a_file_by_hand_does_not(tmp_path):
    assert load_config("base", ["objective.kind=masked_lm"]).generator.size_fraction == 0.25
    assert load_config("large", ["objective.kind=masked_lm"]).objective.mask_rate == 0.25
    assert load_config("finetune/rte").finetune.epochs == 10.0
    assert load_config("finetune/rte", ["train.steps=100"]).finetune.epochs is None
    tuned = load_config("base", ["objective.kind=finetune"])
    assert (tuned.train.steps, tuned.model.hidden_size) == (None, 768)
    own = tmp_path / "config.yaml"
    own.write_text(dump_config(load_config("tiny")))
    assert load_config(own, ["objective.kind=masked_lm"]).train.steps == 4000
    hand = tmp_path / "hand.yaml"
    hand.write_text("base: tiny\ngenerator: {size_fraction: 0.5}\n")
    assert load_config(hand).generator.layers_fraction == 0.34
    with pytest.raises(
        UserError, match=r"masked_lm does not read generator\.size_fraction \(read with electra"
    ):
        load_config(hand, ["objective.kind=masked_lm"])
    with pytest.raises(UserError, match=r"finetune\.epochs \(10\.0\) say the same"):
        load_config("finetune/rte", ["train.steps=100", "finetune.epochs=10"])


def test_a_fine_tuning_of_an_earlier_version_keeps_its_meaning():
    """It wrote steps that it never read, and every key of every kind of run; so did its seeds, with those it took."""
    now = _config("finetune", finetune={"tasks": {"rte": {"data": "glue"}}, "epochs": 2.0}, seed=1)
    earlier = now.model_dump()
    earlier["finetune"] |= {"warmup_fraction": 0.1}
    earlier["generator"]["size_fraction"] = 0.5
    earlier["data"]["source"] = "text:a.txt"
    for steps, warmup in ((1, 7), (36, 4)):
        earlier["train"] |= {"steps": steps, "eval_every": 12, "eval_batches": 3, "keep_checkpoints": 2}
        earlier["optimizer"] |= {"warmup_steps": warmup}
        assert format_differences(differences(validate(earlier, "here"), now)) == ""


def test_what_is_done_with_predictions_may_change_and_the_recipe_may_not():
    def tuned(select="last", steps=None, **task):
        recipe = {"tasks": {"squad": {"data": "a", **task}}, "select": select}
        return _config("finetune", finetune=recipe, **({"train": {"steps": steps}} if steps else {}))

    (change,) = differences(tuned(), tuned(n_best=5))
    assert (format_differences([change]), change.free) == ("finetune.tasks.squad.n_best: 20 -> 5", True)
    (change,) = differences(tuned(), tuned(beam=5))
    assert change.free
    (change,) = differences(tuned("best"), tuned("best", beam=5))
    assert not change.free  # it decides which parameters were kept
    (change,) = differences(tuned("average"), tuned("average", beam=5))
    assert change.free
    assert not differences(tuned(), tuned(max_answer_tokens=5))[0].free  # windows to train on overlap by it
    assert not any(change.free for change in differences(tuned(steps=5), tuned(steps=6)))
    many = [f"label {number}" for number in range(40)]

    def labelled(labels):
        return _config("finetune", finetune={"tasks": {"rte": {"labels": labels}}})

    shown = format_differences(differences(labelled([*many, "x"]), labelled([*many, "y"])))
    before, after = shown.split(" -> ")
    assert "'x'" in before
    assert "'y'" in after
