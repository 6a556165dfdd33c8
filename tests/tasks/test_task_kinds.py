"""A kind of task is known in one table; fine-tuning asks the protocol and no class."""

import ast
from pathlib import Path

import electra_jax

TASKS = Path(electra_jax.__file__).parent / "tasks"
KINDS = {"classification", "multi_label", "tagging", "question_answering"}  # the modules of their classes


def test_fine_tuning_knows_no_kind_of_task():
    """What it needs of one is a method of `Task`, so that another kind needs no change here."""
    for file in ("finetune", "objective", "prediction", "batches", "results"):
        tree = ast.parse((TASKS / f"{file}.py").read_text(encoding="utf-8"))
        imported = {
            node.module.rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not imported & KINDS, file
        assert "hasattr" not in called, file
