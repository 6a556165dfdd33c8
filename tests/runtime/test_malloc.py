"""Memory that a process keeps: no page is asked for again."""

import subprocess
import sys

import pytest
from small_run import small_config

from electra_jax import evaluate, train
from electra_jax.config import dump_config
from electra_jax.errors import UserError

# Takes and frees 64 MB as a step does, and counts the pages that the kernel had to hand out after the first time.
_FAULTS = """
import resource, sys
import ctypes
from electra_jax.runtime.malloc import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def use():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's settings")
def test_a_block_is_cleared_by_the_kernel_once_and_not_in_every_step():
    def faults(how):
        ran = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    assert (
        faults("leave") > 4 * (64 << 20) // (2 << 20) // 2
    )  # pages of 4 KB, or of 2 MB where those are given
    assert faults("keep") < 10


class _KeptError(Exception):
    """The process would have been told to keep its memory."""


def _kept() -> None:
    raise _KeptError


@pytest.mark.parametrize("command", [train, evaluate])
def test_memory_is_kept_unless_the_configuration_says_otherwise(command, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "keep_freed_memory", _kept)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(small_config()), encoding="utf-8")
    arguments = ["--config", str(file)] if command is train else ["--workdir", str(tmp_path)]
    with pytest.raises(_KeptError):
        command.main(arguments)
    # Going on, each misses what it needs next: a work directory, a checkpoint.
    with pytest.raises(UserError, match=r"--workdir is missing|checkpoint"):
        command.main([*arguments, "compute.keep_memory=false"])
