"""Runs that an earlier version (commit d9ac73f) began go on in this one as they went on there.

Where the golden runs were made, on one device, metrics of both versions were the same to the last bit.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from electra_jax import train

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "runs_of_d9ac73f.tar.xz"


@pytest.fixture
def golden(tmp_path, monkeypatch):
    """A folder with ``runs``, where we are, and ``expected``, what came of them."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path


def _records(path):
    """What was measured at each step and on which split, the machine's speed left out."""
    records = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        at = (record.pop("step"), record.pop("split"))
        records[at] = {
            key: value
            for key, value in record.items()
            if "per_second" not in key and "utilization" not in key
        }
    return records


def _same(path, expected):
    found, wanted = _records(path), _records(expected)
    assert found.keys() == wanted.keys()
    for at in wanted:
        assert found[at] == pytest.approx(wanted[at], rel=1e-4, abs=1e-6)


def test_pretraining_resumes(golden, capfd):
    work = golden / "runs" / "work"
    shutil.rmtree(work / "checkpoints" / "8")
    assert train.main(["--config", str(work / "config.yaml"), "--workdir", "work"]) == 0
    assert "resumed at step 4 " in capfd.readouterr().err
    _same(work / "metrics.jsonl", golden / "expected" / "work.jsonl")


def test_fine_tuning_resumes_its_second_seed_and_keeps_the_first(golden, capfd):
    tuned = golden / "runs" / "tuned"
    first = (tuned / "seed-0" / "metrics.jsonl").read_bytes()
    assert train.main(["--config", str(tuned / "config.yaml"), "--workdir", "tuned"]) == 0
    assert "resumed at step 6 " in capfd.readouterr().err
    assert (tuned / "seed-0" / "metrics.jsonl").read_bytes() == first
    _same(tuned / "seed-1" / "metrics.jsonl", golden / "expected" / "seed-1.jsonl")
    found, wanted = (
        json.loads(path.read_text())
        for path in (tuned / "results.json", golden / "expected" / "results.json")
    )
    assert found == wanted
