"""A CPU device for each core, unless somebody has decided otherwise."""

import os
import subprocess
import sys

import pytest

from electra_jax import predict

_DEVICES = """
import os
from electra_jax.runtime.cpu_devices import one_device_per_core
os.sched_getaffinity = lambda pid: set(range({cores}))
said = one_device_per_core()
import jax
print(said, len(jax.devices()))
"""


def devices(cores: int, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    ran = subprocess.run(
        [sys.executable, "-c", _DEVICES.format(cores=cores)],
        env={**clean, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


@pytest.mark.parametrize(("cores", "expected"), [(1, "1 1"), (2, "2 2"), (64, "4 4")])
def test_a_device_for_each_core_and_four_at_most(cores, expected):
    assert devices(cores) == expected


@pytest.mark.parametrize(
    "environment",
    [{"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, {"JAX_NUM_CPU_DEVICES": "3"}],
)
def test_what_the_environment_says_stands(environment):
    assert devices(2, **environment) == "None 3"


class _AskedError(Exception):
    """Devices were asked for."""


def test_predict_takes_them_before_it_looks_for_devices(monkeypatch, tmp_path):
    def asked():
        raise _AskedError

    monkeypatch.setattr(predict, "one_device_per_core", asked)
    monkeypatch.setattr(predict, "load_with_notes", lambda path: pytest.fail("the model was there first"))
    with pytest.raises(_AskedError):
        predict.main(["--workdir", str(tmp_path), "--input", "-"])
