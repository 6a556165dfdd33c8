"""generator.sharing=gdes: whose gradient goes where, what it starts as, and where its tables are added up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_folder import words
from small_run import small_config

from electra_jax.config.loading import validate
from electra_jax.convert.flat_parameters import flatten, unflatten
from electra_jax.convert.huggingface_format import network_folders, read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.weights import Weights
from electra_jax.errors import UserError
from electra_jax.inference.load import load
from electra_jax.model.disentangled import TABLES, materialised
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives import build_objective
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer
from electra_jax.training.initialisation import check_initial_checkpoint, initial_params
from electra_jax.training.program import build_program

VOCABULARY = 40
ROWS = np.array([[2, 7, 8, 9, 10, 11, 12, 3], [2, 20, 21, 22, 3, 0, 0, 0]], np.int32)


def _tokenizer():
    content = ("\n".join(words(VOCABULARY)) + "\n").encode()
    return WordPieceTokenizer(content, lowercase=True, strip_accents=True, where="test")


TOKENIZER = _tokenizer()


def _config(sharing="gdes", **sections):
    sizes = {
        "hidden_size": 16,
        "num_layers": 1,
        "embedding_size": 12,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    tokenizer = {"kind": "wordpiece", "vocab_file": "vocab.txt", "strip_accents": True}
    objective = {"mask_rate": 0.4, **sections.pop("objective", {})}
    network = {"generator": {"sharing": sharing}} if objective.get("kind", "electra") == "electra" else {}
    return small_config(model=sizes, tokenizer=tokenizer, objective=objective, **network, **sections)


@pytest.fixture(scope="module")
def objective():
    return build_objective(_config(), TOKENIZER)


@pytest.fixture(scope="module")
def fresh(objective):
    return jax.jit(objective.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def params(fresh):
    """As after some training: nothing is 0."""
    leaves, structure = jax.tree.flatten(fresh)
    rng = np.random.default_rng(0)
    moved = [np.asarray(leaf) + 0.1 * rng.standard_normal(leaf.shape, np.float32) for leaf in leaves]
    moved = jax.tree.unflatten(structure, moved)
    for scope in ("embeddings", "generator_embeddings"):
        moved[scope]["word"]["embedding"][VOCABULARY:] = 0.0
    return moved


def _inputs(objective):
    return objective.draw_inputs(jnp.asarray(ROWS), jax.random.key(1))


def _outputs(objective, params):
    """Logits of both networks, on the same rows."""
    special = objective.special
    rows = packed_inputs(jnp.asarray(ROWS), pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    apply = objective.network.apply
    generated = apply({"params": params}, rows, jnp.asarray([[1, 2, 5], [2, 3, 1]]), method="generate")
    return generated, apply({"params": params}, rows, method="discriminate")


def _close(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_at_first_it_is_one_embedding_layer_for_both(objective, fresh):
    for name in TABLES:
        assert not np.any(fresh["embeddings"][name]["embedding"])
    assert np.any(fresh["generator_embeddings"]["word"]["embedding"])
    shared = build_objective(_config("embeddings"), TOKENIZER)
    tied = {name: tree for name, tree in fresh.items() if name != "generator_embeddings"}
    tied["embeddings"] = fresh["generator_embeddings"]
    for one, other in zip(_outputs(objective, fresh), _outputs(shared, tied), strict=True):
        np.testing.assert_array_equal(one, other)


def _gradient(params, **weights):
    objective = build_objective(_config(objective=weights), TOKENIZER)
    inputs = _inputs(objective)

    def loss(params):
        return objective.loss(params, inputs, objective.loss_normalizers(inputs), None)[0]

    gradients = jax.jit(jax.grad(loss))(params)
    return {
        name: np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(gradients[name]))) for name in gradients
    }


def test_each_loss_reaches_its_own_tables_alone(params):
    of_discriminator = _gradient(params, generator_weight=0.0)
    assert of_discriminator["embeddings"] > 0
    assert {name for name, norm in of_discriminator.items() if norm == 0} == {
        "generator_embeddings",
        "generator_encoder",
        "generator_head",
    }
    of_generator = _gradient(params, discriminator_weight=0.0)
    assert of_generator["generator_embeddings"] > 0
    assert {name for name, norm in of_generator.items() if norm == 0} == {
        "embeddings",
        "encoder",
        "discriminator_head",
    }


def test_added_up_it_is_a_pair_with_embeddings_of_its_own(objective, params):
    config, own = materialised(_config(), params)
    assert (config.generator.sharing, config.generator.embedding_size) == ("none", 12)
    pair = build_objective(config, TOKENIZER)
    _close(_outputs(objective, params), _outputs(pair, own))
    forgotten = {**own, "embeddings": params["embeddings"]}
    assert not np.allclose(_outputs(pair, forgotten)[1], _outputs(objective, params)[1], atol=1e-3)
    assert materialised(config, own) == (config, own)


@pytest.fixture(scope="module")
def workdir(params, tmp_path_factory):
    """A run's directory with a checkpoint of it."""
    folder = tmp_path_factory.mktemp("run")
    write_native(Weights(_config(), flatten(params, VOCABULARY), VOCABULARY, TOKENIZER), folder, folder)
    return folder


