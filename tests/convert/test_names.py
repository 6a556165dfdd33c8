"""The table of names is a bijection on every network there is, and says what Hugging Face's own conversion does."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from electra_jax.config import load_config
from electra_jax.convert.flat_parameters import expected_shapes, flatten, unflatten
from electra_jax.convert.names import NameConflictError, NameTable, Row, huggingface_table, tensorflow_table
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "pretrain"
PRESETS = sorted(path for path in FOLDER.glob("*.yaml") if not path.stem.startswith("modern"))
VARIANTS = {
    "as it is": [],
    "own embeddings": ["generator.sharing=none"],
    "one network": ["generator.sharing=all", "generator.size_fraction=1.0", "generator.layers_fraction=1.0"],
    "masked LM": ["objective={kind: masked_lm}"],
    "Electric": ["objective={kind: electric}"],
}


def _config(preset, variant, *more):
    return load_config(preset, [*VARIANTS[variant], *more])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_tensorflow_names_and_ours_are_one_to_one(preset, variant):
    table = tensorflow_table()
    names = list(expected_shapes(_config(preset, variant), 30522))
    theirs = [table.to_foreign(name).foreign for name in names]
    assert len(set(theirs)) == len(names)
    assert [table.to_ours(name).ours for name in theirs] == names


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "Electric"])
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_huggingface_names_and_ours_are_one_to_one(preset, variant):
    names = list(expected_shapes(_config(preset, variant), 30522))
    parts = {name.partition("/")[0] for name in names}
    tower = "generator_encoder" if "generator_encoder" in parts else "encoder"
    own = "generator_embeddings" if "generator_embeddings" in parts else "embeddings"
    placed = set()
    for table in (
        huggingface_table("discriminator"),
        huggingface_table("generator", embeddings=own, encoder=tower),
    ):
        rows = {name: table.to_foreign(name) for name in names}
        rows = {name: row for name, row in rows.items() if row is not None}
        assert len({row.foreign for row in rows.values()}) == len(rows)
        assert all(table.to_ours(row.foreign) == row for row in rows.values())
        placed |= set(rows)
    assert placed == set(names)


@pytest.mark.shared_data
def test_both_tables_together_are_hugging_faces_own_conversion(shared):
    recorded = json.loads((shared / "golden" / "name_map.json").read_text())
    folders = {
        "disc": huggingface_table("discriminator"),
        "gen": huggingface_table("generator", encoder="generator_encoder"),
    }
    for network, pairs in recorded.items():
        for theirs, name in pairs.items():
            row = folders[network].to_foreign(tensorflow_table().to_ours(theirs).ours)
            assert row.foreign + " T" * row.transposed == name


@pytest.mark.parametrize(
    "name",
    [
        "bert/embeddings/word_embeddings",
        "electra/encoder/layer_01/output/dense/bias",
        "electra/encoder/layer_{n}/output/dense/bias",
        "electra/encoder/layer_1/output/dense",
        "electra/embeddings/word_embeddings/adam_m",
        "",
    ],
)
def test_other_names_are_in_no_row(name):
    assert tensorflow_table().to_ours(name) is None


def test_a_table_that_is_no_bijection_is_refused():
    with pytest.raises(NameConflictError):
        NameTable((Row("a", "x"), Row("b", "x")))


@pytest.mark.parametrize("variant", VARIANTS)
def test_flat_parameters_are_the_tree_again(variant):
    config = _config(PRESETS[-1], variant, "model.vocab_multiple=16")
    network = build_network(config, 1000)
    params = jax.jit(lambda: init_params(network, jax.random.key(3)))()
    flat = flatten(params, 1000)
    assert {name: array.shape for name, array in flat.items()} == expected_shapes(config, 1000)
    again = unflatten(flat, 16)
    assert jax.tree.structure(again) == jax.tree.structure(jax.tree.map(np.asarray, params))
    jax.tree.map(np.testing.assert_array_equal, again, params)
