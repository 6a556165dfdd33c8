"""Updates against plain numpy loops of the formulas, and against the original's own figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.schema import Config
from electra_jax.optim import build_optimizer

SHAPES = {
    "embeddings": {"word": {"embedding": (7, 4)}, "layer_norm": {"scale": (4,), "bias": (4,)}},
    "head": {"kernel": (4, 3), "bias": (3,), "output_bias": (7,)},
}
DECAYED = ("embedding", "kernel")


def _config(steps, **settings):
    return Config.model_validate({"optimizer": settings, "train": {"steps": steps}})


def _draw(rng, scale):
    return jax.tree.map(
        lambda shape: (scale * rng.standard_normal(shape)).astype(np.float32),
        SHAPES,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def _leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _numpy_updates(config, params, gradients):
    """Parameters after each update, in float64, leaf by leaf; bias correction for adamw alone."""
    settings, total = config.optimizer, config.train.steps
    names = [path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    theta = [leaf.astype(np.float64) for leaf in _leaves(params)]
    m, v = [0.0] * len(theta), [0.0] * len(theta)
    for step, tree in enumerate(gradients):
        g = [leaf.astype(np.float64) for leaf in _leaves(tree)]
        if settings.clip_norm is not None:
            norm = np.sqrt(sum((leaf**2).sum() for leaf in g))
            g = [leaf * settings.clip_norm / max(norm, settings.clip_norm) for leaf in g]
        rate = settings.learning_rate * (1 - step / total)
        if settings.warmup_steps:
            rate *= min(1.0, step / settings.warmup_steps)
        for i, name in enumerate(names):
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g[i]
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g[i] ** 2
            m_hat, v_hat = m[i], v[i]
            if settings.kind == "adamw":
                m_hat = m[i] / (1 - settings.beta1 ** (step + 1))
                v_hat = v[i] / (1 - settings.beta2 ** (step + 1))
            decay = settings.weight_decay * theta[i] if name in DECAYED else 0.0
            theta[i] = theta[i] - rate * (m_hat / (np.sqrt(v_hat) + settings.epsilon) + decay)
        yield [leaf.copy() for leaf in theta]


def _our_updates(config, params, gradients):
    optimizer = build_optimizer(config.optimizer, params, total_steps=config.train.total_steps)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for tree in gradients:
        updates, state = update(tree, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        yield _leaves(params)


@pytest.mark.parametrize("warmup_steps", [0, 3])
@pytest.mark.parametrize("clip_norm", [1.0, None])
@pytest.mark.parametrize("kind", ["electra_adam", "adamw"])
def test_updates_are_those_of_the_formula(kind, clip_norm, warmup_steps):
    config = _config(
        20, kind=kind, clip_norm=clip_norm, warmup_steps=warmup_steps, learning_rate=0.05, weight_decay=0.1
    )
    rng = np.random.default_rng(0)
    params = _draw(rng, 1.0)
    gradients = [_draw(rng, scale) for scale in (3.0, 0.01, 1.0, 1e-8, 0.1, 10.0)]  # clipped, and not
    ours, expected = _our_updates(config, params, gradients), _numpy_updates(config, params, gradients)
    for step, (mine, theirs) in enumerate(zip(ours, expected, strict=True)):
        for left, right in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-6, err_msg=f"update {step}")


def test_first_update_of_a_warmup_moves_nothing():
    params = _draw(np.random.default_rng(0), 1.0)
    (after,) = _our_updates(_config(10, warmup_steps=2), params, [params])
    for left, right in zip(after, _leaves(params), strict=True):
        np.testing.assert_array_equal(left, right)


def test_moments_are_float32_and_two_for_each_parameter():
    params = _draw(np.random.default_rng(0), 1.0)
    state = build_optimizer(_config(10).optimizer, params, total_steps=10).init(params)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert [leaf.shape for leaf in moments] == 2 * [leaf.shape for leaf in _leaves(params)]
    assert {leaf.dtype for leaf in moments} == {jnp.dtype(jnp.float32)}


def _by_our_names(golden, prefix, suffix=""):
    """The original's variables with the last part of the name that our decay rules go by."""
    found = {}
    for name in golden.files:
        if name.startswith(prefix) and name.endswith(suffix):
            *scopes, last = name.removeprefix(prefix).removesuffix(suffix).split("/")
            scopes = ["layer_norm" if scope == "LayerNorm" else scope for scope in scopes]
            if last.endswith("_embeddings"):
                scopes, last = [*scopes, last], "embedding"
            last = {"gamma": "scale", "beta": "bias"}.get(last, last)
            found["/".join([*scopes, last])] = golden[name]
    tree = {}
    for name, leaf in found.items():
        *scopes, last = name.split("/")
        place = tree
        for scope in scopes:
            place = place.setdefault(scope, {})
        place[last] = leaf
    return tree


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "norm_is_of_the_sum"), [("tiny", True), ("tiny_untied_generator_embeddings", False)]
)
def test_three_updates_of_the_original(name, norm_is_of_the_sum, shared):
    """Its first update has rate 0 and its draws are fixed, so its second gradient is the first again.

    The third gradient, clipped, follows from the first moment after it: m3 = .9 m2 + .1 g.
    With untied embeddings the discriminator's table is only looked up, and TensorFlow's norm of such a gradient takes
    each occurrence of a token by itself, not their sum. So the original clips by another norm than that of its
    gradient; there, its updates are compared from the clipped gradient on.
    """
    golden = np.load(shared / "golden" / "tf" / f"{name}.npz")
    gradients = _by_our_names(golden, "grad/")
    recorded = float(golden["grad_global_norm"])
    norm = float(np.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in _leaves(gradients))))
    assert (norm == pytest.approx(recorded, rel=1e-5)) is norm_is_of_the_sum
    clipped = jax.tree.map(lambda g: g / recorded, gradients)
    third = jax.tree.map(
        lambda m3, g: (m3 - 0.9 * (0.9 * 0.1 + 0.1) * g) / 0.1,
        _by_our_names(golden, "step3slot/", "/adam_m"),
        clipped,
    )
    first, clip_norm = (gradients, 1.0) if norm_is_of_the_sum else (clipped, None)

    config = _config(10, learning_rate=0.01, warmup_steps=2, weight_decay=0.01, clip_norm=clip_norm)
    params = _by_our_names(golden, "step1/")
    optimizer = build_optimizer(config.optimizer, params, total_steps=config.train.total_steps)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for step, gradient in ((1, first), (2, first), (3, third)):
        updates, state = update(gradient, state, params)
        params = jax.tree.map(np.add, params, updates)
        _assert_close(params, _by_our_names(golden, f"step{step}/"), rtol=1e-4, atol=1e-6)
    (adam,) = [part for part in state if hasattr(part, "nu")]
    _assert_close(adam.nu, _by_our_names(golden, "step3slot/", "/adam_v"), rtol=1e-3, atol=1e-12)


def _assert_close(ours, expected, **tolerances):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for (path, mine), theirs in zip(
        jax.tree_util.tree_leaves_with_path(ours), _leaves(expected), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, err_msg=str(path), **tolerances)
