"""What a decoder starts from: every array is the one it is said to be, and what cannot be is refused."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from small_run import small_config
from tiny_writer import EXAMPLES, MODEL, letters

from electra_jax.config import dump_config
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.build import build_task
from electra_jax.tasks.decoder_start import FineTuningStart
from electra_jax.tasks.head_transfer import HeadTransfer
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.settings import TaskSettings, write_settings
from electra_jax.tasks.starting_point import starting_point
from electra_jax.training.checkpoints import RunIdentity, write_params
from electra_jax.training.initialisation import initial_params
from electra_jax.training.program import program_for_objective

SETTINGS = {"mine": TaskSettings(kind="seq2seq")}
SAME_WIDTH = {"generator": {"size_fraction": 1.0}}
NARROW = {"generator": {"size_fraction": 0.5, "num_heads": 1, "intermediate_size": 24}}


def _random(shapes, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)


def _pre_trained(folder, model=None, **sections):
    """Its directory and its flat parameters; the vocabulary's table has other rows than the run's."""
    tokenizer = letters()
    config = small_config(model={**MODEL, "num_layers": 2, "vocab_multiple": 32, **(model or {})}, **sections)
    network = build_network(config, tokenizer.vocab_size)
    return _write(folder, config, _random(jax.eval_shape(lambda: init_params(network, jax.random.key(0))), 1))


def _write(folder, config, params):
    tokenizer = letters()
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(config))
    tokenizer.save(folder / "tokenizer")
    identity = RunIdentity(tokenizer.fingerprint, None, config.model_dump())
    write_params(folder / "checkpoints", 1, jax.tree.map(jax.numpy.asarray, dict(params)), identity)
    return folder, flatten_dict(dict(params), sep="/")


def _config(origin, decoder, **sections):
    values = {
        "objective": {"kind": "finetune"},
        "init_from": None if origin is None else str(origin),
        "finetune": {"tasks": {"mine": {"kind": "seq2seq", "decoder": decoder}}},
        "data": {"sequence_length": 16},
        "model": {"vocab_multiple": 8},
        "optimizer": {"warmup_steps": 1},
        "train": {"steps": 10},
    }
    return Config.model_validate({**values, **sections})


def _program(config, tokenizer):
    task = build_task("mine", SETTINGS["mine"], config, tokenizer)
    rows = task.encode(EXAMPLES[2:3], training=True)
    plan = BatchPlan(8, np.array([0, *[-1] * 7]), 8)
    batch = make_batch("mine", rows, plan, tokenizer.pad_id, targets=True)
    objective = FineTuning(build_network(config, tokenizer.vocab_size), {"mine": task}, {"mine": batch})
    return program_for_objective(config, objective, batch, make_mesh(config.mesh))


def _start(origin, decoder, **sections):
    """The resolved configuration, flat parameters to start with, fresh ones, and notes."""
    config, tokenizer, _ = starting_point(_config(origin, decoder, **sections))
    program = _program(config, tokenizer)
    fresh = _random(program.abstract.params, 2)
    placed = jax.tree.map(lambda a, leaf: jax.device_put(a, leaf.sharding), fresh, program.abstract.params)
    adapt = FineTuningStart(HeadTransfer(SETTINGS), config.finetune.tasks)
    params, notes = initial_params(config.objective, config.init_from, tokenizer, program, placed, adapt)
    for leaf, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(program.abstract.params), strict=True):
        assert (leaf.shape, leaf.dtype) == (wanted.shape, wanted.dtype)
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)
    return config, flatten_dict(params, sep="/"), flatten_dict(fresh, sep="/"), notes


def _check(started, fresh, given, copied):
    """All but ``copied`` (by name where it comes from) of the decoder is fresh; the encoder is the checkpoint's."""
    rows = letters().vocab_size
    for name, array in started.items():
        theirs = copied.get(name, name if not name.startswith("heads/") else None)
        expected = fresh[name] if theirs is None else given[theirs]
        if theirs is not None and name.endswith(("word/embedding", "output_bias")):
            np.testing.assert_array_equal(array[:rows], expected[:rows], err_msg=name)
        else:
            np.testing.assert_array_equal(array, expected, err_msg=name)


