"""Collectives read from compiled programs, and what a device sends for them."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning.collectives import Collective, find_collectives, group_size, merge
from electra_jax.planning.hlo import parse_hlo

# Cut from a step compiled for a v5e with fsdp 4: a gather that is fused in three pieces with what it overlaps with,
# a reduction of which every device keeps its slice, one of types mixed, and one over a device alone.
TPU_STEP = """
HloModule jit_train_step, num_partitions=4

%fused_computation.1 (param_0.1: bf16[24,96]) -> bf16[96,96] {
  %param_0.1 = bf16[24,96]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %all-gather.1 = bf16[96,96]{1,0:T(8,128)(2,1)} all-gather(%param_0.1), channel_id=179, \
replica_groups=mesh['axis_0'=4,'axis_1'=1] {'axis_0'}, dimensions={0}, use_global_device_ids=true
}

%fused_computation.2 (param_0.2: bf16[24,96]) -> bf16[96,96] {
  %param_0.2 = bf16[24,96]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  ROOT %all-gather.2 = bf16[96,96]{1,0:T(8,128)(2,1)} all-gather(%param_0.2), channel_id=179, \
replica_groups=mesh['axis_0'=4,'axis_1'=1] {'axis_0'}, dimensions={0}, use_global_device_ids=true
}

%all-reduce-scatter.16 (input: f32[1024,96]) -> f32[256,96] {
  %input = f32[1024,96]{1,0:T(8,128)} parameter(0)
  %all-reduce.3 = f32[1024,96]{1,0:T(8,128)} all-reduce(%input), channel_id=1, replica_groups={{0,1,2,3}}, \
use_global_device_ids=true, to_apply=%add.clone
  ROOT %slice.1 = f32[256,96]{1,0:T(8,128)} slice(%all-reduce.3), slice={[0:256], [0:96]}
}

%add.clone (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %add.9 = f32[]{:T(128)} add(%x, %y)
}

ENTRY %main (a: bf16[24,96], b: f32[1024,96], c: bf16[10]) -> f32[256,96] {
  %a = bf16[24,96]{1,0:T(8,128)(2,1)} parameter(0)
  %b = f32[1024,96]{1,0:T(8,128)} parameter(1)
  %c = bf16[10]{0:T(128)} parameter(2)
  %fusion.1 = bf16[96,96]{1,0:T(8,128)(2,1)} fusion(%a), kind=kCustom, calls=%fused_computation.1
  %fusion.2 = bf16[96,96]{1,0:T(8,128)(2,1)} fusion(%a), kind=kCustom, calls=%fused_computation.2
  %all-reduce.4 = (f32[1024,96]{1,0:T(8,128)}, bf16[10]{0:T(128)}) all-reduce(%b, %c), channel_id=9, \
replica_groups=[2,2]<=[4], use_global_device_ids=true, to_apply=%add.clone
  %all-reduce.5 = bf16[10]{0:T(128)} all-reduce(%c), channel_id=10, replica_groups={{0},{1},{2},{3}}
  ROOT %fusion.3 = f32[256,96]{1,0:T(8,128)} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.16
}
""".replace("\\\n", "")


def test_collectives_of_a_tpu_program():
    found = {one.kind: one for one in find_collectives(parse_hlo(TPU_STEP), devices=4)}
    gather, scatter, reduce = found["all-gather"], found["reduce-scatter"], found["all-reduce"]
    assert len(found) == len(find_collectives(parse_hlo(TPU_STEP), devices=4)) == 3
    assert (gather.times, gather.devices, gather.full_bytes) == (1, 4, 96 * 96 * 2)  # its pieces are one
    assert gather.sent_bytes == 3 * 24 * 96 * 2
    assert (scatter.devices, scatter.sent_bytes) == (4, 3 / 4 * 1024 * 96 * 4)
    assert (reduce.devices, reduce.full_bytes) == (2, 1024 * 96 * 4 + 10 * 2)
    assert reduce.arrays == "f32[1024,96], bf16[10]"


# Cut from steps compiled for slices of v5e, each of four devices: a sum over all devices of four slices, which is a
# reduction within each, a sum of the pieces between them, and a gather within each; and a gather between two slices.
TPU_SLICES = """
HloModule jit_train_step, num_partitions=4