def test_what_is_read_without_the_generator_is_added_up(workdir, objective, params):
    """`load` and all commands that use it, and every format it is converted to."""
    weights = read_native(workdir)
    own = flatten(materialised(_config(), params)[1], VOCABULARY)
    assert weights.parameters.keys() == own.keys()
    for name, array in own.items():
        np.testing.assert_array_equal(weights.parameters[name], array, err_msg=name)
    assert "added up" in weights.notes[0]
    model = load(workdir)
    assert model.config.generator.sharing == "none"
    text = " ".join(words(VOCABULARY)[7:12])
    ids = jnp.asarray([[2, *TOKENIZER.encode(text), 3]])
    special = objective.special
    rows = packed_inputs(ids, pad_id=special.pad, cls_id=special.cls, sep_id=special.sep)
    logits = objective.network.apply({"params": params}, rows, method="discriminate")[0, 1:-1]
    found = [token.replaced for token in model.detect(text)]
    np.testing.assert_allclose(found, jax.nn.sigmoid(logits), rtol=1e-3, atol=1e-5)


def test_hugging_faces_two_folders_are_its_networks(workdir, objective, params, tmp_path):
    write_huggingface(read_native(workdir), tmp_path)
    weights = read_huggingface(list(network_folders(tmp_path).values()))
    assert weights.config.generator.sharing == "none"
    pair = build_objective(weights.config, weights.tokenizer)
    back = unflatten(weights.parameters, weights.config.model.vocab_multiple)
    generated, discriminated = _outputs(pair, back)
    expected = _outputs(objective, params)
    _close((generated[..., :VOCABULARY], discriminated), (expected[0][..., :VOCABULARY], expected[1]))


def _started(workdir, config):
    check_initial_checkpoint(config, str(workdir))
    program = build_program(config, TOKENIZER, make_mesh(config.mesh))
    fresh = jax.tree.map(
        lambda leaf: jax.device_put(np.ones(leaf.shape, np.float32), leaf.sharding), program.abstract
    )
    found, _ = initial_params(config.objective, str(workdir), TOKENIZER, program, fresh.params)
    return flatten(jax.device_get(found), VOCABULARY)


def test_a_run_that_starts_from_it_takes_the_sum_unless_it_is_such_a_run_itself(workdir, params):
    own = flatten(materialised(_config(), params)[1], VOCABULARY)
    alone = _started(workdir, _config(objective={"kind": "masked_lm"}))
    for name in own:
        if name.startswith(("embeddings/", "encoder/")):
            np.testing.assert_array_equal(alone[name], own[name], err_msg=name)
    again = _started(workdir, _config())
    for name, array in flatten(params, VOCABULARY).items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    with pytest.raises(UserError, match=r"generator\.sharing: gdes -> embeddings"):
        check_initial_checkpoint(_config("embeddings"), str(workdir))


def _without_generator(folder, **config):
    """A run's directory with the encoder, its embeddings and the heads that such a run has; none of a generator."""
    config = _config("embeddings", **config)
    kept = {"embeddings", "encoder", "discriminator_head"}
    if config.objective.kind == "masked_lm":
        kept = {"embeddings", "encoder", "generator_head"}
    shapes = jax.eval_shape(build_objective(config, TOKENIZER).init, jax.random.key(0))
    params = {
        name: jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), tree)
        for name, tree in shapes.items()
        if name in kept
    }
    write_native(Weights(config, flatten(params, VOCABULARY), VOCABULARY, TOKENIZER), folder, folder)
    return folder


@pytest.mark.parametrize("kind", ["masked_lm", "electra"])
def test_tables_that_stand_for_themselves_are_no_differences(kind, tmp_path):
    """A masked language model, and a discriminator alone: whole tables, which a generator's would be added to."""
    origin = str(_without_generator(tmp_path, objective={"kind": kind}))
    with pytest.raises(UserError, match=r"has no generator of .* set generator\.sharing=embeddings$"):
        check_initial_checkpoint(_config(), origin)
    frozen = _config()
    network = frozen.generator.model_copy(update={"frozen_from": origin})
    with pytest.raises(UserError, match=r"set generator\.sharing=none$"):
        check_initial_checkpoint(frozen.model_copy(update={"generator": network}), origin)
    check_initial_checkpoint(_config("embeddings"), origin)
    check_initial_checkpoint(_config(objective={"kind": "masked_lm"}), origin)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"objective": {"kind": "electric"}},
            r"generator\.sharing 'gdes' does not go with objective\.kind=electric",
        ),
        ({"objective": {"kind": "masked_lm"}}, r"masked_lm does not read generator\.sharing"),
        ({"objective": {"kind": "causal_lm"}}, r"causal_lm does not read generator\.sharing"),
    ],
)
def test_other_objectives_refuse_it(values, words):
    with pytest.raises(UserError, match=words):
        validate({**values, "generator": {"sharing": "gdes"}}, "here")
