"""What a run starts with when init_from names converted weights: number by number, on several meshes."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from huggingface_folder import TINY, random_tensors, words, write_folder, write_pair
from safetensors.numpy import load_file
from small_run import small_config

from electra_jax.convert.flat_parameters import flatten
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.native_format import write_native
from electra_jax.errors import UserError
from electra_jax.objectives import build_network
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.batches import TrainingOrder, make_batch
from electra_jax.tasks.build import build_task
from electra_jax.tasks.head_transfer import HeadTransfer
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import TextExample
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer
from electra_jax.training import initialisation
from electra_jax.training.initialisation import (
    attention_notes,
    check_initial_checkpoint,
    check_vocabulary,
    initial_params,
)
from electra_jax.training.program import build_program, program_for_objective

# As in `huggingface_folder`, so that its folders fit.
SIZES = {
    "model": {"intermediate_size": 64},
    "generator": {"hidden_size": 16, "num_heads": 1, "intermediate_size": 48},
}
MESHES = {
    "data": {},
    "fsdp": {"data": 1, "fsdp": 8},
    "all": {"data": 2, "fsdp": 2, "tensor": 2},
}


def _tokenizer(tokens):
    content = ("\n".join(tokens) + "\n").encode()
    return WordPieceTokenizer(content, lowercase=True, strip_accents=True, where="test")


def _converted(source, destination, **reading):
    """Reads folders of Hugging Face and writes our directory; the flat parameters."""
    weights = read_huggingface(source, **reading)
    destination.mkdir()
    write_native(weights, destination, destination)
    return weights.parameters


@pytest.fixture
def pair(tmp_path):
    """(directory of converted weights, its flat parameters)."""
    write_pair(tmp_path / "pair")
    folders = [tmp_path / "pair" / "discriminator", tmp_path / "pair" / "generator"]
    return tmp_path / "ours", _converted(folders, tmp_path / "ours")


def _start(origin, tokenizer, mesh="data", **sections):
    """(flat parameters to start with, fresh ones, notes); all lie as the mesh wants them."""
    config = small_config(**{**SIZES, **sections}, mesh=MESHES[mesh])
    check_initial_checkpoint(config, str(origin))
    program = build_program(config, tokenizer, make_mesh(config.mesh))
    rng = np.random.default_rng(
        1
    )  # what the initialiser gives matters not, and it would take long to compile
    fresh = jax.tree.map(
        lambda leaf: jax.device_put(rng.standard_normal(leaf.shape, np.float32), leaf.sharding),
        program.abstract.params,
    )
    before = flatten(jax.device_get(fresh), tokenizer.vocab_size)
    params, notes = initial_params(config.objective, str(origin), tokenizer, program, fresh)
    assert jax.tree.structure(params) == jax.tree.structure(program.abstract.params)
    for leaf, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(program.abstract.params), strict=True):
        assert (leaf.shape, leaf.dtype) == (wanted.shape, wanted.dtype)
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)
    return flatten(jax.device_get(params), tokenizer.vocab_size), before, notes


def _equal(found, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("mesh", MESHES)
def test_every_parameter_on_every_mesh_and_added_rows_are_fresh(mesh, pair):
    origin, given = pair
    tokenizer = _tokenizer([*words(40), "three", "more", "##words"])
    assert check_vocabulary(str(origin), tokenizer) == 40
    started, fresh, notes = _start(origin, tokenizer, mesh)
    assert started.keys() == given.keys()
    for name, array in given.items():
        if name in ("embeddings/word/embedding", "generator_head/output_bias"):
            assert started[name].shape[0] == 43
            np.testing.assert_array_equal(started[name][:40], array)
            np.testing.assert_array_equal(started[name][40:], fresh[name][40:])
        else:
            np.testing.assert_array_equal(started[name], array, err_msg=name)
    assert np.all(np.any(started["embeddings/word/embedding"][40:] != 0, axis=1))
    assert notes == [
        f"parameters from {origin / 'checkpoints' / '0'}, optimizer fresh",
        "vocabulary: 40 rows kept, 3 added",
    ]


def test_the_same_vocabulary_on_another_rounding(pair):
    """The checkpoint's table has 128 rows, the run's 40."""
    origin, given = pair
    started, _, notes = _start(origin, _tokenizer(words(40)), "fsdp")
    _equal(started, given)
    assert len(notes) == 1


@pytest.mark.parametrize("mesh", ["data", "fsdp"])
def test_more_positions_than_were_learned_repeat_them(mesh, pair):
    origin, given = pair
    model = {**SIZES["model"], "max_positions": 40}
    started, _, notes = _start(origin, _tokenizer(words(40)), mesh, model=model)
    table = given.pop("embeddings/position/embedding")
    rows = len(table)
    assert rows < 40 < 3 * rows
    expected = np.concatenate([table, table, table])[:40]
    np.testing.assert_array_equal(started["embeddings/position/embedding"], expected)
    _equal(started, given)
    assert notes[1:] == [f"positions: {rows} were learned, and are repeated up to 40"]
    with pytest.raises(UserError, match=f"model.max_positions: {rows} -> 8"):
        _start(
            origin,
            _tokenizer(words(40)),
            mesh,
            data={"sequence_length": 8},
            model={**model, "max_positions": 8},
        )


def test_a_discriminator_alone_leaves_the_generator_fresh(tmp_path):
    write_folder(tmp_path / "theirs", "discriminator")
    given = _converted([tmp_path / "theirs"], tmp_path / "ours")
    # Its generator may be of any size, as it is made here.
    started, fresh, notes = _start(
        tmp_path / "ours", _tokenizer(words(40)), generator={"size_fraction": 0.25}
    )
    _equal(started, given)
    generator = {name: array for name, array in fresh.items() if name not in given}
    assert {name.partition("/")[0] for name in generator} == {"generator_encoder", "generator_head"}
    _equal(started, generator)
    assert notes[1].endswith("has none for it: generator_encoder, generator_head")


def test_a_masked_language_model_gives_its_encoder(tmp_path):
    write_folder(tmp_path / "theirs", "generator")
    given = _converted([tmp_path / "theirs"], tmp_path / "ours")
    started, fresh, notes = _start(tmp_path / "ours", _tokenizer(words(40)))
    kept = ("embeddings", "encoder")
    _equal(started, {name: array for name, array in given.items() if name.partition("/")[0] in kept})
    _equal(started, {name: array for name, array in fresh.items() if name.partition("/")[0] not in kept})
    assert notes[1].endswith("has none for it: discriminator_head, generator_encoder, generator_head")


def test_single_parameters_that_were_allowed_to_be_missing_are_fresh(tmp_path):
    tensors = random_tensors("discriminator", TINY)
    for name in [n for n in tensors if n.endswith("attention.self.key.bias") or ".dense_prediction." in n]:
        del tensors[name]
    write_folder(tmp_path / "theirs", "discriminator", tensors=tensors)
    allowed = ["*.key.bias", "discriminator_predictions.dense_prediction.*"]
    given = _converted([tmp_path / "theirs"], tmp_path / "ours", allow_missing=allowed)
    started, fresh, notes = _start(tmp_path / "ours", _tokenizer(words(40)))
    _equal(started, given)
    _equal(started, {name: array for name, array in fresh.items() if name not in given})
    assert notes[1].endswith(
        "has none for it: discriminator_head/prediction, "
        "encoder/layers/attention/key/bias, generator_encoder, generator_head"
    )


def test_what_a_layer_lacks_alone_cannot_be_written(tmp_path):
    tensors = load_file(write_folder(tmp_path / "theirs", "discriminator") / "model.safetensors")
    del tensors["electra.encoder.layer.0.attention.self.key.bias"]
    write_folder(tmp_path / "theirs", "discriminator", tensors=tensors)
    with pytest.raises(UserError, match="encoder/layers/attention/key/bias is missing in layer 0 of 2"):
        _converted([tmp_path / "theirs"], tmp_path / "ours", allow_missing=["*.layer.0.*.key.bias"])


@pytest.mark.parametrize(
    ("tokens", "words_of_it"),
    [
        ([*words(40)[:-2], "word34", "word33"], "another vocabulary"),
        ([*words(39), "other", "more"], "another vocabulary"),
        (words(39), "another vocabulary"),
    ],
    ids=["order", "token", "shorter"],
)
def test_another_vocabulary_is_refused(tokens, words_of_it, pair):
    with pytest.raises(UserError, match=words_of_it):
        check_vocabulary(str(pair[0]), _tokenizer(tokens))


def test_without_a_vocabulary_the_size_counts(tmp_path):
    write_folder(tmp_path / "theirs", "discriminator", vocabulary=False)
    _converted([tmp_path / "theirs"], tmp_path / "ours")
    with pytest.raises(UserError, match="has embeddings of 40 tokens, this vocabulary only 39"):
        check_vocabulary(str(tmp_path / "ours"), _tokenizer(words(39)))
    assert check_vocabulary(str(tmp_path / "ours"), _tokenizer(words(40)[::-1])) == 40
    assert check_vocabulary(str(tmp_path / "ours"), _tokenizer(words(41))) == 40


@pytest.mark.parametrize(
    ("sections", "words_of_it"),
    [
        ({"model": {"hidden_size": 64, "intermediate_size": 64}}, "model.hidden_size: 32 -> 64;"),
        ({"model": {"num_heads": 4, "intermediate_size": 64}}, "model.num_heads: 2 -> 4;"),
        ({"generator": {"hidden_size": 24, "num_heads": 1}}, "generator.hidden_size: 16 -> 24,"),
        ({"generator": {**SIZES["generator"], "sharing": "none"}}, "generator.sharing: embeddings -> none,"),
    ],
    ids=["width", "heads", "generator", "sharing"],
)
def test_another_model_is_refused(sections, words_of_it, pair):
    with pytest.raises(UserError, match=f"has the parameters of another model: .*{words_of_it}"):
        check_initial_checkpoint(small_config(**{**SIZES, **sections}), str(pair[0]))


def test_a_foreign_folder_is_to_be_converted_first(tmp_path):
    write_folder(tmp_path / "theirs", "discriminator")
    with pytest.raises(UserError, match=r"are converted first: python -m electra_jax\.convert"):
        check_initial_checkpoint(small_config(), str(tmp_path / "theirs"))


def _classifier_folder(path, labels):
    """A fine-tuned classifier of Hugging Face, from random numbers."""
    tensors = {n: a for n, a in random_tensors("discriminator", TINY).items() if "predictions" not in n}
    rng, width = np.random.default_rng(3), TINY["hidden_size"]
    for name, outputs in (("classifier.dense", width), ("classifier.out_proj", len(labels))):
        tensors[f"{name}.weight"] = rng.standard_normal((outputs, width), np.float32)
        tensors[f"{name}.bias"] = rng.standard_normal(outputs, np.float32)
    return write_folder(
        path,
        "discriminator",
        tensors=tensors,
        architectures=["ElectraForSequenceClassification"],
        id2label={str(number): label for number, label in enumerate(labels)},
    )


@pytest.mark.parametrize(("mesh", "first"), [("data", None), ("fsdp", 1), ("all", None)])
def test_a_converted_head_keeps_its_classes_and_the_first_layers_are_taken(mesh, first, tmp_path):
    given = _converted([_classifier_folder(tmp_path / "theirs", ["no", "yes", "perhaps"])], tmp_path / "ours")
    config = small_config(
        model={**SIZES["model"], "num_layers": first or 2},
        mesh=MESHES[mesh],
        objective={"kind": "finetune"},
        finetune={
            "first_layers": first,
            "tasks": {"mine": {"kind": "classification", "train": "a.csv", "dev": "b.csv"}},
            "head_style": "huggingface",
        },
    )
    tokenizer, labels = _tokenizer(words(40)), ("yes", "perhaps", "no")
    settings = {"mine": TaskSettings(kind="classification", labels=labels, classes=labels)}
    task = build_task("mine", settings["mine"], config, tokenizer)
    rows = task.encode([TextExample(str(n), "word1", None, "yes") for n in range(8)], training=True)
    _, plan = next(TrainingOrder({"mine": np.full(8, 3)}, 8, (8,), 0, {}).plans(0, 1))
    batch = make_batch("mine", rows, plan, tokenizer.pad_id, targets=True)
    network = build_network(config, tokenizer.vocab_size)
    check_initial_checkpoint(config, str(tmp_path / "ours"))
    program = program_for_objective(
        config,
        FineTuning(network, {"mine": task}, {"mine": batch}),
        batch,
        make_mesh(config.mesh),
    )
    fresh = jax.tree.map(
        lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), program.abstract.params
    )
    params, notes = initial_params(
        config.objective, str(tmp_path / "ours"), tokenizer, program, fresh, HeadTransfer(settings)
    )
    assert "the head of mine is taken over, its classes put in this run's order by their names" in notes
    assert not any("initialised as configured" in note for note in notes)
    started = flatten(jax.device_get(params), tokenizer.vocab_size)
    order = [1, 2, 0]
    for name, array in given.items():
        ours = name.replace("heads/classification/", "heads/mine/")
        expected = array[..., order] if "heads/classification/prediction" in name else array
        if first == 1 and name.startswith("encoder/layers/1/"):
            assert ours not in started
            continue
        np.testing.assert_array_equal(started[ours], expected, err_msg=ours)
    for leaf, wanted in zip(jax.tree.leaves(params), jax.tree.leaves(program.abstract.params), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)


def test_another_window_or_wavelength_is_said(monkeypatch):
    """Neither changes a shape, so nothing else would show it."""
    modern = {"block": "modern", "embedding_size": None, "local_attention": {"window": 4}}
    origin = SimpleNamespace(config=small_config(model=modern), path="older/checkpoints/9")
    monkeypatch.setattr(initialisation, "find_initial_checkpoint", lambda _: origin)
    assert attention_notes(small_config(model={**modern, "hidden_dropout": 0.3}), "older") == []
    wider = {"local_attention": {"window": 8}, "rope_theta_global": 100.0}
    (note,) = attention_notes(small_config(model={**modern, **wider}), "older")
    assert "older/checkpoints/9" in note
    assert "model.local_attention.window: 4 -> 8" in note
    assert "model.rope_theta_global: null -> 100" in note


def test_tables_that_are_added_are_added_in_one_order_on_all_hosts():
    """Each is a program over all of them, and names are in a set, whose order differs by process."""
    names = [f"embeddings/{name}/embedding" for name in ("word", "position", "token_type")]
    for taken in (names, names[::-1], [*names[1:], "encoder/x", names[0]]):
        assert list(initialisation._bases(taken)) == names
