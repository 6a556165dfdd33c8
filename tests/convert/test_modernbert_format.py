"""Models with model.block=modern as folders of Hugging Face's ModernBERT, out and in again, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from modern_weights import random_weights
from safetensors.numpy import load_file, save_file

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.names import huggingface_encoder_table, huggingface_table
from electra_jax.errors import UserError

SAME_WIDTH = {"size_fraction": 1.0, "layers_fraction": 0.4}


def _same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name


@pytest.mark.parametrize(
    "sections",
    [
        {"generator": SAME_WIDTH},
        {"generator": {"size_fraction": 0.5, "sharing": "none"}},
        {"generator": {"size_fraction": 1.0, "layers_fraction": 1.0, "sharing": "all"}},
        {"objective": {"kind": "masked_lm"}},
    ],
    ids=str,
)
def test_out_and_in_again_is_the_same_model_bit_for_bit(sections, tmp_path):
    weights = random_weights(**sections)
    assert write_huggingface(weights, tmp_path) == []
    folders = [path for name in ("discriminator", "generator") if (path := tmp_path / name).exists()]
    again = read_huggingface(folders)
    _same(again.parameters, weights.parameters)
    assert again.config.model.model_copy(update={"vocab_multiple": 8}) == weights.config.model.model_copy(
        update={"intermediate_size": again.config.model.intermediate_size, "embedding_size": 32}
    )
    assert again.config.objective.kind == weights.config.objective.kind
    assert again.config.generator.sharing == weights.config.generator.sharing
    for folder in folders:
        first, second = load_file(folder / "model.safetensors"), tmp_path / "again"
        write_huggingface(again, second)
        _same(load_file(second / folder.name / "model.safetensors"), first)
        break


def test_the_table_is_a_bijection_of_all_but_the_narrow_generators_projection():
    names = [*random_weights().parameters]
    tables = [huggingface_table("discriminator", block="modern")]
    tables.append(huggingface_table("generator", block="modern", encoder="generator_encoder"))
    placed = set()
    for table in tables:
        rows = {name: row for name in names if (row := table.to_foreign(name))}
        assert all(table.to_ours(row.foreign) == row for row in rows.values())
        placed |= rows.keys()
    unplaced = {f"generator_encoder/embeddings_project/{leaf}" for leaf in ("kernel", "bias")}
    assert {*names} - placed == unplaced & {*names} != set()
    assert not any(row.foreign.startswith("model.") for row in huggingface_encoder_table("modern").rows)


def test_of_a_generator_narrower_than_its_embeddings_the_discriminator_alone_is_written(tmp_path):
    notes = write_huggingface(random_weights(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["discriminator"]
    assert notes == [
        "the generator is 16 wide and its embeddings 32, which Hugging Face's ModernBERT cannot be: the "
        "discriminator alone is written"
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders ``discriminator`` and ``generator``, of one width and other embeddings."""
    folder = tmp_path_factory.mktemp("written")
    write_huggingface(random_weights(generator={**SAME_WIDTH, "sharing": "none"}), folder)
    return folder


def _copy(folder, to, **changes):
    shutil.copytree(folder, to)
    described = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(described))
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_activation": "silu"}, "hidden_activation is 'silu', and only 'gelu' is supported"),
        ({"norm_bias": True}, "norm_bias is True, and only False is supported"),
        ({"norm_eps": "small"}, "norm_eps is 'small', but must be a number such as 1e-05"),
        ({"hidden_size": 10**12}, "hidden_size is 1e[+]12, but must be a number such as 768"),
        ({"rope_scaling": {"factor": 2}}, "scales its rotary positions"),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": True}}},
            "rope_theta of full_attention is True",
        ),
        (
            {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
            "are not the first and every so many after it",
        ),
        ({"max_position_embeddings": 4}, "is above max_position_embeddings 4, so no layer is local"),
        ({"architectures": ["ModernBertForSomething"]}, "what its head computes its tensors do not say"),
        ({"num_hidden_layers": 2}, "must be full_attention or sliding_attention for each of 2 layers"),
        (
            {"num_hidden_layers": 2, "layer_types": None},
            "not part of this model: model.layers.2.attn.Wo.weight",
        ),
        ({"intermediate_size": 80}, "model.layers.0.mlp.Wi.input.weight is 128 x 32, expected 80 x 32"),
        ({"model_type": "modernbert-decoder"}, "only ELECTRA and ModernBERT can be converted"),
    ],
    ids=str,
)
def test_what_the_block_does_not_compute_is_refused(changes, message, written, tmp_path):
    folder = _copy(written / "discriminator", tmp_path / "changed", **changes)
    with pytest.raises(UserError, match=message):
        read_huggingface([folder])


def test_positions_as_transformers_4_writes_them(written, tmp_path):
    older = {"rope_parameters": None, "layer_types": None, "global_rope_theta": 500.0}
    for local_theta, read in ((20.0, (20.0, 500.0)), (None, (500.0, None))):
        folder = _copy(
            written / "discriminator", tmp_path / str(local_theta), **older, local_rope_theta=local_theta
        )
        model = read_huggingface([folder]).config.model
        assert (model.rope_theta, model.rope_theta_global) == read
        assert model.local_attention.model_dump() == {"window": 6, "global_every": 2}


def test_byte_level_bpe_cannot_be_read_and_without_it_the_weights_come_in_alone(written, tmp_path):
    folder = _copy(written / "discriminator", tmp_path / "released")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {}, "merges": []}}))
    with pytest.raises(UserError, match=r"tokenizer.json holds a tokenizer that cannot be read here \(BPE\)"):
        read_huggingface([folder])
    (folder / "tokenizer.json").unlink()
    weights = read_huggingface([folder])
    assert weights.tokenizer is None
    assert weights.config.tokenizer.vocab_size == weights.vocab_size


def test_a_pair_must_see_the_same_window(written, tmp_path):
    other = _copy(written / "generator", tmp_path / "other", local_attention=8)
    with pytest.raises(UserError, match=r"its window is 8, there 6"):
        read_huggingface([written / "discriminator", other])


def test_without_a_window_every_layer_is_global(written, tmp_path):
    folder = _copy(written / "discriminator", tmp_path / "global", layer_types=["full_attention"] * 3)
    model = read_huggingface([folder]).config.model
    assert (model.local_attention.window, model.rope_theta) == (None, 1000.0)


def test_tensors_without_config_json_and_an_output_table_of_its_own_are_refused(written, tmp_path):
    tensors = load_file(written / "generator" / "model.safetensors")
    words = tensors["model.embeddings.tok_embeddings.weight"]
    save_file(tensors, tmp_path / "some.safetensors")
    with pytest.raises(UserError, match="do not say how a token attends to others"):
        read_huggingface([tmp_path / "some.safetensors"])
    folder = _copy(written / "generator", tmp_path / "generator")
    prefixed = {f"module.{name}": array for name, array in {**tensors, "decoder.weight": words}.items()}
    save_file(prefixed, folder / "model.safetensors")
    _same(read_huggingface([folder]).parameters, read_huggingface([written / "generator"]).parameters)
    save_file({**tensors, "decoder.weight": words + 1}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"decoder.weight is not the word table"):
        read_huggingface([folder])


def test_a_masked_language_model_becomes_the_encoder_beside_a_generator(written):
    generator = written / "generator"
    whole = read_huggingface([generator]).parameters
    both = read_huggingface([generator, generator])
    assert both.config.generator.sharing == "all"
    assert both.notes[0] == (
        f"{generator}: its head over the vocabulary is left, since {generator} is the generator"
    )
    _same(both.parameters, whole)
    assert both.config.objective.kind == "electra"
