"""Electric through the training loop, in microbatches, on a mesh, and its FLOPs."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import SmallVocabulary, small_config
from test_flops import traced_product_flops
from tiny import compiled, padded_rows
from toy import ToyRun

from electra_jax.model.flops import masked_lm_head_flops
from electra_jax.objectives import build_objective
from electra_jax.objectives.masking import max_masked
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.flops import train_step_flops
from electra_jax.training.program import build_program
from electra_jax.training.state import init_state
from electra_jax.training.step import make_train_step

V = SmallVocabulary
ELECTRIC = {"kind": "electric"}


def _counting_rows(count, seed):
    """Rows in which every token is the one before plus one: a neighbour on either side tells what it is."""
    start = np.random.default_rng(seed).integers(5, 40, (count, 1))
    rows = (start + np.arange(16)).astype(np.int32)
    rows[:, 0], rows[:, -1] = V.cls_id, V.sep_id
    return rows


def test_losses_fall_in_the_training_loop(tmp_path):
    config = small_config(
        objective=ELECTRIC,
        model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0},
        optimizer={"learning_rate": 5e-3, "schedule": "constant"},
        train={"steps": 120, "batch_size": 16, "log_every": 20, "eval_every": 120, "checkpoint_every": 120},
    )
    real_objective = SimpleNamespace(setattr=lambda *_: None)  # ToyRun's own is left out
    train, held_out = _counting_rows(64, seed=0), _counting_rows(16, seed=1)
    run = ToyRun(real_objective, tmp_path, config, train=train, evaluation=held_out, devices=1)
    _, metrics, _ = run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = (next(x for x in seq if x["split"] == "train") for seq in (lines, lines[::-1]))
    assert first["cloze_loss"] > 3.5
    assert last["cloze_loss"] < 2.0
    assert last["disc_loss"] < 0.7 * first["disc_loss"]
    assert metrics["cloze_loss"] < 2.0
    assert metrics["loss"] == pytest.approx(metrics["cloze_loss"] + 50 * metrics["disc_loss"])


def _state_like(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: rng.normal(0, 0.05, s.shape).astype(s.dtype), shapes)


def test_microbatches_give_the_gradient_of_the_whole_batch():
    config = small_config(
        objective=ELECTRIC, model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    )
    objective, optimizer = build_objective(config, V()), optax.sgd(1.0)
    state = _state_like(
        jax.eval_shape(lambda: init_state(objective, optimizer, padded_rows(), jax.random.key(0)))
    )
    after = []
    for pieces in (1, 4):
        step = make_train_step(
            objective,
            optimizer,
            optax.constant_schedule(1.0),
            seed=0,
            accumulation_steps=pieces,
            log_every=4,
        )
        after.append(compiled(step, state, padded_rows())(state, padded_rows())[0].params)
    for a, b in zip(jax.tree.leaves(after[0]), jax.tree.leaves(after[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_a_step_on_a_mesh_is_the_step_on_one_device():
    reports = []
    for data, fsdp, tensor in ((1, 1, 1), (2, 2, 2)):
        config = small_config(
            objective=ELECTRIC,
            model={"num_layers": 1},
            mesh={"data": data, "fsdp": fsdp, "tensor": tensor},
        )
        devices = jax.devices()[: data * fsdp * tensor]
        program = build_program(config, V(), make_mesh(config.mesh, devices))
        with program.on_mesh():
            first = _state_like(program.abstract)
            first = first.replace(
                opt_state=jax.tree.map(np.zeros_like, first.opt_state),
                step=np.zeros_like(first.step),
                metric_sums=jax.tree.map(np.zeros_like, first.metric_sums),
            )
            state = jax.device_put(first, jax.tree.map(lambda s: s.sharding, program.abstract))
            batch = program.to_global_batch(padded_rows())
            state, report = compiled(program.train_step, state, batch)(state, batch, program.train_step.seed)
            reports.append(jax.device_get(report))
    kernel = state.params["generator_rtl"]["layers"]["intermediate"]["kernel"]
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(1, 8, 32)}
    for name, value in reports[0].items():
        np.testing.assert_allclose(reports[1][name], value, rtol=1e-4, err_msg=name)


def test_decayed_are_matrices_and_embeddings():
    objective = build_objective(small_config(objective=ELECTRIC), V())
    params = jax.eval_shape(objective.init, jax.random.key(0))
    for path, decayed in jax.tree_util.tree_leaves_with_path(weight_decay_mask(params)):
        assert decayed == (path[-1].key in ("kernel", "embedding")), path


@pytest.mark.parametrize("sections", [{}, {"model": {"embedding_size": 16, "num_layers": 3}}], ids=str)
def test_step_flops_are_the_matrix_products_of_the_traced_step(sections):
    sections = {**sections, "model": {"vocab_multiple": 4, **sections.get("model", {})}}  # no unused rows
    config = small_config(objective=ELECTRIC, **sections)
    objective = build_objective(config, V())
    batch = jnp.zeros((config.train.batch_size, config.data.sequence_length), jnp.int32)

    def step(params, key):
        inputs = objective.draw_inputs(batch, key)
        return jax.grad(lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None)[0])(
            params
        )

    params = jax.eval_shape(objective.init, jax.random.key(0))
    jaxpr = jax.make_jaxpr(step)(params, jax.random.key(0)).jaxpr
    sizes = objective.network.sizes
    # Logits at the chosen positions exist a second time, to sample from: recomputed, and so not counted.
    slots = max_masked(config.objective.mask_rate, config.data.sequence_length)
    again = masked_lm_head_flops(0, sizes.embedding_size, sizes.vocab_size, slots * len(batch))
    traced = traced_product_flops(jaxpr, sizes.vocab_rows)
    assert train_step_flops(objective, *batch.shape) + again == traced
