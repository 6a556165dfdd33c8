"""What is said while something is compiled: nothing if it is quick, two lines if not, once for each batch shape."""

import threading

import jax
import numpy as np
import pytest

from electra_jax.training import compile_messages
from electra_jax.training.compile_messages import WithCompileMessage, compile_message


def test_what_is_quick_is_not_said(capsys):
    with compile_message("a thing", delay=60):
        pass
    assert capsys.readouterr() == ("", "")
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished
    ]


def test_what_takes_long_is_said_before_and_after():
    lines, began = [], threading.Event()

    def write(line):
        lines.append(line)
        began.set()

    with compile_message("a thing", delay=0, write=write):
        assert began.wait(60)
        assert lines == ["compiling a thing ..."]
    assert lines == ["compiling a thing ...", "compiled a thing in 0 s"]


def test_what_fails_was_not_compiled():
    lines, began = [], threading.Event()

    def write(line):
        lines.append(line)
        began.set()

    def fail():
        with compile_message("a thing", delay=0, write=write):
            began.wait(60)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert lines == ["compiling a thing ..."]


def test_each_shape_of_batch_is_announced_once(monkeypatch):
    announced = []

    class Recorded:
        def __init__(self, what):
            self.what = what

        def __enter__(self):
            announced.append(self.what)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(compile_messages, "compile_message", Recorded)
    function = WithCompileMessage(
        jax.jit(lambda params, batch, number: params + batch.sum() + number), "the sum"
    )
    for length in (3, 3, 4, 3):
        assert function(np.float32(1), np.ones(length, np.float32), np.int32(2)) == 3 + length
    assert announced == ["the sum", "the sum"]
    assert function.lower(np.float32(1), np.ones(3, np.float32), np.int32(2)).as_text()
