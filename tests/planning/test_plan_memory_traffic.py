"""Bytes moved by small programs that can be counted by hand."""

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


def test_whole_array_counts_where_more_is_done_with_it_than_slicing():
    read_whole = PROGRAM.replace("negate(%dynamic-slice.1)", "reduce(%stack)")
    assert memory_bytes(parse_hlo(read_whole)) == memory_bytes(parse_hlo(PROGRAM)) + 11 * 400
