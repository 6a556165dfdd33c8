"""The original's checkpoints, read and written."""

import numpy as np
import pytest
from huggingface_folder import write_folder

from electra_jax.convert.files.tensorflow_bundle import read_tensors, write_tensors
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.tensorflow_format import find_prefix, read_tensorflow, write_tensorflow
from electra_jax.errors import UserError

VARIANTS = {
    "tiny": ("electra", "embeddings"),
    "tiny_untied_generator": ("electra", "all"),
    "tiny_untied_generator_embeddings": ("electra", "none"),
    "tiny_electra_objective": ("masked_lm", None),
    "tiny_electra_objective_electric_objective": ("electric", "embeddings"),
    "tiny_disallow_correct_temperature": ("electra", "embeddings"),
}
HEADS = ["model.num_heads=2"]


def _prefix(shared, name, step):
    return shared / "golden" / "tf" / f"{name}_ckpt" / f"model.ckpt-{step}"


@pytest.mark.shared_data
@pytest.mark.parametrize("name", VARIANTS)
def test_configuration_follows_from_the_shapes(name, shared):
    config = read_tensorflow(_prefix(shared, name, "init"), overrides=HEADS).config
    kind, sharing = VARIANTS[name]
    assert config.objective.kind == kind
    assert sharing is None or config.generator.sharing == sharing
    model = config.model
    assert (model.hidden_size, model.num_layers, model.intermediate_size) == (32, 2, 64)
    assert (model.embedding_size, model.max_positions, model.type_vocab_size) == (16, 64, 2)
    if sharing in ("embeddings", "none"):
        assert (config.generator.hidden_size, config.generator.intermediate_size) == (16, 64)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variable_comes_and_goes_bit_for_bit(name, shared, tmp_path):
    """Three steps trained, moments and step number included: the files written again are the original's bytes."""
    prefix = _prefix(shared, name, 3)
    weights = read_tensorflow(prefix, overrides=HEADS, optimizer=True)
    assert weights.step == 3
    write_tensorflow(weights, tmp_path)
    for ending in (".index", ".data-00000-of-00001"):
        written = (tmp_path / f"model.ckpt-3{ending}").read_bytes()
        assert written == prefix.with_name(prefix.name + ending).read_bytes()


@pytest.mark.shared_data
@pytest.mark.parametrize("name", VARIANTS)
def test_moments_are_those_that_were_recorded(name, shared):
    golden = np.load(shared / "golden" / "tf" / f"{name}.npz")
    weights = read_tensorflow(_prefix(shared, name, 3), overrides=HEADS, optimizer=True)
    dense = "electra/encoder/layer_1/output/dense/kernel"
    ours = "encoder/layers/1/output/kernel"
    np.testing.assert_array_equal(weights.parameters[ours], golden[f"step3/{dense}"])
    np.testing.assert_array_equal(weights.moments.mu[ours], golden[f"step3slot/{dense}/adam_m"])
    np.testing.assert_array_equal(weights.moments.nu[ours], golden[f"step3slot/{dense}/adam_v"])


@pytest.mark.shared_data
def test_through_our_format_and_back_with_the_optimizer(shared, tmp_path):
    vocab = shared / "golden" / "tf" / "data" / "vocab.txt"
    prefix = _prefix(shared, "tiny", 3)
    weights = read_tensorflow(prefix, overrides=HEADS, vocab=vocab, optimizer=True)
    (tmp_path / "ours").mkdir()
    write_native(weights, tmp_path / "ours", tmp_path / "ours")
    write_tensorflow(read_native(tmp_path / "ours", optimizer=True), tmp_path / "theirs")
    for ending in (".index", ".data-00000-of-00001"):
        written = (tmp_path / "theirs" / f"model.ckpt-3{ending}").read_bytes()
        assert written == prefix.with_name(prefix.name + ending).read_bytes()


@pytest.mark.shared_data
def test_the_newest_checkpoint_of_a_directory_is_found(shared):
    directory = _prefix(shared, "tiny", 3).parent
    assert find_prefix(directory) == directory / "model.ckpt-3"
    for name in ("model.ckpt-init", "model.ckpt-init.index", "model.ckpt-init.data-00000-of-00001"):
        assert find_prefix(directory / name) == directory / "model.ckpt-init"
    assert find_prefix(directory / "model.ckpt") is None


@pytest.fixture(scope="module")
def tensors(tmp_path_factory) -> dict[str, np.ndarray]:
    """The variables of a small checkpoint."""
    place = tmp_path_factory.mktemp("tensorflow")
    write_tensorflow(read_huggingface([write_folder(place / "model", "discriminator")]), place)
    return read_tensors(place / "model.ckpt-0")


STEPS = {
    "not a number": (np.float32("nan"), "global_step is float32 nan"),
    "infinite": (np.float64("inf"), "global_step is float64 inf"),
    "below zero": (np.int64(-5), "global_step is int64 -5"),
    "more than an int32": (np.int64(2**31), "global_step is int64 2147483648"),
    "a vector": (np.arange(3), r"global_step is of shape \(3,\)"),
    "empty": (np.zeros(0, np.int64), r"global_step is of shape \(0,\)"),
    "complex": (np.complex64(1), "global_step is complex64"),
    "true": (np.bool_(True), "global_step is bool True"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_none(name, tensors, tmp_path):
    step, expected = STEPS[name]
    write_tensors(tmp_path / "model.ckpt-0", {**tensors, "global_step": step})
    with pytest.raises(UserError, match=f"model.ckpt-0: {expected}.*, which is no number of updates"):
        read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS)


@pytest.mark.parametrize("step", [np.int64(7), np.int32(7), np.float32(7), np.full(1, 7)])
def test_a_step_of_another_kind(step, tensors, tmp_path):
    write_tensors(tmp_path / "model.ckpt-0", {**tensors, "global_step": step})
    assert read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS).step == 7


def test_a_layer_far_behind_the_others_is_none_of_the_model(tensors, tmp_path):
    stray = "electra/encoder/layer_300/output/dense/bias"
    write_tensors(tmp_path / "model.ckpt-0", {**tensors, stray: np.zeros(32, np.float32)})
    with pytest.raises(UserError, match=f"not part of this model: {stray};"):
        read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS)
    weights = read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS, allow_missing=[stray])
    assert weights.config.model.num_layers == 2


def test_a_layer_that_is_missing_is_named(tensors, tmp_path):
    kept = {name: array for name, array in tensors.items() if "layer_1" not in name}
    third = {
        name.replace("layer_1", "layer_2"): array for name, array in tensors.items() if "layer_1" in name
    }
    write_tensors(tmp_path / "model.ckpt-0", {**kept, **third})
    with pytest.raises(UserError, match="missing: electra/encoder/layer_1/"):
        read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS)


def test_sizes_beyond_all_measure(tensors, tmp_path):
    """An index may say anything of shapes; nothing is computed from them that takes time."""
    odd = {
        name: np.zeros((0, 1 << 40), np.float32) if "intermediate/dense/kernel" in name else array
        for name, array in tensors.items()
    }
    write_tensors(tmp_path / "model.ckpt-0", odd)
    with pytest.raises(UserError, match="has no matrix electra/encoder/layer_0/intermediate/dense/kernel"):
        read_tensorflow(tmp_path / "model.ckpt-0", overrides=HEADS)
