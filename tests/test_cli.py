"""Arguments of the command lines, and how a command ends."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax import cli
from electra_jax.config import load_config
from electra_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("train:\n  steps: 10\n")
    return str(path)


def _raises(error):
    def main(argv):
        raise error

    return main


def _end(main, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_overrides_may_stand_anywhere(place, preset):
    parser = cli.parser("electra_jax.x", "Does x.")
    parser.add_argument("--workdir")
    overrides = ["train.steps=5", "seed=3"]
    argv = {
        "before": [*overrides, "--config", preset, "--workdir", "w"],
        "between": [overrides[0], "--config", preset, overrides[1], "--workdir", "w"],
        "after": ["--config", preset, "--workdir", "w", *overrides],
    }[place]
    args = parser.parse_args(argv)
    config = cli.load_config(args)
    assert (config.train.steps, config.seed, args.workdir) == (5, 3, "w")


def test_print_config_prints_what_loads_as_the_same(preset, tmp_path, capsys):
    args = cli.parser("electra_jax.x", "Does x.").parse_args(["--config", preset, "--print-config", "seed=3"])
    with pytest.raises(SystemExit) as stop:
        cli.load_config(args)
    assert stop.value.code == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load_config(printed) == load_config(Path(preset), ["seed=3"])


def test_help_shows_the_examples_as_written(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parser("electra_jax.x", "Does x.", epilog="examples:\n  a   b\n").parse_args(["--help"])
    assert stop.value.code == 0
    assert "usage: python -m electra_jax.x" in (shown := capsys.readouterr().out)
    assert "examples:\n  a   b\n" in shown
    assert shown.rstrip().endswith("python -m electra_jax.config")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "required: --config"),
        (["--config"], "expected one argument"),
        (["--config", "a", "--b"], "--b"),
        (
            ["--config", "a", "--steps", "5"],
            "arguments: --steps; settings are given as key=value, such as train.steps=1000",
        ),
    ],
)
def test_wrong_arguments_exit_with_2(argv, expected, capsys):
    status, printed = _end(lambda _: cli.parser("electra_jax.x", "Does x.").parse_args(argv), capsys)
    assert status == 2
    assert expected in printed


@pytest.mark.parametrize(
    ("override", "expected"),
    [("train.steps", "must have the form key.path=value"), ("train.stesp=1", "did you mean train.steps?")],
)
def test_wrong_override_is_one_sentence_and_2(override, expected, preset, capsys):
    def main(argv):
        cli.load_config(cli.parser("electra_jax.x", "Does x.").parse_args(["--config", preset, override]))
        return 0

    status, printed = _end(main, capsys)
    assert status == 2
    assert printed.startswith("error: ")
    assert expected in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (UserError("say it"), 2, "error: say it\n"),
        (OSError(errno.ENOSPC, "No space", "a/b"), 2, "error: disk full (a/b): make room"),
        (OSError(errno.EDQUOT, "Quota"), 2, "error: disk full: make room"),
        (
            OSError(errno.EACCES, "Permission denied", "a/b"),
            2,
            "error: no permission (a/b): Permission denied\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
    ],
    ids=str,
)
def test_how_a_command_ends(error, status, printed, capsys):
    ended, shown = _end(_raises(error), capsys)
    assert ended == status
    assert shown.startswith(printed)
    assert bool(shown) == bool(printed)


def test_status_of_main_is_the_exit_status(capsys):
    assert _end(lambda argv: 0, capsys) == (0, "")
    assert _end(lambda argv: 7, capsys) == (7, "")


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), OSError(errno.EIO, "I/O"), BrokenPipeError(errno.EPIPE, "a worker's pipe")],
    ids=str,
)
def test_what_is_not_the_users_mistake_is_not_hidden(error):
    with pytest.raises(type(error)):
        cli.run(_raises(error))


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("lines", [1, 200_000], ids=["unread at the end", "unread while printing"])
def test_reader_that_goes_away_is_met_quietly(lines, unbuffered):
    reads, writes = os.pipe()
    os.close(reads)
    code = f"from electra_jax import cli\ndef main(argv):\n for _ in range({lines}): print(1)\ncli.run(main)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=writes,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def test_pipe_that_breaks_elsewhere_is_not_taken_for_standard_output():
    code = (
        "import os\nfrom electra_jax import cli\n"
        "def main(argv):\n reads, writes = os.pipe(); os.close(reads); os.write(writes, b'x')\ncli.run(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert b"BrokenPipeError" in done.stderr


def test_characters_that_a_terminal_lacks_are_spelled_out():
    code = "from electra_jax import cli; cli.run(lambda argv: print('It\u2019s 5 \u20ac') or 0)"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, rb"It\u2019s 5 \u20ac" + b"\n", b"")
