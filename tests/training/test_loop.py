"""The loop: what it logs, when it waits, how it stops and how it goes on. With an objective that is a toy."""

import json
import os
import signal
from itertools import count
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary
from toy import (
    BAD_DISCRIMINATOR,
    BAD_GENERATOR,
    BAD_GRADIENT,
    SPEEDS,
    ToyRun,
    toy_config,
    toy_rows,
)

import electra_jax.training.loop
import electra_jax.training.throughput
from electra_jax import stopping
from electra_jax.config.machines import MeshConfig
from electra_jax.data.batches import batch
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training import save_clock
from electra_jax.training.checkpoints import restore_state, saved_steps
from electra_jax.training.interrupt import StopRequest
from electra_jax.training.logs import append_metrics_line
from electra_jax.training.workdir import WorkDir


def _lines(workdir):
    return [json.loads(line) for line in workdir.metrics.read_text().splitlines()]


def _without_speed(workdir):
    return [{k: v for k, v in line.items() if k not in SPEEDS} for line in _lines(workdir)]


def _train_lines(workdir):
    return {line["step"]: line for line in _lines(workdir) if line["split"] == "train"}


def _assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def test_lines_of_metrics(monkeypatch, tmp_path):
    run = ToyRun(monkeypatch, tmp_path, toy_config(train={"steps": 10}))
    _, metrics, stopped = run()
    lines = _lines(run.workdir)
    assert [(line["step"], line["split"]) for line in lines] == [
        (4, "train"),
        (6, "eval"),
        (8, "train"),
        (10, "train"),
        (10, "eval"),
    ]
    for line in lines:
        if line["split"] == "train":
            assert {"learning_rate", "grad_norm", *SPEEDS} <= set(line)
            assert line["model_flops_utilization"] is None  # nobody knows a CPU's peak
    assert stopped is None
    assert lines[-1] == {"step": 10, "split": "eval", **metrics}


def test_window_metrics_are_means_over_the_steps_since_the_last_line(monkeypatch, tmp_path):
    run = ToyRun(monkeypatch, tmp_path, toy_config(train={"steps": 10}))
    run()
    for last, steps in ((4, range(4)), (8, range(4, 8)), (10, range(8, 10))):
        rows = np.concatenate([batch(run.prepared.train, batch_size=8, seed=0, step=s) for s in steps])
        real = rows != SmallVocabulary.pad_id
        line = _train_lines(run.workdir)[last]
        assert line["tokens"] == real.sum()
        assert line["token_mean"] == pytest.approx(rows[real].mean(), rel=1e-6)


@pytest.mark.parametrize(("rows", "devices"), [(13, 1), (13, 8), (8, 8), (3, 8)])
def test_evaluation_counts_every_row_once(rows, devices, monkeypatch, tmp_path):
    evaluation = toy_rows(rows, seed=2)
    run = ToyRun(
        monkeypatch, tmp_path, toy_config(train={"steps": 1}), evaluation=evaluation, devices=devices
    )
    _, metrics, _ = run()
    real = evaluation != SmallVocabulary.pad_id
    assert metrics["tokens"] == real.sum()
    assert metrics["token_mean"] == pytest.approx(evaluation[real].mean(), rel=1e-6)


def test_evaluation_while_training_may_be_cut_short_but_not_the_last(monkeypatch, tmp_path):
    run = ToyRun(monkeypatch, tmp_path, toy_config(train={"eval_batches": 1}))
    run()
    tokens = {line["step"]: line["tokens"] for line in _lines(run.workdir) if line["split"] == "eval"}
    assert tokens[12] == (run.prepared.eval.rows != SmallVocabulary.pad_id).sum()
    assert tokens[6] < tokens[12]


