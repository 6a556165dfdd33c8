"""A trace of chosen steps: files that appear, and which steps are in them."""

import gzip
import json

import pytest
from pydantic import ValidationError
from small_run import small_config
from toy import ToyRun, toy_config


def _steps_traced(folder):
    (path,) = folder.rglob("perfetto_trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    return sorted({int(e["args"]["step_num"]) for e in events if "step_num" in e.get("args", {})})


@pytest.mark.parametrize(("asked", "traced"), [("3:5", [3, 4, 5]), ("11:20", [11, 12])])
def test_a_trace_holds_the_steps_that_were_asked_for(monkeypatch, tmp_path, asked, traced):
    ToyRun(monkeypatch, tmp_path, toy_config(train={"profile_steps": asked}))()
    assert _steps_traced(tmp_path / "profile") == traced
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))  # what TensorBoard and xprof read


def test_no_trace_unless_asked(monkeypatch, tmp_path):
    ToyRun(monkeypatch, tmp_path, toy_config())()
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("wrong", ["10", "20:10", "0:3", "a:b", "1:2:3"])
def test_steps_that_are_none_are_named(wrong):
    with pytest.raises(ValidationError, match="must be FIRST:LAST"):
        small_config(train={"profile_steps": wrong})
