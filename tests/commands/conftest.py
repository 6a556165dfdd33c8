"""One finished run that the tests of the commands copy.

The commands see one device here: what many of them do is tested elsewhere, and two cores are soon exhausted.
"""

import contextlib
import shutil
from pathlib import Path

import jax
import pytest
from command_runs import Commands, write_run

from electra_jax import train
from electra_jax.partitioning import mesh


@contextlib.contextmanager
def _one_device():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        yield


@pytest.fixture(autouse=True)
def one_device():
    with _one_device():
        yield


@pytest.fixture
def command(capsys) -> Commands:
    return Commands(capsys)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder with run.yaml, corpus.txt, vocab.txt, cache/ and a finished run in work/; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with _one_device():
        train.main(["--config", str(write_run(folder)), "--workdir", str(folder / "work")])
    return folder


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of the finished run's work directory."""
    return shutil.copytree(finished / "work", tmp_path / "work")
