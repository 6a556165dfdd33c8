"""The benchmark of the step: what is asked for, who takes part, what is counted."""

import io
import json
import sys

import pytest

from benchmarks import contender, step
from benchmarks.workload import Workload
from electra_jax.errors import UserError


def test_a_workload_is_read_or_refused():
    assert step.parse_workload("train:4x512", 2) == Workload("train", 4, 512, 2)
    for text in ("train", "train:4", "train:4xlong", "dream:4x512"):
        with pytest.raises(UserError, match="--workload"):
            step.parse_workload(text, 2)


def test_without_the_extra_there_are_no_rivals_and_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None)
    assert step.rivals("eager,compile") == []
    assert "pip install" in capsys.readouterr().out
    with pytest.raises(UserError, match="eager, compile"):
        step.rivals("tensorflow")


def test_flops_of_the_small_model_are_those_of_the_paper():
    # ELECTRA paper, table 8: ELECTRA-Small pre-trains for 1.4e18 FLOPs, a million steps of 128 x 128 tokens.
    flops = step.model_flops(Workload("train", 128, 128, 2)) * 1e6
    assert flops == pytest.approx(1.4e18, rel=0.25)
    assert step.model_flops(Workload("inference", 32, 128, 2)) == pytest.approx(86e9, rel=0.05)


def test_settings_are_over_those_of_electra_small_and_cannot_change_the_rows():
    assert Workload("train", 4, 16, 2, ["train.accumulation_steps=2"]).config().train.accumulation_steps == 2
    for setting in ("train.batch_size=8", "data.sequence_length=32"):
        with pytest.raises(UserError, match="--workload"):
            step.main(["--workload", "train:4x16", setting])
    with pytest.raises(UserError, match="nothing_like_it"):
        step.main(["--workload", "train:4x16", "train.nothing_like_it=8"])


def test_rows_are_the_same_for_everyone_and_full():
    rows = Workload("train", 4, 16, 2).rows()
    assert (rows == Workload("train", 4, 16, 1).rows()).all()
    assert (rows[:, 0] == 101).all()
    assert (rows[:, -1] == 102).all()
    assert rows.min() > 0


def test_a_contender_answers_each_number_with_seconds_and_memory(monkeypatch, capfd):
    ran = []
    monkeypatch.setattr(contender, "starter", lambda name, workload: ran.append)
    fields = json.dumps({"kind": "train", "batch": 1, "length": 8, "threads": 2})
    monkeypatch.setattr(sys, "argv", ["contender", "peak", fields])
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n3\n"))
    monkeypatch.setattr(contender.os, "sched_setaffinity", lambda *_: None)
    saved = contender.os.dup(1)
    contender.main()
    contender.os.dup2(saved, 1)
    answers = [json.loads(text) for text in capfd.readouterr().out.splitlines() if text.startswith("{")]
    assert ran == [1, 3]
    assert [set(answer) for answer in answers] == [{"seconds", "cpu", "memory"}] * 2
    assert answers[0]["memory"] > 10
