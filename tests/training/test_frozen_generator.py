"""generator.frozen_from: whose parameters they are, that they stay as they are, and what is refused."""

import jax
import numpy as np
import pytest
from huggingface_folder import words
from small_run import small_config

from electra_jax.config.loading import dump_config, validate
from electra_jax.config.text import TokenizerConfig
from electra_jax.convert.flat_parameters import flatten
from electra_jax.convert.native_format import write_native
from electra_jax.convert.weights import Weights
from electra_jax.errors import UserError
from electra_jax.objectives import build_objective
from electra_jax.optim.groups import network_group
from electra_jax.partitioning.axes import path_name
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer
from electra_jax.training.checkpoints import RunIdentity, write_params
from electra_jax.training.frozen_generator import (
    check_frozen_generator,
    check_frozen_vocabulary,
    with_frozen_generator,
)
from electra_jax.training.program import build_program

VOCABULARY = 40
ONE_LAYER = {"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0}
GENERATOR = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 64,
    "sharing": "none",
    "embedding_size": 8,
}


def _tokenizer(tokens):
    content = ("\n".join(tokens) + "\n").encode()
    return WordPieceTokenizer(content, lowercase=True, strip_accents=True, where="test")


TOKENIZER = _tokenizer(words(VOCABULARY))
WORDPIECE = {"kind": "wordpiece", "vocab_file": "vocab.txt", "strip_accents": True}


def _masked_lm(kind="masked_lm"):
    """A masked language model of the generator's sizes."""
    sizes = {**ONE_LAYER, "hidden_size": 16, "embedding_size": 8}
    return small_config(model=sizes, tokenizer=WORDPIECE, objective={"kind": kind})


def _electra(frozen_from=None, optimizer=None, **generator):
    network = {**GENERATOR, "frozen_from": None if frozen_from is None else str(frozen_from), **generator}
    model = {**ONE_LAYER, "hidden_size": 32, "embedding_size": 8}
    settings = {"warmup_steps": 0, **(optimizer or {})}
    return small_config(model=model, tokenizer=WORDPIECE, generator=network, optimizer=settings)


def _write(config, folder):
    """A work directory with made-up parameters, and those by flat name."""
    objective = build_objective(config, TOKENIZER)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(objective.init, jax.random.key(0))
    params = flatten(
        jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes), VOCABULARY
    )
    write_native(Weights(config, params, VOCABULARY, TOKENIZER), folder, folder)
    return params


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlm")
    return folder, _write(_masked_lm(), folder)


def _started(config):
    """The program, fresh parameters, and those with the frozen generator in them."""
    check_frozen_generator(config)
    check_frozen_vocabulary(config.generator.frozen_from, TOKENIZER)
    program = build_program(config, TOKENIZER, make_mesh(config.mesh))
    rng = np.random.default_rng(1)
    fresh = jax.tree.map(
        lambda leaf: jax.device_put(0.1 * rng.standard_normal(leaf.shape, np.float32), leaf.sharding),
        program.abstract.params,
    )
    params, notes = with_frozen_generator(config, TOKENIZER, program, fresh)
    assert len(notes) == 1
    return program, flatten(fresh, VOCABULARY), params


def _check_taken(fresh, params, given, modules):
    found = flatten(params, VOCABULARY)
    assert found.keys() == fresh.keys()
    for name, array in found.items():
        scope, _, rest = name.partition("/")
        expected = given[f"{modules[scope]}/{rest}"] if scope in modules else fresh[name]
        np.testing.assert_array_equal(array, expected, err_msg=name)


def test_a_masked_language_model_is_the_generator(masked_lm):
    folder, given = masked_lm
    _, fresh, params = _started(_electra(folder))
    modules = {"generator_encoder": "encoder", "generator_embeddings": "embeddings"}
    _check_taken(fresh, params, given, {**modules, "generator_head": "generator_head"})


