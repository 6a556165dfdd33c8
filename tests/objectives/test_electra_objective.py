"""The objective: what the gradient reaches, what is sampled, and rows with nothing to mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.objectives import build_objective
from electra_jax.objectives.electra import corrupt, discriminator_terms
from electra_jax.objectives.masked_lm import padding_sum

V = SmallVocabulary
LENGTH = 16
FULL = [2, *range(10, 10 + LENGTH - 2), 3]
SHORT = [2, 40, 41, 42, 3] + [V.pad_id] * (LENGTH - 5)
BARE = [2, 3] + [V.pad_id] * (LENGTH - 2)  # nothing in it may be masked
EMPTY = [V.pad_id] * LENGTH


def _objective(sharing="embeddings", **settings):
    config = small_config(
        model={"num_layers": 1, "hidden_size": 16, "embedding_size": 8},
        generator={"sharing": sharing, "size_fraction": 1.0 if sharing == "all" else 0.5},
        objective=settings,
    )
    return build_objective(config, V())


def _draw(objective, *rows):
    return jax.jit(objective.draw_inputs)(jnp.array(rows, jnp.int32), jax.random.key(1))


def _params(objective):
    """Like fresh ones, but quick to make: every leaf small normal noise, scales near 1."""
    shapes = jax.eval_shape(objective.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def leaf(path, s):
        return np.float32(path[-1].key == "scale") + rng.normal(0, 0.05, s.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def _run(function, *args):
    return jax.jit(function)(*args)


def _loss_and_gradient(objective, params, inputs):
    def loss(params, inputs):
        return objective.loss(params, inputs, objective.loss_normalizers(inputs), None)

    return _run(jax.value_and_grad(loss, has_aux=True), params, inputs)


def _largest(tree):
    return max(float(abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("sharing", ["none", "embeddings"])
def test_generator_receives_no_gradient_from_the_discriminators_loss(sharing):
    objective = _objective(sharing, generator_weight=0.0)
    params = _params(objective)
    inputs = _draw(objective, FULL, SHORT)
    _, gradient = _loss_and_gradient(objective, params, inputs)
    mine = {name for name in params if name.startswith("generator")}
    assert len(mine) == {"none": 3, "embeddings": 2}[sharing]
    for name in mine:
        assert _largest(gradient[name]) == 0.0, name
    for name in set(params) - mine:
        assert _largest(gradient[name]) > 0.0, name

    # What is shared gets just the gradient of a discriminator that reads rows corrupted beforehand.
    corruption = _run(lambda p: objective.run_generator(p, inputs)[1], params)
    assert int(corruption.labels.sum()) > 0
    assert (np.asarray(inputs.masked.input_ids) == V.mask_id).any()
    assert not (np.asarray(corruption.input_ids) == V.mask_id).any()
    real = (inputs.original.segment_ids != 0).astype(jnp.float32)

    def discriminator_alone(p):
        logits = objective.run_discriminator(p, inputs, corruption)
        total, _ = discriminator_terms(logits, corruption.labels, real, auc_counts_padding=False)
        return 50.0 * total / (real.sum() + 1e-6)

    alone = _run(jax.grad(discriminator_alone), params)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("disallowed", [False, True])
def test_disallow_correct_never_samples_the_original(disallowed, quirks):
    objective = _objective(disallow_correct=disallowed, reference_quirks=quirks)
    inputs = _draw(objective, *[FULL] * 40)
    # A generator that is all but sure of the original.
    rows = objective.network.sizes.vocab_rows
    logits = 12.0 * jax.nn.one_hot(inputs.masked.ids, rows) - 1e9 * (jnp.arange(rows) >= V.vocab_size)
    corruption = corrupt(logits, inputs, objective.settings)
    used = np.asarray(inputs.masked.weights) > 0
    same = np.asarray(corruption.sampled_ids == inputs.masked.ids)[used]
    original, corrupted = np.asarray(inputs.original.input_ids), np.asarray(corruption.input_ids)
    if disallowed:
        assert not same.any()
    else:
        assert same.mean() > 0.95
        # A sample that equals the original counts as original.
        assert corruption.labels.sum() < used.sum()
    np.testing.assert_array_equal(corruption.labels, corrupted != original)
    chosen = np.zeros_like(original, bool)
    row, slot = np.nonzero(used)
    chosen[row, np.asarray(inputs.masked.positions)[row, slot]] = True
    np.testing.assert_array_equal(corrupted[~chosen], original[~chosen])
    assert corrupted.max() < V.vocab_size


def test_temperature_divides_the_logits_that_are_sampled_from():
    cold, hot = _objective(temperature=0.25), _objective(temperature=4.0)
    inputs = _draw(cold, *[FULL] * 40)
    logits = 4.0 * jax.nn.one_hot(inputs.masked.ids, cold.network.sizes.vocab_rows)
    used = np.asarray(inputs.masked.weights) > 0

    def kept(objective):
        sampled = corrupt(logits, inputs, objective.settings).sampled_ids
        return np.asarray(sampled == inputs.masked.ids)[used].mean()

    others = cold.network.sizes.vocab_rows - 1
    for objective, temperature in ((cold, 0.25), (hot, 4.0)):
        right = np.exp(4.0 / temperature)
        share = right / (right + others)
        assert kept(objective) == pytest.approx(
            share, abs=4 * np.sqrt(share * (1 - share) / used.sum()) + 1e-4
        )


def test_reference_quirks_change_what_is_drawn_and_what_the_area_counts():
    ours, theirs = _objective(mask_rate=0.4), _objective(mask_rate=0.4, reference_quirks=True)
    rows = [FULL] * 20 + [SHORT] * 20

    def repeats(inputs):
        used = np.asarray(inputs.masked.weights) > 0
        return sum(
            len(p[u]) - len(set(p[u])) for p, u in zip(np.asarray(inputs.masked.positions), used, strict=True)
        )

    inputs, quirky = _draw(ours, *rows), _draw(theirs, *rows)
    assert repeats(inputs) == 0
    assert repeats(quirky) > 0
    # One uniform for every entry of the vocabulary in the original, two for the inverse distribution function.
    assert inputs.sample_uniforms.shape[-1] == 2
    assert quirky.sample_uniforms.shape[-1] == theirs.network.sizes.vocab_rows

    real = int((inputs.original.segment_ids != 0).sum())
    for objective, batch, counted in ((ours, inputs, real), (theirs, quirky, 40 * LENGTH)):
        zeros = jnp.zeros((40, LENGTH))
        terms = discriminator_terms(
            zeros,
            zeros.astype(jnp.int32),
            (batch.original.segment_ids != 0).astype(jnp.float32),
            auc_counts_padding=objective.settings.reference_quirks,
        )[1]
        assert float(terms["disc_auc"].sum()) == counted
        assert float(terms["disc_loss"][1]) == real  # the loss itself never counts padding


@pytest.mark.parametrize("quirks", [False, True])
def test_rows_with_nothing_to_mask_weigh_nothing_and_make_no_nan(quirks):
    objective = _objective(reference_quirks=quirks)
    inputs = _draw(objective, FULL, BARE, EMPTY, SHORT)
    np.testing.assert_array_equal(np.asarray(inputs.masked.weights)[1:3], 0.0)
    params = _params(objective)
    (loss, sums), gradient = _loss_and_gradient(objective, params, inputs)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((sums, gradient)))

    if quirks:
        return
    without = jax.tree.map(lambda x: x[jnp.array([0, 1, 3])], inputs)
    (loss_without, _), gradient_without = _loss_and_gradient(objective, params, without)
    np.testing.assert_allclose(loss, loss_without, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_without), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_batch_of_nothing_has_loss_zero():
    objective = _objective()
    inputs = _draw(objective, EMPTY, EMPTY)
    loss, sums = _run(
        lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None), _params(objective)
    )
    assert float(loss) == 0.0
    assert all(value is None for value in objective.summarize(jax.device_get(sums)).values())


def test_padding_fraction_is_that_of_the_text_not_of_the_rows_that_fill_a_batch_up():
    objective = _objective()
    inputs = _draw(objective, FULL, SHORT)
    filled = _draw(objective, FULL, SHORT, EMPTY, EMPTY)
    for original in (inputs.original, filled.original):
        np.testing.assert_array_equal(padding_sum(original), [LENGTH - 5, 2 * LENGTH])


def test_loss_is_the_weighted_sum_of_both_means():
    objective = _objective(generator_weight=2.0, discriminator_weight=7.0)
    inputs = _draw(objective, FULL, SHORT)
    params = _params(objective)
    loss, sums = _run(lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None), params)
    metrics = objective.summarize(jax.device_get(sums))
    assert metrics["loss"] == pytest.approx(2 * metrics["masked_lm_loss"] + 7 * metrics["disc_loss"])
    assert float(loss) == pytest.approx(metrics["loss"], rel=1e-6)

    # Both means once more, in numpy from the logits.
    logits, corruption = _run(lambda p: objective.run_generator(p, inputs), params)
    x = np.asarray(_run(lambda p: objective.run_discriminator(p, inputs, corruption), params), np.float64)
    logits = np.asarray(logits, np.float64)[..., : V.vocab_size]
    ids, weights = np.asarray(inputs.masked.ids), np.asarray(inputs.masked.weights)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    nll = -np.log(np.take_along_axis(probabilities, ids[..., None], -1)[..., 0])
    assert metrics["masked_lm_loss"] == pytest.approx((nll * weights).sum() / weights.sum(), rel=1e-5)
    real = np.asarray(inputs.original.input_ids) != V.pad_id
    replaced = np.asarray(corruption.labels) == 1
    cross_entropy = -np.log(np.where(replaced, 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))))
    assert metrics["disc_loss"] == pytest.approx(cross_entropy[real].mean(), rel=1e-5)


def test_with_drawn_rates_rows_count_by_their_tokens_and_microbatches_add_up():
    objective = _objective(mask_rate=0.05, mask_rate_high=1.0)
    params = _params(objective)
    inputs = _draw(objective, FULL, SHORT, FULL, BARE)
    normalizers = objective.loss_normalizers(inputs)
    assert float(normalizers[0]) == pytest.approx(14 + 3 + 14)
    loss = jax.jit(lambda params, part: objective.loss(params, part, normalizers, None))
    whole, sums = loss(params, inputs)
    parts = [
        loss(params, jax.tree.map(lambda leaf, rows=rows: leaf[rows], inputs))[0]
        for rows in (slice(0, 2), slice(2, 4))
    ]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-6)
    metrics = objective.summarize(jax.tree.map(np.asarray, sums))
    assert float(whole) == pytest.approx(metrics["loss"], rel=1e-5)
    assert metrics["masked_lm_loss"] == pytest.approx(np.log(V.vocab_size), rel=0.2)