def test_loop_waits_for_no_step_before_the_next_is_dispatched(monkeypatch, tmp_path):
    events = []

    def dispatching(train_step):
        def step(state, rows):
            events.append(f"dispatch {len([e for e in events if e.startswith('dispatch')]) + 1}")
            return train_step(state, rows)

        return step

    read_report, device_get, wait = (
        electra_jax.training.loop.read_report,
        jax.device_get,
        jax.block_until_ready,
    )

    def reading(step, report, console, subnetworks):
        events.append(f"read {step}")
        monkeypatch.setattr(jax, "device_get", device_get)
        values = read_report(step, report, console, subnetworks)
        monkeypatch.setattr(jax, "device_get", getting)
        return values

    def getting(tree):
        events.append("other read")
        return device_get(tree)

    def waiting(tree):
        events.append("wait")
        return wait(tree)

    run = ToyRun(
        monkeypatch,
        tmp_path,
        toy_config(train={"eval_every": 100, "checkpoint_every": 100, "steps": 9}),
        wrap=dispatching,
    )
    monkeypatch.setattr("electra_jax.training.loop.read_report", reading)
    monkeypatch.setattr(jax, "device_get", getting)
    monkeypatch.setattr(jax, "block_until_ready", waiting)
    run()
    assert events[events.index("dispatch 1") : events.index("dispatch 9")] == [
        *("dispatch 1", "wait"),  # the first step compiles, and is not timed
        *("dispatch 2", "read 1"),
        *("dispatch 3", "read 2"),
        *("dispatch 4", "read 3", "read 4", "other read"),  # a line of metrics: the metric sums are read too
        "dispatch 5",
        *("dispatch 6", "read 5"),
        *("dispatch 7", "read 6"),
        *("dispatch 8", "read 7", "read 8", "other read"),
    ]


def _signal_at(number, which):
    """Wraps a train step so that the process gets a signal during step ``number`` of the run."""
    calls = []

    def wrap(train_step):
        def step(state, rows):
            calls.append(None)
            if len(calls) == number:
                os.kill(os.getpid(), which)
            return train_step(state, rows)

        return step

    return wrap


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_stopped_run_goes_on_as_if_it_had_not_been(which, monkeypatch, tmp_path, capfd):
    straight = ToyRun(monkeypatch, tmp_path / "straight", toy_config())
    expected, _, _ = straight()

    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    folder = tmp_path / "with a space"
    state, _, stopped = ToyRun(monkeypatch, folder, toy_config(), wrap=_signal_at(7, which))()
    assert (stopped, int(state.step)) == (which.name, 7)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    said = capfd.readouterr().err
    assert f"stopped by {which.name} after step 7" in said
    assert f"python -m electra_jax.train --config '{folder / 'config.yaml'}' --workdir '{folder}'\n" in said

    again = ToyRun(monkeypatch, folder, toy_config())
    state, _, stopped = again()
    assert again.notes == [f"resumed at step 7 from {folder / 'checkpoints' / '7'}"]
    assert stopped is None
    _assert_equal(state, expected)
    assert _without_speed(again.workdir) == _without_speed(straight.workdir)


