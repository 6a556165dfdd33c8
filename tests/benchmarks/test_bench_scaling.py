"""The table of docs/scaling.md: what each row asks of the planner, and how its answer is written."""

import json
import subprocess

import pytest

from benchmarks import scaling
from benchmarks.scaling import Row
from electra_jax import cli
from electra_jax.config import load_config
from electra_jax.errors import UserError

SAID = {
    "mesh": {"data": 16, "fsdp": 8, "tensor": 1},
    "batch_size": 1024,
    "memory": {"parameters": 1e9, "temporaries": 2.26e9, "program": None},
    "work": {"memory_bytes": 30.94e9, "sent_bytes": 2529e6, "slices_bytes": 17.4e6},
    "times": {
        kind: {
            "seconds_a_step": seconds,
            "model_flops_utilization": 0.01 / seconds,
            "tokens_per_second": 5e5 / seconds,
            "chip_hours": 3e4 * seconds,
        }
        for kind, seconds in (("best", 0.08), ("worst", 0.1))
    },
}


def test_every_row_asks_for_a_run_that_exists_and_for_as_many_rows_as_the_paper():
    assert len({row.name for row in scaling.ROWS}) == len(scaling.ROWS)
    for row in scaling.ROWS:
        parser = cli.parser("electra_jax.plan", "")
        parser.add_argument("--topology")
        parser.add_argument("--slices", type=int)
        args = parser.parse_args(row.arguments)
        config = load_config(args.config, args.overrides)
        assert args.slices == row.slices
        rows = {"small": 128e6, "base": 256 * 766e3, "large": 2048 * 400e3}[row.preset]
        assert config.train.steps * config.train.batch_size == pytest.approx(rows, rel=1e-3)


def test_a_row_of_the_table():
    row = Row("large", "‡", "v5p:4x4x4", ("mesh.fsdp=8",), slices=2)
    assert row.name == "large‡ 2 x v5p:4x4x4 mesh.fsdp=8"
    assert scaling.line(row, SAID) == (
        "| large ‡ | 2 × v5p:4x4x4 | data 16 × fsdp 8 | 1,024 | 3.3 GB | 30.9 GB | 2,529 MB | 17 MB | 80.0 – 100.0 | "
        "12.5 – 10.0 % | 6.25 – 5 | 2,400 – 3,000 |"
    )


def test_a_run_that_cannot_be_planned_is_named_and_the_others_are_printed(monkeypatch, capsys, tmp_path):
    asked = []

    def answer(command, **_):
        asked.append(command)
        fails = "--topology=v6e:8x8" in command
        return subprocess.CompletedProcess(command, int(fails), json.dumps(SAID), "SIGSEGV")

    monkeypatch.setattr(subprocess, "run", answer)
    arguments = ["--only", "base† v6e", "--keep", str(tmp_path / "plans")]
    for plans in (2, 3):  # what was planned before is not asked for again
        with pytest.raises(UserError, match="1 of 2 runs could not be planned, see above: base† v6e:8x8"):
            scaling.main(arguments)
        assert len(asked) == plans
        said = capsys.readouterr()
        assert "| base † | v6e:2x4 |" in said.out
        assert "SIGSEGV" in said.err


def test_names(capsys):
    assert scaling.main(["--list", "--only", "small v5e"]) == 0
    assert capsys.readouterr().out.splitlines() == ["small v5e:2x4", "small v5e:16x16"]
    with pytest.raises(UserError, match="--only huge: no run is called so"):
        scaling.main(["--only", "huge"])
