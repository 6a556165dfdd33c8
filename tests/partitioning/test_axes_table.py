"""The table of axes: strict, complete for every preset, and what the parameters really follow."""

from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from small_run import SmallVocabulary, small_config

from electra_jax.config import load_config
from electra_jax.errors import UserError
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.partitioning.axes import RULES, parameter_axes, parameter_specs, partition_spec, path_name
from electra_jax.partitioning.mesh import AXES, make_mesh

PRESETS = sorted((Path(__file__).resolve().parents[2] / "configs" / "pretrain").glob("*.yaml"))


def _abstract(config, vocab_size):
    network = build_network(config, vocab_size)
    return jax.eval_shape(lambda: init_params(network, jax.random.key(0)))


def _specs(config, params):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    specs = jax.tree.leaves(
        parameter_specs(params, make_mesh(config.mesh)), is_leaf=lambda x: isinstance(x, PartitionSpec)
    )
    return {path_name(path): (leaf, spec) for (path, leaf), spec in zip(leaves, specs, strict=True)}


def test_unknown_axis_is_an_error():
    assert partition_spec(("batch", "embed")) == PartitionSpec(("data", "fsdp"), "fsdp")
    with pytest.raises(KeyError, match="'embd' is not in the table"):
        partition_spec(("batch", "embd"))


@pytest.mark.parametrize(
    "name", ["encoder/layers/attention/query/weight", "encoder/layers/attention/querry/kernel", "extra"]
)
def test_unknown_parameter_is_an_error(name):
    with pytest.raises(KeyError, match=f"{name} is in no row"):
        parameter_axes(name, 3)


def test_parameter_of_another_rank_is_an_error():
    with pytest.raises(KeyError, match="has 2 dimensions, its row in the table 3"):
        parameter_axes("encoder/layers/attention/query/kernel", 2)


def test_rules_name_only_axes_of_the_mesh_and_each_once():
    for axis, mesh_axes in RULES.items():
        assert set(mesh_axes) <= set(AXES), axis
        assert len(set(mesh_axes)) == len(mesh_axes), axis


@pytest.mark.parametrize("sharing", ["embeddings", "none", "all"])
@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.stem)
def test_every_parameter_of_every_preset_is_in_the_table_and_in_the_decay_mask(preset, sharing):
    fraction = ["generator.size_fraction=1.0", "generator.layers_fraction=1.0"] if sharing == "all" else []
    if sharing == "all":  # what both networks are cannot learn at two rates
        fraction.append("optimizer.generator.learning_rate=null")
    config = load_config(
        preset,
        [f"generator.sharing={sharing}", "mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2", *fraction],
    )
    params = _abstract(config, config.tokenizer.vocab_size)
    mask = weight_decay_mask(params)
    for name, (leaf, spec) in _specs(config, params).items():
        assert len(spec) == leaf.ndim, name
        used = [axis for entry in spec if entry for axis in ((entry,) if isinstance(entry, str) else entry)]
        assert len(used) == len(set(used)), name
        # Whatever grows with the square of the width must not be whole on every device.
        large = leaf.ndim - name.count("layers/") >= 2 and min(leaf.shape[-2:]) > 2
        table = name.endswith(("position/embedding", "token_type/embedding"))
        assert bool(used) or not large or table, f"{name} {leaf.shape} is replicated"
    undecayed = {path_name(p) for p, decays in jax.tree_util.tree_leaves_with_path(mask) if not decays}
    assert undecayed == {n for n in _specs(config, params) if n.endswith(("bias", "scale"))}


@pytest.mark.parametrize(
    ("mesh", "parts"),
    [
        # parameter → into how many parts each of its dimensions is cut
        (
            {"data": 1, "fsdp": 8},
            {
                "encoder/layers/attention/query/kernel": (1, 8, 1),
                "encoder/layers/output/kernel": (1, 1, 8),
                "embeddings/word/embedding": (8, 1),
                "encoder/layers/intermediate/bias": (1, 1),
                "generator_head/output_bias": (8,),
                "encoder/layers/output_layer_norm/scale": (1, 1),
            },
        ),
        (
            {"data": 2, "fsdp": 2, "tensor": 2},
            {
                "encoder/layers/attention/query/kernel": (1, 2, 2),
                "encoder/layers/attention/output/kernel": (1, 2, 2),
                "encoder/layers/intermediate/bias": (1, 2),
                "generator_encoder/layers/intermediate/kernel": (1, 2, 2),
                "embeddings/word/embedding": (4, 1),
                "discriminator_head/prediction/kernel": (2, 1),
                "embeddings/position/embedding": (1, 1),
            },
        ),
        (
            {"data": 8},
            {"encoder/layers/attention/query/kernel": (1, 1, 1), "embeddings/word/embedding": (1, 1)},
        ),
    ],
    ids=["fsdp 8", "2 x 2 x 2", "data 8"],
)
def test_parameters_lie_on_devices_as_the_table_says(mesh, parts):
    config = small_config(mesh=mesh)
    specs = _specs(config, _abstract(config, SmallVocabulary.vocab_size))
    for name, expected in parts.items():
        leaf, spec = specs[name]
        array = jax.device_put(np.zeros(leaf.shape, np.float32), NamedSharding(make_mesh(config.mesh), spec))
        piece = tuple(size // part for size, part in zip(leaf.shape, expected, strict=True))
        assert {shard.data.shape for shard in array.addressable_shards} == {piece}, name


def test_dimension_that_the_mesh_does_not_divide_is_a_users_error():
    config = small_config(model={"hidden_size": 36, "num_heads": 2}, mesh={"data": 1, "fsdp": 8})
    with pytest.raises(UserError, match=r"mesh\.fsdp=8 does not divide"):
        _specs(config, _abstract(config, SmallVocabulary.vocab_size))


def test_a_decoder_that_the_mesh_does_not_divide_is_named_as_the_task_has_it():
    params = {"heads": {"mine": {"decoder": {"layers": {"output": {"kernel": np.zeros((1, 12, 8))}}}}}}
    with pytest.raises(
        UserError, match=r"does not divide finetune\.tasks\.mine\.decoder\.intermediate_size 12 "
    ):
        parameter_specs(params, make_mesh(small_config(mesh={"data": 1, "tensor": 8}).mesh))