def _scoped(started, scope, ours, theirs):
    """From each of our names below ``ours`` to the one below ``theirs``, attention to the source left out."""
    start = f"heads/mine/{scope}"
    return {
        name: name.replace(f"heads/mine/{ours}", theirs, 1)
        for name in started
        if name.startswith(start) and "/cross_attention" not in name
    }


def test_from_the_encoder_its_layers_are_copied_and_attention_to_the_source_is_anew(tmp_path):
    origin, given = _pre_trained(tmp_path / "origin", **NARROW)
    _, started, fresh, notes = _start(origin, {"init": "encoder"})
    copied = _scoped(started, "decoder/", "decoder/", "encoder/")
    assert {name.split("/")[4] for name in copied if "/layers/" in name} == {
        *("attention", "attention_layer_norm", "intermediate", "output", "output_layer_norm")
    }
    assert "heads/mine/decoder/embeddings_project/kernel" in copied
    _check(started, fresh, given, copied)
    assert (
        "the decoder of mine starts from the encoder; its head starts anew; its attention to the source starts anew"
        in notes
    )
    # Arrays of their own, since a step writes over them.
    for name, theirs in copied.items():
        buffers = [
            {shard.data.unsafe_buffer_pointer() for shard in started[key].addressable_shards}
            for key in (name, theirs)
        ]
        assert not buffers[0] & buffers[1], name


def test_from_the_encoder_the_generators_head_is_taken_where_it_fits(tmp_path):
    origin, given = _pre_trained(tmp_path / "origin", **SAME_WIDTH)
    _, started, fresh, notes = _start(origin, {"init": "encoder"})
    copied = _scoped(started, "decoder/", "decoder/", "encoder/")
    copied |= _scoped(started, "lm_head/", "lm_head/", "generator_head/")
    assert "heads/mine/lm_head/output_bias" in copied
    _check(started, fresh, given, copied)
    assert any("starts from the encoder, its head included" in note for note in notes)


def test_from_the_generator_sizes_layers_and_head_are_its_own(tmp_path):
    origin, given = _pre_trained(tmp_path / "origin", **NARROW)
    config, started, fresh, notes = _start(origin, {"init": "generator", "num_layers": 2})
    decoder = config.finetune.tasks["mine"].decoder
    sizes = decoder.hidden_size, decoder.num_layers, decoder.num_heads, decoder.intermediate_size
    assert sizes == (8, 2, 1, 24)
    copied = _scoped(started, "decoder/", "decoder/", "generator_encoder/")
    copied |= _scoped(started, "lm_head/", "lm_head/", "generator_head/")
    _check(started, fresh, given, copied)
    assert started["heads/mine/encoder_projection/kernel"].shape == (16, 8)
    assert any("starts from the generator, its head included" in note for note in notes)


@pytest.mark.parametrize(("init", "stack"), [("encoder", "encoder"), ("generator", "generator_encoder")])
def test_from_modern_blocks_the_last_norm_is_copied_too(tmp_path, init, stack):
    modern = {
        "block": "modern",
        "embedding_size": None,
        "layer_norm_epsilon": 1e-5,
        "intermediate_size": None,
    }
    # Feed-forward layers of 8/3 the width, up to a multiple of 64: 128, where the original's are 192.
    modern |= {"hidden_size": 48, "num_heads": 2}
    origin, given = _pre_trained(tmp_path / "origin", modern, **SAME_WIDTH)
    config, started, fresh, notes = _start(origin, {"init": init})
    assert config.model.block == "modern"
    copied = _scoped(started, "decoder/", "decoder/", f"{stack}/")
    assert "heads/mine/decoder/final_layer_norm/scale" in copied
    assert started["heads/mine/decoder/layers/gate/kernel"].shape == (
        len(given[f"{stack}/layers/gate/kernel"]),
        48,
        128,
    )
    copied |= _scoped(started, "lm_head/", "lm_head/", "generator_head/")
    _check(started, fresh, given, copied)
    assert any(f"the decoder of mine starts from the {init}, its head included" in note for note in notes)


