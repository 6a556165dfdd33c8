"""The layout that a run prints when it starts, against what devices then really hold."""

import jax
from small_run import SmallVocabulary, small_config

from electra_jax.partitioning.layout import describe_layout, parameter_layout, tree_bytes_per_device
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program


def _program(devices=None, **mesh):
    config = small_config(mesh=mesh)
    return build_program(config, SmallVocabulary(), make_mesh(config.mesh, devices))


def _held(tree):
    """What the first device really holds of a tree of arrays."""
    first = jax.devices()[0]
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == first
    )


def test_bytes_are_those_that_a_device_holds():
    program = _program(data=2, fsdp=2, tensor=2)
    params = program.abstract.params
    placed = jax.tree.map(lambda s: jax.device_put(jax.numpy.zeros(s.shape, s.dtype), s.sharding), params)
    assert tree_bytes_per_device(params) == _held(placed)
    rows = parameter_layout(params, program.mesh)
    assert sum(row.bytes_per_device for row in rows) == _held(placed)
    query = next(row for row in rows if row.name == "encoder/layers/attention/query/kernel")
    assert query.axes == ("fsdp", "tensor")
    assert query.bytes_per_device == 2 * 32 * 32 * 4 // 4


def test_lines_say_which_axes_cut_which_parameters():
    program = _program(data=2, fsdp=2, tensor=2)
    lines = describe_layout(program.abstract, program.mesh)
    assert lines[0].startswith("mesh data 2 x fsdp 2 x tensor 2 = 8 devices; a device holds parameters ")
    assert "rows lie over data x fsdp" in lines[0]
    grouped = {line.strip().split(",")[0]: line.split(": ", 1)[1].split(", ") for line in lines[1:]}
    assert set(grouped) == {"on fsdp and tensor", "on fsdp", "on tensor", "whole on every device"}
    assert {"query/key/value", "word table"} < set(grouped["on fsdp and tensor"])
    assert "generator_head/dense" in grouped["on fsdp"]
    assert "LayerNorm" in grouped["whole on every device"]
    for kinds in grouped.values():
        assert len(set(kinds)) == len(kinds)


def test_axes_of_one_device_cut_nothing():
    program = _program(data=8)
    lines = describe_layout(program.abstract, program.mesh)
    assert len(lines) == 2
    assert "whole on every device" in lines[1]


def test_one_device_needs_one_line():
    program = _program(jax.devices()[:1])
    (line,) = describe_layout(program.abstract, program.mesh)
    assert line.startswith("one device, nothing is sharded: parameters ")