def test_batches_grow_on_the_way_and_a_stopped_run_goes_on_with_the_same_rows(monkeypatch, tmp_path):
    growing = toy_config(train={"batch_size_schedule": {"to": 24, "over": 0.5}, "accumulation_steps": 1})
    straight = ToyRun(monkeypatch, tmp_path / "straight", growing)
    expected, _, _ = straight()
    sizes = [8, 8, 16, 16, 16, 24, 24, 24, 24, 24, 24, 24]  # 8 + 16 (step / 12) / .5, to the nearest 8
    rows = np.concatenate(
        [batch(straight.prepared.train, batch_size=8, seed=0, step=step) for step in range(sum(sizes) // 8)]
    )
    for last, own in ((4, slice(0, 48)), (8, slice(48, 136)), (12, slice(136, 232))):
        assert _train_lines(straight.workdir)[last]["tokens"] == (rows[own] != SmallVocabulary.pad_id).sum()

    folder = tmp_path / "stopped"
    ToyRun(monkeypatch, folder, growing, wrap=_signal_at(7, signal.SIGTERM))()
    again = ToyRun(monkeypatch, folder, growing)
    state, _, _ = again()
    _assert_equal(state, expected)
    assert _without_speed(again.workdir) == _without_speed(straight.workdir)


def test_compiling_is_in_no_speed(monkeypatch, tmp_path):
    clock, compiled = [0.0], set()

    def ticking(train_step):
        def step(state, rows):
            clock[0] += 1.0 if rows.shape in compiled else 100.0
            compiled.add(rows.shape)
            return train_step(state, rows)

        return step

    monkeypatch.setattr(
        electra_jax.training.throughput, "time", SimpleNamespace(perf_counter=lambda: clock[0])
    )
    growing = toy_config(train={"batch_size_schedule": {"to": 24, "over": 0.5}, "accumulation_steps": 1})
    run = ToyRun(monkeypatch, tmp_path, growing, wrap=ticking)
    run()
    assert len(compiled) == 3
    speeds = {step: line["sequences_per_second"] for step, line in _train_lines(run.workdir).items()}
    assert speeds == {
        4: 16,
        8: 24,
        12: 24,
    }  # rows a second: the sizes are 8 8 16 16, 16 24 24 24, 24 24 24 24


def test_run_goes_on_with_the_same_rows_on_fewer_devices(monkeypatch, tmp_path):
    straight = ToyRun(monkeypatch, tmp_path / "straight", toy_config())
    straight()
    folder = tmp_path / "fewer"
    ToyRun(monkeypatch, folder, toy_config(), wrap=_signal_at(6, signal.SIGTERM))()
    fewer = ToyRun(monkeypatch, folder, toy_config(mesh={"data": 1, "fsdp": 2}), devices=2)
    fewer()
    lines, expected = _without_speed(fewer.workdir), _without_speed(straight.workdir)
    for ours, line in zip(lines, expected, strict=True):
        assert (ours.pop("step"), ours.pop("split")) == (line.pop("step"), line.pop("split"))
        # Sums of the tokens that were read, which are whole numbers: exact.
        assert (ours["tokens"], ours["token_mean"]) == (line["tokens"], line["token_mean"])
        assert ours == pytest.approx(line, rel=1e-5)


def test_signal_in_the_last_step_is_the_end_of_the_run(monkeypatch, tmp_path):
    run = ToyRun(monkeypatch, tmp_path, toy_config(), wrap=_signal_at(12, signal.SIGTERM))
    state, metrics, stopped = run()
    assert stopped is None
    assert int(state.step) == 12
    assert metrics
    assert saved_steps(run.workdir.checkpoints)[-1] == 12


def test_checkpoints_by_time_alter_no_number(monkeypatch, tmp_path):
    config = {"checkpoint_every": 100, "keep_checkpoints": 9}
    straight = ToyRun(monkeypatch, tmp_path / "straight", toy_config(train=config))
    expected, _, _ = straight()
    assert saved_steps(straight.workdir.checkpoints) == [12]

    minutes = count()  # every look at the clock is a minute later, and each step takes one look or two
    monkeypatch.setattr(save_clock, "time", SimpleNamespace(monotonic=lambda: 60.0 * next(minutes)))
    timed = ToyRun(monkeypatch, tmp_path / "timed", toy_config(train={**config, "checkpoint_minutes": 4}))
    state, _, _ = timed()
    # The clock starts at 0 and is asked at 1, 2, 3, and at 4, where it starts again at 5, and when saved at 6.
    assert saved_steps(timed.workdir.checkpoints) == [4, 8, 12]
    _assert_equal(state, expected)
    assert _without_speed(timed.workdir) == _without_speed(straight.workdir)

    kept = ToyRun(monkeypatch, tmp_path / "kept", toy_config(train={**config, "checkpoint_minutes": None}))
    kept()
    assert saved_steps(kept.workdir.checkpoints) == [12]


def test_signal_before_the_first_step_ends_at_once(monkeypatch, tmp_path, capfd):
    run = ToyRun(monkeypatch, tmp_path, toy_config(), wrap=_signal_at(1, signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert "\nstopped by SIGTERM: nothing was to be saved" in "\n" + capfd.readouterr().err
    assert saved_steps(run.workdir.checkpoints) == []


def test_signal_that_came_in_the_last_step_stops_the_next_loop(monkeypatch, tmp_path):
    with stopping.watching():  # as the command has it for all seeds of fine-tuning
        ToyRun(monkeypatch, tmp_path / "a", toy_config(), wrap=_signal_at(12, signal.SIGINT))()
        state, _, stopped = ToyRun(monkeypatch, tmp_path / "b", toy_config())()
    assert (int(state.step), stopped) == (1, "SIGINT")


def test_second_ctrl_c_stops_at_once():
    with StopRequest(make_mesh(MeshConfig())) as stop:
        stop.step_done()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.decide().stop == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_finished_run_started_again_does_nothing(monkeypatch, tmp_path):
    first = ToyRun(monkeypatch, tmp_path, toy_config())
    expected, _, _ = first()
    before = _lines(first.workdir)
    state, _, _ = ToyRun(monkeypatch, tmp_path, toy_config())()
    _assert_equal(state, expected)
    assert _lines(first.workdir) == before


def test_lines_that_were_cut_are_dropped_and_none_is_lost_with_them(tmp_path):
    workdir = WorkDir(tmp_path)
    workdir.metrics.write_text('{"step": 1, "split": "train"}\n{"step": 2, "split": "tr')
    append_metrics_line(workdir.metrics, 1, "eval", {})
    assert [line["split"] for line in workdir.read_metrics()] == ["train", "eval"]
    workdir.metrics.write_text('{"step": 1, "split": "train"}')  # whole, but for the end of its line
    workdir.truncate_metrics(1)
    assert workdir.metrics.read_text() == '{"step": 1, "split": "train"}\n'


def test_what_a_killed_process_left_of_the_first_config_is_no_other_run(tmp_path):
    (tmp_path / ".config.0123456789abcdef.yaml").write_text("seed: 0")
    assert WorkDir(tmp_path).check_usable(toy_config()) == []
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty and holds no run"):
        WorkDir(tmp_path).check_usable(toy_config())


def test_more_steps_go_on_from_the_end(monkeypatch, tmp_path):
    constant = {"optimizer": {"schedule": "constant"}}
    straight = ToyRun(monkeypatch, tmp_path / "straight", toy_config(**constant))
    expected, _, _ = straight()
    folder = tmp_path / "longer"
    ToyRun(monkeypatch, folder, toy_config(train={"steps": 9}, **constant))()
    longer = ToyRun(monkeypatch, folder, toy_config(**constant))
    _assert_equal(longer()[0], expected)
    logged = _train_lines(straight.workdir)[12]
    for name, value in _train_lines(longer.workdir)[12].items():
        if name not in SPEEDS:
            assert value == logged[name], name


@pytest.mark.parametrize(
    ("step", "token", "culprit"),
    [
        (8, BAD_GENERATOR, "the loss of the generator is not finite"),
        (8, BAD_DISCRIMINATOR, "the loss of the discriminator is not finite"),
        (8, BAD_GRADIENT, "the gradient of the discriminator is not finite"),
        (10, BAD_DISCRIMINATOR, "the loss of the discriminator is not finite"),  # a step that is to be saved
    ],
)
def test_loss_that_is_not_finite_stops_the_run(step, token, culprit, monkeypatch, tmp_path):
    rows = toy_rows(200)
    run = ToyRun(monkeypatch, tmp_path, toy_config(), train=rows)
    first = batch(run.prepared.train, batch_size=8, seed=0, step=step - 1)[3]
    rows[(rows == first).all(axis=1), 0] = token  # which only this step meets: an epoch is 25 steps

    with pytest.raises(UserError) as error:
        run()
    message = str(error.value)
    assert f"{culprit} at step {step} (" in message
    for name in ("learning_rate", "grad_norm", "loss"):
        assert f"{name} " in message
    assert "lower optimizer.learning_rate" in message
    assert all(np.isfinite(line["loss"]) for line in _lines(run.workdir))

    # The last good checkpoint is there, and is the state of its step.
    assert saved_steps(run.workdir.checkpoints) == [5]
    kept = restore_state(run.workdir.checkpoints, 5, run.program.abstract)
    clean = ToyRun(monkeypatch, tmp_path / "clean", toy_config(train={"steps": 5}), train=toy_rows(200))
    # The schedule is that of the longer run.
    clean.program = run.program
    _assert_equal(kept, clean()[0])
