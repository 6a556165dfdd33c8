"""Electric: what a position may see, what the labels mean, what the gradient reaches, and the energies' scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.config import Config
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.electric import join_towers, shift_in_segment
from electra_jax.model.inputs import packed_inputs
from electra_jax.objectives import build_objective
from electra_jax.objectives.electric import corrupt_with_noise, noise_log_odds, text_tokens

V = SmallVocabulary
LENGTH = 16
FULL = [2, *range(10, 10 + LENGTH - 2), 3]
SHORT = [2, 40, 41, 42, 3] + [V.pad_id] * (LENGTH - 5)
PACKED = [2, 40, 41, 42, 3, 2, 50, 51, 3, 2, 60, 61, 62, 3, 0, 0]
BARE = [2, 3] + [V.pad_id] * (LENGTH - 2)  # nothing in it may be chosen
EMPTY = [V.pad_id] * LENGTH


def _objective(**settings):
    config = small_config(
        model={"hidden_size": 16, "embedding_size": 8}, objective={"kind": "electric", **settings}
    )
    return build_objective(config, V())


def _params(objective):
    """Like fresh ones, but larger, so that everything a logit depends on is seen in it."""
    shapes = jax.eval_shape(objective.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def leaf(path, s):
        return np.float32(path[-1].key == "scale") + rng.normal(0, 0.2, s.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def _draw(objective, *rows):
    return jax.jit(objective.draw_inputs)(jnp.array(rows, jnp.int32), jax.random.key(1))


def _run(function, *args):
    return jax.jit(function)(*args)


def _inputs(*rows):
    return packed_inputs(np.array(rows, np.int32), pad_id=V.pad_id, cls_id=V.cls_id, sep_id=V.sep_id)


def _cloze(objective, params, *rows):
    return np.asarray(
        _run(
            lambda p, x: objective.network.apply({"params": p}, x, None, method="cloze").logits(),
            params,
            _inputs(*rows),
        )
    )


def _largest(tree):
    return max(float(abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def test_a_position_sees_every_token_of_its_document_but_its_own_and_no_other_document():
    objective = _objective()
    rows = np.array([PACKED] * (LENGTH + 1))
    for column in range(LENGTH):
        rows[column, column] = 77  # row c has another token in column c; the last row is as it was
    segments = np.asarray(_inputs(PACKED).segment_ids)[0]
    middle = [c for c in range(LENGTH) if PACKED[c] > V.mask_id]  # special tokens decide where documents are
    logits = _cloze(objective, _params(objective), *rows)
    for changed in middle:
        difference = abs(logits[changed] - logits[-1])[:, : V.vocab_size].max(axis=-1)
        np.testing.assert_array_equal(difference[changed], 0.0)
        np.testing.assert_array_equal(difference[(segments != segments[changed]) & (segments != 0)], 0.0)
        others = (segments == segments[changed]) & (np.arange(LENGTH) != changed)
        assert (difference[others] > 1e-4).all()


def test_packed_documents_have_the_logits_they_have_alone():
    objective = _objective()
    params = _params(objective)
    packed = _cloze(objective, params, PACKED)[0]
    for start, end in ((0, 5), (5, 9), (9, 14)):
        alone = _cloze(objective, params, PACKED[start:end] + [0, 0, 0])[0]
        np.testing.assert_allclose(packed[start:end], alone[: end - start], atol=1e-4)


def test_mask_of_each_direction_is_a_triangle_within_the_segment():
    segments = jnp.array([[1, 1, 2, 2, 2, 0]])
    both, ltr, rtl = (
        np.asarray(AttentionMask.within(segments, direction).allowed())[0, 0]
        for direction in ("both", "left_to_right", "right_to_left")
    )
    np.testing.assert_array_equal(ltr, np.tril(both))
    np.testing.assert_array_equal(rtl, np.triu(both))
    np.testing.assert_array_equal(ltr[3], [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(rtl[3], [0, 0, 0, 1, 1, 0])


def test_shift_stays_inside_the_segment_and_wraps_only_on_demand():
    segments = jnp.array([[1, 1, 1, 2, 2, 0]])
    hidden = jnp.arange(1.0, 7.0).reshape(1, 6, 1)
    np.testing.assert_array_equal(shift_in_segment(hidden, segments, 1)[0, :, 0], [0, 1, 2, 0, 4, 0])
    np.testing.assert_array_equal(shift_in_segment(hidden, segments, -1)[0, :, 0], [2, 3, 0, 5, 0, 0])
    # A row that is one segment: its two ends are no neighbours.
    np.testing.assert_array_equal(shift_in_segment(hidden, jnp.ones((1, 6)), 1)[0, :, 0], [0, 1, 2, 3, 4, 5])
    joined = join_towers(hidden, 10 * hidden, segments, wrap=False)
    np.testing.assert_array_equal(joined[0, 1], [1, 30])
    wrapped = join_towers(hidden, 10 * hidden, segments, wrap=True)
    np.testing.assert_array_equal(wrapped[0, 0], [6, 20])
    np.testing.assert_array_equal(wrapped[0, 5], [5, 10])


def test_parameters_are_two_towers_over_shared_embeddings_and_a_head_over_both():
    objective = _objective()
    shapes = jax.tree.map(lambda s: s.shape, jax.eval_shape(objective.init, jax.random.key(0)))
    assert set(shapes) == {
        "embeddings",
        "encoder",
        "generator_ltr",
        "generator_rtl",
        "cloze_head",
        "discriminator_head",
    }
    width, embedding, layers = 8, 8, 2
    assert shapes["generator_ltr"] == shapes["generator_rtl"]
    assert shapes["generator_ltr"]["layers"]["intermediate"]["kernel"] == (layers, width, 4 * width)
    assert shapes["cloze_head"]["dense"]["kernel"] == (2 * width, embedding)


@pytest.mark.parametrize("gumbel", [False, True])
def test_label_says_where_a_token_came_from_even_where_the_sample_is_the_original(gumbel):
    objective = _objective(reference_quirks=gumbel)
    inputs = _draw(objective, *[FULL, SHORT] * 20)
    original = np.asarray(inputs.original.input_ids)
    used = np.asarray(inputs.masked.weights) > 0
    chosen = np.zeros_like(original)
    row, slot = np.nonzero(used)
    chosen[row, np.asarray(inputs.masked.positions)[row, slot]] = 1
    rows = objective.network.sizes.vocab_rows
    for sure_of, expected in ((original, original), (original + 7, np.where(chosen, original + 7, original))):
        logits = 50.0 * jax.nn.one_hot(sure_of, rows)
        logits = jnp.take_along_axis(logits, inputs.masked.positions[..., None], axis=1)
        corruption = corrupt_with_noise(logits, inputs, gumbel=gumbel)
        np.testing.assert_array_equal(corruption.labels, chosen)
        np.testing.assert_array_equal(corruption.input_ids, expected)


def test_samples_follow_the_cloze_model():
    objective = _objective(mask_rate=0.5)
    inputs = _draw(objective, *[FULL] * 300)
    rows = objective.network.sizes.vocab_rows
    slots = inputs.masked.positions.shape[1]
    logits = jnp.full((300, slots, rows), -1e9).at[..., 20].set(np.log(0.3)).at[..., 30].set(np.log(0.7))
    sampled = np.asarray(corrupt_with_noise(logits, inputs, gumbel=False).sampled_ids)[
        np.asarray(inputs.masked.weights) > 0
    ]
    assert set(np.unique(sampled)) == {20, 30}
    assert (sampled == 20).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / sampled.size))


def test_log_odds_are_those_of_bayes():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 5, 9)).astype(np.float32)
    ids = rng.integers(0, 9, (2, 5))
    energies, rate = rng.normal(0, 1, (2, 5)).astype(np.float32), 0.25
    q = np.take_along_axis(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), ids[..., None], -1)[..., 0]
    noise, data = rate * q, (1 - rate) * np.exp(-energies)
    found = noise_log_odds(energies, np.log(q), mask_rate=rate)
    np.testing.assert_allclose(jax.nn.sigmoid(found), noise / (noise + data), rtol=1e-5)
    # A model that agrees with the noise distribution can say no more than how much is replaced.
    np.testing.assert_allclose(
        jax.nn.sigmoid(noise_log_odds(-np.log(q), np.log(q), mask_rate=rate)), rate, rtol=1e-5
    )


def test_gradient_of_each_loss_reaches_its_own_network_only():
    towers = {"generator_ltr", "generator_rtl", "cloze_head"}
    for weights, reached in (((0.0, 50.0), {"encoder", "discriminator_head"}), ((1.0, 0.0), towers)):
        objective = _objective(generator_weight=weights[0], discriminator_weight=weights[1])
        params, inputs = _params(objective), _draw(objective, FULL, PACKED)
        gradient = _run(
            jax.grad(lambda p, d, o=objective: o.loss(p, d, o.loss_normalizers(d), None)[0]), params, inputs
        )
        for name in params:
            assert (_largest(gradient[name]) > 0) == (name in reached | {"embeddings"}), name


def test_loss_is_the_weighted_sum_of_both_means():
    objective = _objective(generator_weight=2.0, discriminator_weight=7.0)
    inputs, params = _draw(objective, FULL, PACKED, EMPTY), _params(objective)
    loss, sums = _run(lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None), params)
    metrics = objective.summarize(jax.device_get(sums))
    assert float(loss) == pytest.approx(2 * metrics["cloze_loss"] + 7 * metrics["disc_loss"], rel=1e-6)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-6)

    # Both means once more, in numpy from the logits.
    cloze, corruption = _run(lambda p: objective.run_generator(p, inputs), params)
    logits = np.asarray(cloze.logits(), np.float64)[..., : V.vocab_size]
    ids = np.asarray(inputs.original.input_ids)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    nll = -np.log(np.take_along_axis(probabilities, ids[..., None], -1)[..., 0])
    x = _run(lambda p, nll: objective.run_discriminator(p, inputs, corruption, cloze, nll), params, nll)
    x = np.asarray(x, np.float64)
    text = ids > V.mask_id  # neither padding nor [CLS], [SEP]; [UNK] does not occur
    assert metrics["cloze_loss"] == pytest.approx(nll[text].mean(), rel=1e-5)
    chosen = np.asarray(corruption.labels) == 1
    cross_entropy = np.where(chosen, np.logaddexp(0, -x), np.logaddexp(0, x))
    assert metrics["disc_loss"] == pytest.approx(cross_entropy[ids != V.pad_id].mean(), rel=1e-5)
    assert metrics["padding_fraction"] == pytest.approx(2 / 32)


def test_unknown_words_are_text_and_special_tokens_are_not():
    special = _objective().special
    found = text_tokens(jnp.array([[2, 1, 40, 4, 3, 0]]), special)
    np.testing.assert_array_equal(found, [[0, 1, 1, 0, 0, 0]])


def test_rows_with_nothing_to_choose_weigh_nothing_and_make_no_nan():
    objective = _objective()
    params = _params(objective)

    def loss(p, d):
        return objective.loss(p, d, objective.loss_normalizers(d), None)

    inputs = _draw(objective, FULL, BARE, EMPTY)
    (value, sums), gradient = _run(jax.value_and_grad(loss, has_aux=True), params, inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, sums, gradient)))
    assert float(sums["cloze_loss"][1]) == LENGTH - 2
    nothing, sums = _run(loss, params, _draw(objective, EMPTY, EMPTY))
    assert float(nothing) == 0.0
    assert all(metric is None for metric in objective.summarize(jax.device_get(sums)).values())


def test_pseudo_log_likelihood_is_the_negative_energy_of_the_text():
    objective = _objective()
    params = _params(objective)
    rows = np.array([FULL, SHORT], np.int32)
    scores, energies = _run(
        lambda p: (objective.pseudo_log_likelihood(p, rows), objective.energies(p, _inputs(*rows))), params
    )
    expected = [-np.asarray(energies)[0, 1:-1].sum(), -np.asarray(energies)[1, 1:4].sum()]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    unpadded = _run(lambda p: objective.pseudo_log_likelihood(p, rows[1:, :5]), params)
    np.testing.assert_allclose(unpadded, scores[1:], rtol=1e-4)


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"generator": {"sharing": "none"}}, "generator.sharing 'none' does not go with"),
        ({"generator": {"sharing": "all", "size_fraction": 1.0}}, "generator.sharing 'all' does not go with"),
        ({"objective": {"mask_token_probability": 1.0}}, "mask_token_probability has no meaning"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(sections, sentence):
    objective = {"kind": "electric", **sections.get("objective", {})}
    with pytest.raises(ValueError, match=sentence):
        Config.model_validate({**sections, "objective": objective})
