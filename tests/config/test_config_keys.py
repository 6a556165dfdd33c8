"""Every key of the schema is documented, is read by the package, and is found where it differs."""

import ast
import re
from pathlib import Path

import pytest

import electra_jax
from electra_jax.config import Config
from electra_jax.config.__main__ import main, reference
from electra_jax.config.compare import Difference, differences, format_differences
from electra_jax.config.keys import entry_keys, keys
from electra_jax.errors import UserError

PACKAGE = Path(electra_jax.__file__).parent


def _flat(values, prefix=""):
    for key, value in values.items():
        if (
            isinstance(value, dict) and f"{prefix}{key}" != "finetune.tasks"
        ):  # sections by a name of the user's
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("kind", ["electra", "masked_lm", "electric", "causal_lm", "finetune"])
def test_keys_are_those_of_a_dumped_configuration(kind):
    dumped = list(_flat(Config.model_validate({"objective": {"kind": kind}}).model_dump()))
    assert [key.name for key in keys() if not key.kinds or kind in key.kinds] == dumped


@pytest.fixture(scope="module")
def attributes_read():
    """Names of all attributes that the package reads, its configuration left out."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "config" not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    names.add(node.attr)
    return names


@pytest.mark.parametrize("key", [key.name for key in (*keys(), *entry_keys())])
def test_key_is_read_somewhere(key, attributes_read):
    assert key.rpartition(".")[2] in attributes_read


def test_reference_lists_every_key_with_type_default_and_meaning(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.strip() == reference()
    entries = dict(re.findall(r"^(\S+)  \((.+)\)\n    \S", reference(), re.MULTILINE))
    assert list(entries) == [key.name for key in (*keys(), *entry_keys())]
    assert entries["train.eval_batches"] == (
        "int|null, at least 1, default 64, may change on resume, pre-training only"
    )
    assert entries["train.keep_checkpoints"] == (
        "int, at least 1, default 2, in fine-tuning 1, may change on resume"
    )
    assert entries["optimizer.schedule"].endswith("may change on resume (not in fine-tuning)")
    assert "may change on resume (not in fine-tuning)" in entries["train.steps"]
    assert (
        "not in fine-tuning" not in entries["optimizer.generator.learning_rate"]
    )  # which fine-tuning has not
    assert entries["generator.sharing"].endswith(", objective.kind=electra|electric only")
    assert entries["finetune.tasks.NAME.n_best"].endswith("NAME.kind=question_answering only")
    assert entries["objective.kind"] == "electra|masked_lm|electric|causal_lm|finetune, default electra"
    assert re.search(", default (''|\"\"), ", entries["generation.forced_prefix"])
    assert entries["objective.temperature"].endswith("default 1.0, objective.kind=electra only")
    assert entries["objective.temperature_schedule.to"].endswith("default null, objective.kind=electra only")
    (shown,) = re.findall(r"^train\.show_examples .*\n    (.*)", reference(), re.MULTILINE)
    assert "continuations (causal_lm)" in shown
    assert "masked_lm shows none" in shown
    with pytest.raises(UserError, match="unrecognized arguments: train"):
        main(["train.steps"])


def _config(**sections):
    return Config.model_validate(sections)


def test_equal_configurations_do_not_differ():
    assert differences(_config(), _config(optimizer={"learning_rate": 5e-4})) == []


def test_differences_say_which_are_free():
    changed = _config(
        seed=1, train={"steps": 5, "batch_size": 64, "eval_batches": None}, optimizer={"clip_norm": None}
    )
    assert differences(_config(), changed) == [
        Difference("seed", 0, 1, free=False),
        Difference("optimizer.clip_norm", 1.0, None, free=False),
        Difference("train.steps", 1_000_000, 5, free=True),
        Difference("train.batch_size", 128, 64, free=False),
        Difference("train.eval_batches", 64, None, free=True),
    ]


def test_another_objective_differs_in_the_keys_that_are_absent():
    found = differences(_config(), _config(objective={"kind": "masked_lm"}))
    assert [change.key for change in found] == [
        "objective.kind",
        "objective.generator_weight",
        "objective.discriminator_weight",
        "objective.temperature",
        *(f"objective.temperature_schedule.{key}" for key in ("to", "shape", "begin", "over")),
        "objective.disallow_correct",
    ]
    assert not any(change.free for change in found)
    assert format_differences(found[:2]) == (
        "objective.kind: electra -> masked_lm, objective.generator_weight: 1.0 -> (absent)"
    )


def test_a_run_whose_batches_grow_keeps_its_length():
    def steps_may_change(*schedules):
        old, new = (
            _config(train={"steps": steps, "batch_size_schedule": schedule})
            for steps, schedule in zip((100, 200), schedules, strict=True)
        )
        return {change.key: change.free for change in differences(old, new)}["train.steps"]

    assert steps_may_change({}, {})
    assert not steps_may_change({"to": 256}, {"to": 256})
    assert not steps_may_change({}, {"to": 256})


def _fine_tuning(tasks, **sections):
    return _config(objective={"kind": "finetune"}, finetune={"tasks": tasks}, **sections)


def test_tasks_differ_key_by_key_and_one_that_is_new_as_a_whole():
    old = _fine_tuning({"mine": {"kind": "classification", "train": "a.csv", "labels": ["x", "y"]}})
    new = _fine_tuning(
        {
            "mine": {"kind": "classification", "train": "b.csv", "labels": ["y", "x"]},
            "two": {"kind": "regression"},
        }
    )
    found = differences(old, new, free={"finetune.tasks.mine.train"})
    assert [(change.key, change.free) for change in found] == [
        ("finetune.tasks.mine.train", True),
        ("finetune.tasks.mine.labels", False),
        ("finetune.tasks.two", False),
    ]
    assert format_differences(found) == (
        "finetune.tasks.mine.train: a.csv -> b.csv, finetune.tasks.mine.labels: ['x', 'y'] -> ['y', 'x'], "
        "finetune.tasks.two: (absent) -> {'kind': 'regression'}"
    )


def test_the_recipe_of_a_fine_tuning_is_not_free_and_the_machine_is():
    changed = {
        "optimizer": {"learning_rate": 1.0, "weight_decay": 0.5},
        "compute": {"scan_layers": True},
        "train": {"log_every": 3},
    }
    frees = {c.key: c.free for c in differences(_fine_tuning({}), _fine_tuning({}, **changed))}
    assert frees == {
        "optimizer.learning_rate": False,
        "optimizer.weight_decay": False,
        "train.log_every": True,
        "compute.scan_layers": True,
    }
    assert all(
        change.free for change in differences(_config(), _config(**changed))
    )  # pre-training may be tuned


def test_null_and_booleans_are_shown_as_in_yaml():
    changes = differences(_config(), _config(init_from="runs/a", tokenizer={"lowercase": False}))
    assert format_differences(changes) == "init_from: null -> runs/a, tokenizer.lowercase: true -> false"
