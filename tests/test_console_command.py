"""``electra-jax COMMAND``: every command by its name."""

import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax import __main__ as console
from electra_jax.errors import UserError

PACKAGE = Path(console.__file__).parent


def test_every_command_is_listed():
    modules = [path.parent if path.name == "__main__.py" else path for path in sorted(PACKAGE.rglob("*.py"))]
    commands = {
        path.stem
        for path in modules
        if path != PACKAGE
        and "cli.run(main)" in (path / "__main__.py" if path.is_dir() else path).read_text()
    }
    assert commands == set(console.COMMANDS)


def test_help_lists_the_commands(capsys):
    assert console.run_command(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in console.COMMANDS)
    assert console.run_command([]) == UserError.status


def test_arguments_reach_the_command(capsys):
    with pytest.raises(SystemExit) as ended:
        console.run_command(["train", "--config", "tiny", "--print-config", "train.steps=7"])
    assert ended.value.code == 0
    assert "\n  steps: 7\n" in capsys.readouterr().out
    assert console.run_command(["config"]) == 0
    assert capsys.readouterr().out.startswith("seed  (int")


def test_unknown_command():
    with pytest.raises(UserError, match=r"no command 'trian'; there are: config, prepare, .*train"):
        console.run_command(["trian"])


@pytest.mark.parametrize("name", ["config", "prepare"])
def test_help_speaks_of_the_command_as_it_was_called(name, monkeypatch, capsys):
    for program, called in (
        ("/usr/bin/electra-jax", f"electra-jax {name}"),
        ("x", f"python -m electra_jax.{name}"),
    ):
        monkeypatch.setattr(sys, "argv", [program])
        with pytest.raises(SystemExit):
            console.run_command([name, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: {called} ")


def test_commands_without_jax_do_not_import_it():
    code = "import sys; from electra_jax.__main__ import run_command; run_command(['config']); "
    code += "sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_ends_as_every_command_does(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["electra-jax", "trian"])
    with pytest.raises(SystemExit) as ended:
        console.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no command 'trian'")


@pytest.mark.parametrize("name", sorted(console.COMMANDS))
def test_help_points_at_keys_only_where_the_command_takes_them(name, capsys):
    with pytest.raises(SystemExit):
        console.run_command([name, "--help"])
    printed = capsys.readouterr().out
    takes_keys = "key.path=value" in printed.partition("\n\n")[0]
    with_keys = ("train", "prepare", "plan", "evaluate", "generate", "rerank", "chat", "convert")
    assert takes_keys == (name in with_keys)
    assert takes_keys == ("Every key, with its type, default and meaning" in printed)
