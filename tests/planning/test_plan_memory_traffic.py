"""Bytes moved by small programs that can be counted by hand."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.planning.hlo import parse_hlo
from electra_jax.planning.memory_traffic import memory_bytes

PROGRAM = """
HloModule step

%sliced (stack: f32[12,100], i: s32[]) -> f32[1,100] {
  %stack = f32[12,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %dynamic-slice.1 = f32[1,100]{1,0} dynamic-slice(%stack, %i, %zero), dynamic_slice_sizes={1,100}
  ROOT %negate.1 = f32[1,100]{1,0} negate(%dynamic-slice.1)
}

%updated (all: f32[12,100], row: f32[1,100], j: s32[]) -> f32[12,100] {
  %all = f32[12,100]{1,0} parameter(0)
  %row = f32[1,100]{1,0} parameter(1)
  %j = s32[] parameter(2)
  %none = s32[] constant(0)
  ROOT %dynamic-update-slice.1 = f32[12,100]{1,0} dynamic-update-slice(%all, %row, %j, %none)
}

ENTRY %main (x: f32[12,100], y: f32[1000], n: s32[]) -> f32[12,100] {
  %x = f32[12,100]{1,0} parameter(0)
  %y = f32[1000]{0} parameter(1)
  %n = s32[] parameter(2)
  %near = f32[1000]{0:S(1)} exponential(%y)
  %far = f32[1000]{0} exponential(%near)
  %view = f32[10,100]{1,0} bitcast(%far)
  %fusion.1 = f32[1,100]{1,0} fusion(%x, %n), kind=kLoop, calls=%sliced
  ROOT %fusion.2 = f32[12,100]{1,0} fusion(%x, %fusion.1, %n), kind=kLoop, calls=%updated
}
"""


def test_bytes_counted_by_hand():
    near = 4000  # only what is read: the result stays in the chip
    far = 4000  # only what is written
    slice_of_stack = 400 + 4 + 400  # the row, its number, the result
    update_in_place = 400 + 4 + 400  # the row, its number, the row where it is put
    assert memory_bytes(parse_hlo(PROGRAM)) == near + far + slice_of_stack + update_in_place


def test_slice_may_be_taken_in_a_fusion_within_the_fusion():
    nested = PROGRAM.replace(
        "ENTRY",
        """%outer (stack2: f32[12,100], i2: s32[]) -> f32[1,100] {
  %stack2 = f32[12,100]{1,0} parameter(0)
  %i2 = s32[] parameter(1)
  ROOT %fusion.9 = f32[1,100]{1,0} fusion(%stack2, %i2), kind=kLoop, calls=%sliced
}

ENTRY""",
    ).replace("fusion(%x, %n), kind=kLoop, calls=%sliced", "fusion(%x, %n), kind=kLoop, calls=%outer")
    assert nested.count("%outer") == 2
    assert memory_bytes(parse_hlo(nested)) == memory_bytes(parse_hlo(PROGRAM))


def test_what_is_started_and_done_counts_once_and_as_what_comes_of_it():
    program = PROGRAM.replace(
        "  %view =",
        """  %slice-start = (f32[12,100]{1,0}, f32[3,100]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%x), slice={[0:3]}
  %slice-done = f32[3,100]{1,0:S(1)} slice-done(%slice-start)
  %copy-start = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%far)
  %copy-done = f32[1000]{0:S(1)} copy-done(%copy-start)
  %all-gather-start = (f32[1000]{0}, f32[4000]{0}) all-gather-start(%far), dimensions={0}
  %all-gather-done = f32[4000]{0} all-gather-done(%all-gather-start)
  %after-all = token[] after-all()
  %send = (f32[1000]{0}, u32[], token[]) send(%far, %after-all), channel_id=2, is_host_transfer=true
  %send-done = token[] send-done(%send), channel_id=2, is_host_transfer=true
  %recv = (f32[1000]{0}, u32[], token[]) recv(%after-all), channel_id=1, is_host_transfer=true
  %recv-done = (f32[1000]{0}, token[]) recv-done(%recv), channel_id=1, is_host_transfer=true
  %view =""",
    )
    sliced = 3 * 400  # read; what is written stays in the chip
    copied = 4000  # likewise
    gathered = 4000 + 16000
    sent, received = 4000, 4000
    assert memory_bytes(parse_hlo(program)) == pytest.approx(
        memory_bytes(parse_hlo(PROGRAM)) + sliced + copied + gathered + sent + received, abs=8
    )


def test_whole_array_counts_where_more_is_done_with_it_than_slicing():
    read_whole = PROGRAM.replace("negate(%dynamic-slice.1)", "reduce(%stack)")
    assert memory_bytes(parse_hlo(read_whole)) == memory_bytes(parse_hlo(PROGRAM)) + 11 * 400


# Layers are not scanned, since the compiler counts a loop's body once; what stays in the chip counts for it too.
COMPILERS_COUNT = """
import os, re
from pathlib import Path
from electra_jax.planning.environment import COMPILE_ONLY
os.environ.update(COMPILE_ONLY)
from electra_jax.config import load_config
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning.compiling import compile_step, vocabulary
from electra_jax.planning.hlo import parse_hlo
from electra_jax.planning.machine import topology_machine
from electra_jax.planning.memory_traffic import memory_bytes
settings = ["compute.dtype=bfloat16", "compute.scan_layers=false", "train.batch_size=128", "model.num_layers=1"]
config = load_config(Path("configs/pretrain/small.yaml"), settings)
mesh = make_mesh(config.mesh, topology_machine("v5e:2x2").devices)
compiled = compile_step(config, vocabulary(config.tokenizer), mesh)
print(memory_bytes(parse_hlo(re.sub(r"S[(][0-9]+[)]", "", compiled.text))) / compiled.bytes_accessed)
"""


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install -e '.[plan]'"
)
@pytest.mark.slow
def test_never_more_than_the_compilers_own_count_of_a_tpu_program():
    ended = subprocess.run(
        [sys.executable, "-c", COMPILERS_COUNT],
        cwd=Path(__file__).resolve().parents[2],
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr
    assert 0.75 < float(ended.stdout) <= 1