def test_a_vocabulary_that_would_be_trained_otherwise_is_refused_before_it_is(tmp_path):
    trained, other = (TokenizerConfig(vocab_size=size, strip_accents=False) for size in (400, 401))
    run = _masked_lm().model_copy(update={"tokenizer": trained})
    shapes = jax.eval_shape(build_objective(run, TOKENIZER).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    identity = RunIdentity(TOKENIZER.fingerprint, None, run.model_dump())
    write_params(tmp_path / "checkpoints", 1, params, identity)
    (tmp_path / "config.yaml").write_text(dump_config(run))
    check_frozen_generator(_electra(tmp_path).model_copy(update={"tokenizer": trained}))
    sentence = (
        r"another, so set tokenizer\.vocab_file to .*=null, or to train it .* tokenizer\.vocab_size=400$"
    )
    with pytest.raises(UserError, match=sentence):
        check_frozen_generator(_electra(tmp_path).model_copy(update={"tokenizer": other}))


@pytest.mark.parametrize("sharing", ["embeddings", "gdes"])
def test_so_is_the_generator_of_a_pair(sharing, tmp_path):
    given = _write(_electra(sharing=sharing, embedding_size=None), tmp_path)
    _, fresh, params = _started(_electra(tmp_path, sharing="gdes", embedding_size=None))
    tables = "embeddings" if sharing == "embeddings" else "generator_embeddings"
    modules = {name: name for name in ("generator_encoder", "generator_head")}
    _check_taken(fresh, params, given, {**modules, "generator_embeddings": tables})


def test_differences_to_another_generator_are_refused(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        _write(_electra(sharing="gdes", embedding_size=None), tmp_path / name)
    config = _electra(tmp_path / "one", sharing="gdes", embedding_size=None)
    check_frozen_generator(config.model_copy(update={"init_from": str(tmp_path / "one")}))
    with pytest.raises(
        UserError, match=r"^init_from .*other: its discriminator's tables are the differences"
    ):
        check_frozen_generator(config.model_copy(update={"init_from": str(tmp_path / "other")}))


def _moments(program):
    leaves = jax.tree_util.tree_leaves_with_path(program.abstract.opt_state)
    return {path_name(path): leaf for path, leaf in leaves if leaf.ndim > 1 or "bias" in path_name(path)}


@pytest.mark.parametrize("kind", ["electra_adam", "stable_adamw", "muon"])
def test_it_has_no_state_of_an_optimizer(kind, masked_lm):
    program = build_program(_electra(masked_lm[0], {"kind": kind}), TOKENIZER, make_mesh(_electra().mesh))
    moments = _moments(program)
    assert any("discriminator_head/dense/kernel" in name for name in moments)
    assert not [name for name in moments if "generator_" in name]
    for path, leaf in jax.tree_util.tree_leaves_with_path(program.abstract.params):
        if network_group(path_name(path)) == "discriminator":
            of_it = [m for name, m in moments.items() if name.endswith(f"mu/{path_name(path)}")]
            assert all(moment.sharding == leaf.sharding for moment in of_it), path_name(path)


def test_a_step_leaves_it_as_it_is_and_reports_its_loss(masked_lm):
    config = _electra(masked_lm[0])
    program, _, params = _started(config)
    before = flatten(params, VOCABULARY)
    rows = np.random.default_rng(2).integers(5, VOCABULARY, (8, 16)).astype(np.int32)
    rows[:, 0], rows[:, -1] = TOKENIZER.cls_id, TOKENIZER.sep_id
    with program.on_mesh():
        state = program.init().replace(params=params)
        state, report = program.train_step(state, program.to_global_batch(rows))
    after = flatten(state.params, VOCABULARY)
    same = {name for name in after if np.array_equal(after[name], before[name])}
    assert {name for name in after if network_group(name) == "generator"} <= same
    changed = {name.partition("/")[0] for name in set(after) - same}
    assert changed == {"embeddings", "encoder", "discriminator_head"}
    assert float(report["masked_lm_loss"]) > 0
    assert float(report["generator_grad_norm"]) == 0
    loss = float(report["masked_lm_loss"]) + 50 * float(report["disc_loss"])
    assert float(report["loss"]) == pytest.approx(loss, rel=1e-4)
    half = build_objective(_electra(), TOKENIZER).flops_per_row(16) - program.objective.flops_per_row(16)
    assert half > 0  # no backward pass through the generator


def test_another_run_than_fits_is_refused_before_the_devices(masked_lm, tmp_path):
    folder, _ = masked_lm
    with pytest.raises(
        UserError, match=r"generator\.frozen_from .*: its generator is another, so set"
    ) as error:
        check_frozen_generator(_electra(folder, hidden_size=8, num_heads=1, embedding_size=4))
    for part in ("generator.hidden_size=16", "generator.num_heads=2", "generator.embedding_size=8"):
        assert part in str(error.value)
    ours = _electra(folder)
    ours = ours.model_copy(update={"model": ours.model.model_copy(update={"layer_norm_epsilon": 0.1})})
    with pytest.raises(UserError, match=r"so set model\.layer_norm_epsilon=1e-12"):
        check_frozen_generator(ours)
    with pytest.raises(UserError, match=r"^generator\.frozen_from nowhere"):
        check_frozen_generator(_electra("nowhere"))
    other = tmp_path / "causal"
    other.mkdir()
    _write(_masked_lm("causal_lm"), other)
    with pytest.raises(UserError, match="has no generator: name a run of"):
        check_frozen_generator(_electra(other))
    for tokens in (words(VOCABULARY)[:-1] + ["else"], [*words(VOCABULARY), "more"]):
        with pytest.raises(UserError, match="it was trained with another vocabulary"):
            check_frozen_vocabulary(str(folder), _tokenizer(tokens))
    check_frozen_vocabulary(None, TOKENIZER)


def test_it_needs_every_position_that_the_run_reads(masked_lm):
    folder, given = masked_lm
    known = len(given["embeddings/position/embedding"])
    longer = _electra(folder)
    longer = longer.model_copy(update={"model": longer.model.model_copy(update={"max_positions": 2 * known})})
    with pytest.raises(UserError, match=rf"so set model\.max_positions={known}$"):
        check_frozen_generator(longer)
    rows = longer.model_copy(update={"data": longer.data.model_copy(update={"sequence_length": known + 1})})
    with pytest.raises(
        UserError, match=rf"so set model\.max_positions={known}, data\.sequence_length={known}$"
    ):
        check_frozen_generator(rows)
    fewer = _electra(folder)
    fewer = fewer.model_copy(update={"model": fewer.model.model_copy(update={"max_positions": known - 1})})
    _, _, params = _started(fewer)
    found = flatten(params, VOCABULARY)["generator_embeddings/position/embedding"]
    np.testing.assert_array_equal(found, given["embeddings/position/embedding"][: known - 1])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"generator": {"frozen_from": "a"}}, "frozen_from does not go with sharing 'embeddings'"),
        (
            {
                "generator": {"frozen_from": "a", "sharing": "none"},
                "optimizer": {"generator": {"learning_rate": 1e-3}},
            },
            r"optimizer\.generator says how the generator learns",
        ),
        (
            {"generator": {"frozen_from": "a", "sharing": "none"}, "objective": {"kind": "masked_lm"}},
            "masked_lm does not read generator",
        ),
        (
            {"generator": {"frozen_from": "a"}, "objective": {"kind": "electric"}},
            "electric|does not go with sharing",
        ),
    ],
)
def test_what_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        validate(values, "here")
