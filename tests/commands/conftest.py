"""One finished run that the tests of the commands copy, and compiled programs that they share.

The commands see one device here: what many of them do is tested elsewhere, and two cores are soon exhausted.
"""

import contextlib
import shutil
from pathlib import Path

import jax
import pytest
from command_runs import Commands, write_run
from jax.experimental.compilation_cache import compilation_cache

from electra_jax import train
from electra_jax.partitioning import mesh

CACHE = {"jax_compilation_cache_dir": None, "jax_persistent_cache_min_compile_time_secs": 0}


@contextlib.contextmanager
def _one_device(compiled: Path):
    before = {name: getattr(jax.config, name) for name in CACHE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_all_devices", lambda: jax.devices()[:1])
        for name, value in (CACHE | {"jax_compilation_cache_dir": str(compiled)}).items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """Where compiled programs are kept: nearly every run here compiles the same."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def one_device(compiled):
    with _one_device(compiled):
        yield


@pytest.fixture
def command(capsys) -> Commands:
    return Commands(capsys)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, compiled) -> Path:
    """A folder with run.yaml, corpus.txt, vocab.txt, cache/ and a finished run in work/; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with _one_device(compiled):
        train.main(["--config", str(write_run(folder)), "--workdir", str(folder / "work")])
    return folder


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of the finished run's work directory."""
    return shutil.copytree(finished / "work", tmp_path / "work")