def test_from_nothing_and_with_shared_layers_only_the_encoder_is_taken(tmp_path):
    origin, given = _pre_trained(tmp_path / "origin", **NARROW)
    _, started, fresh, notes = _start(origin, {})
    _check(started, fresh, given, {})
    assert not any("the decoder of mine" in note for note in notes)
    _, shared, fresh, _ = _start(origin, {"sharing": "all"})
    _check(shared, fresh, given, {})
    own = {"/".join(name.split("/")[2:5]) for name in shared if name.startswith("heads/mine/decoder")}
    assert own == {"decoder/layers/cross_attention", "decoder/layers/cross_attention_layer_norm"}
    assert shared.keys() < started.keys()


def test_a_decoder_that_was_tuned_goes_on_and_one_of_other_sizes_starts_as_is_said(tmp_path):
    origin, _ = _pre_trained(tmp_path / "origin", **NARROW)
    config, tokenizer, _ = starting_point(_config(origin, {}))
    tuned, given = _write(tmp_path / "tuned", config, _random(_program(config, tokenizer).abstract.params, 3))
    write_settings(tuned, SETTINGS)
    for init in ("random", "encoder"):
        _, started, fresh, notes = _start(tuned, {"init": init})
        _check(started, fresh, given, {name: name for name in given})
        assert "the head of mine is taken over" in notes
    _, started, fresh, notes = _start(tuned, {"init": "random", "intermediate_size": 8})
    _check(started, fresh, given, {})
    (tuned / "tasks.json").write_text((tuned / "tasks.json").read_text().replace("seq2seq", "regression"))
    _, started, fresh, notes = _start(tuned, {"init": "encoder"})
    _check(started, fresh, given, _scoped(started, "decoder/", "decoder/", "encoder/"))
    assert any("it is of kind regression, not seq2seq" in note for note in notes)
    assert any("the decoder of mine starts from the encoder" in note for note in notes)


@pytest.mark.parametrize("without", ["init_from", "its parameters"])
def test_the_rate_of_a_pre_trained_encoder_is_refused_where_the_encoder_starts_at_random(tmp_path, without):
    origin = None if without == "init_from" else _pre_trained(tmp_path / "origin", **NARROW)[0]
    config = _config(origin, {})
    values = config.model_dump()
    values["optimizer"]["groups"]["encoder"]["rate"] = 0.007
    values["finetune"]["from_scratch"] = origin is not None
    with pytest.raises(
        UserError, match=r"groups\.encoder\.rate is 0\.007, .* init_from, .* set the rate to 1"
    ):
        starting_point(config.model_validate(values))


@pytest.mark.parametrize(
    ("origin", "decoder", "message"),
    [
        (None, {"init": "encoder"}, "mine.decoder.init is encoder, but there is no checkpoint to start from"),
        (
            None,
            {"init": "generator"},
            "mine.decoder.init is generator, but there is no checkpoint to start from",
        ),
        (
            {"objective": {"kind": "causal_lm"}},
            {"init": "generator"},
            "has no generator of its own to start from",
        ),
        (
            {"objective": {"kind": "masked_lm"}},
            {"init": "generator"},
            "has no generator of its own to start from",
        ),
        (
            {"generator": {"sharing": "all", "size_fraction": 1.0}},
            {"init": "generator"},
            "has no generator of its own",
        ),
        (
            {"generator": {"sharing": "none"}},
            {"init": "generator"},
            "has embeddings of its own (generator.sharing=no",
        ),
        (NARROW, {"init": "generator", "hidden_size": 4}, "decoder.hidden_size is 4, but "),
        (NARROW, {"init": "generator", "num_layers": 1}, "has a generator with 2: leave it out"),
        (NARROW, {"init": "encoder", "num_layers": 1}, "decoder.num_layers 1 is not the encoder's 2"),
        (NARROW, {"sharing": "all", "hidden_size": 8}, "decoder.hidden_size 8 is not the encoder's 16"),
    ],
)
def test_what_cannot_be_a_start_is_refused(tmp_path, origin, decoder, message):
    folder = None if origin is None else _pre_trained(tmp_path / "origin", **origin)[0]
    with pytest.raises((UserError, ValueError)) as caught:
        starting_point(_config(folder, decoder))
    assert message in str(caught.value)