ENTRY %main (a: f32[256,256], b: f32[32,256]) -> f32[256,256] {
  %a = f32[256,256]{1,0:T(8,128)} parameter(0)
  %b = f32[32,256]{1,0:T(8,128)} parameter(1)
  %reduce-scatter.1 = f32[64,256]{1,0:T(8,128)} reduce-scatter(%a), channel_id=1, replica_groups={{0,1,2,3}}, \
use_global_device_ids=true, dimensions={0}, to_apply=%add.clone
  %bitcast = f32[16,8,128]{2,1,0:T(8,128)} bitcast(%reduce-scatter.1)
  %after-all = token[] after-all(), frontend_attributes={MegascaleRendezvousKeyName="all-reduce.1_0"}
  %send = (f32[16,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%bitcast, %after-all), channel_id=2, \
is_host_transfer=true, frontend_attributes={_xla_megascale_reduce_operation="SUM",\
_xla_megascale_target="{1,2,3,4}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %recv = (f32[16,8,128]{2,1,0:T(8,128)}, u32[], token[]) recv(%after-all), channel_id=1, is_host_transfer=true, \
frontend_attributes={_xla_megascale_reduce_operation="SUM",_xla_megascale_target="{1,2,3,4}x{0:3}",\
_xla_megascale_transfer_type="ALL_REDUCE"}
  %send.1 = (f32[32,256]{1,0:T(8,128)}, u32[], token[]) send(%b, %after-all), channel_id=4, is_host_transfer=true, \
frontend_attributes={_xla_megascale_transfer_type="ALL_GATHER"}
  %send.2 = (f32[32,256]{1,0:T(8,128)}, u32[], token[]) send(%b, %after-all), channel_id=6, is_host_transfer=true
  %recv-done = (f32[16,8,128]{2,1,0:T(8,128)}, token[]) recv-done(%recv), channel_id=1, is_host_transfer=true
  %summed = f32[16,8,128]{2,1,0:T(8,128)} get-tuple-element(%recv-done), index=0
  ROOT %all-gather.6 = f32[256,256]{1,0:T(8,128)} all-gather(%summed), channel_id=1, replica_groups={{0,1,2,3}}, \
use_global_device_ids=true, dimensions={0}
}

%add.clone (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %add.9 = f32[]{:T(128)} add(%x, %y)
}
""".replace("\\\n", "")


def test_what_goes_between_slices():
    module = parse_hlo(TPU_SLICES)
    found = find_collectives(module, devices=4, slices=4)
    between = {one.kind: one for one in found if one.between_slices}
    within = {one.kind: one for one in found if not one.between_slices}
    assert (len(found), set(between), set(within)) == (
        4,
        {"all-reduce", "all-gather"},
        {"reduce-scatter", "all-gather"},
    )
    piece = 64 * 256 * 4
    assert (between["all-reduce"].devices, between["all-reduce"].sent_bytes) == (4, 2 * 3 / 4 * piece)
    assert within["all-gather"].sent_bytes == 3 * piece
    assert between["all-reduce"].arrays == "f32[16,8,128]"  # and no token
    # Where the program does not say which slices take part, all do.
    gathered = next(
        one
        for one in find_collectives(module, devices=4, slices=2)
        if one.kind == "all-gather" and one.between_slices
    )
    assert (gathered.devices, gathered.sent_bytes) == (2, 32 * 256 * 4)


def test_the_same_within_and_between_slices_is_not_added_up():
    within = Collective("all-reduce", 800.0, 8, 3, "f32[200]", "a")
    between = Collective("all-reduce", 800.0, 8, 3, "f32[200]", "a", between_slices=True)
    assert len(merge([within, between])) == 2


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", 2),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}", 4),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0','axis_1'}", 8),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4], device_ids=([2,4]T(1,0)) {'axis_0'}", 2),
        ("replica_groups={}", 8),
        ("channel_id=3", 8),
    ],
)
def test_devices_that_take_part(attributes, size):
    assert group_size(f"channel_id=1, {attributes}, use_global_device_ids=true", 8) == size


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("all-reduce", 2 * 7 / 8 * 800),
        ("all-gather", 7 * 800),
        ("reduce-scatter", 7 / 8 * 800),
        ("all-to-all", 7 / 8 * 800),
        ("collective-permute", 800),
    ],
)
def test_bytes_sent_by_rings(kind, sent):
    assert Collective(kind, 800.0, 8, 3, "", "").sent_bytes == pytest.approx(3 * sent)


def test_alike_ones_are_added_up():
    one = Collective("all-gather", 800.0, 8, 3, "f32[200]", "a")
    (merged,) = merge([one, one])
    assert (merged.times, merged.sent_bytes) == (6, 2 * one.sent_bytes)
    assert len(merge([one, Collective("all-gather", 800.0, 4, 3, "f32[200]", "a")])) == 2


def test_what_jax_compiles_here_for_eight_devices():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    rows = NamedSharding(mesh, PartitionSpec("fsdp"))
    whole = NamedSharding(mesh, PartitionSpec())
    x = jax.ShapeDtypeStruct((16, 10), jnp.float32, sharding=rows)
    gathered = jax.jit(lambda x: x, out_shardings=whole).lower(x).compile().as_text()
    (gather,) = find_collectives(parse_hlo(gathered), devices=8)
    assert (gather.kind, gather.devices, gather.full_bytes, gather.times) == ("all-gather", 4, 640.0, 1)
    summed = jax.jit(lambda x: x.sum(0), out_shardings=whole).lower(x).compile().as_text()
    (reduce,) = find_collectives(parse_hlo(summed), devices=8)
    assert (reduce.kind, reduce.devices, reduce.full_bytes) == ("all-reduce", 4, 40.0)
