"""StableAdamW against a plain loop over unstacked tensors, as ModernBERT's optimizer.py writes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.schema import Config
from electra_jax.optim import build_optimizer

LAYERS, TOTAL = 3, 40
PARAMS = {
    "embeddings": {"word": {"embedding": (6, 4)}, "layer_norm": {"scale": (4,)}},
    "encoder": {"layers": {"output": {"kernel": (LAYERS, 4, 5), "bias": (LAYERS, 5)}}},
}


def _draw(rng, scale):
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(
        lambda shape: (scale * rng.standard_normal(shape)).astype(np.float32), PARAMS, is_leaf=is_shape
    )


def _unstacked(tree):
    """Every layer's tensor by itself, by a name that says whether it is decayed."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = "/".join(key.key for key in path)
        pieces = leaf if "layers" in name else [leaf]
        found |= {(name, number): np.asarray(piece, np.float64) for number, piece in enumerate(pieces)}
    return found


class _TheirTensor:
    """One tensor, updated as `_single_stable_adamw` of ModernBERT does, its rate decoupled from nothing."""

    def __init__(self, theta, settings, decay):
        self.theta, self.settings, self.decay = theta, settings, decay
        self.m = self.v = np.zeros_like(theta)

    def update(self, g, step, rate):
        beta1, beta2 = ((b**step - b) / (b**step - 1) for b in (self.settings.beta1, self.settings.beta2))
        epsilon = self.settings.epsilon
        self.m = self.m + (1 - beta1) * (g - self.m)
        self.v = beta2 * self.v + (1 - beta2) * g * g
        self.rms = np.sqrt((g * g / np.maximum(self.v, epsilon**2)).mean())
        rate = rate / max(1.0, self.rms)
        self.theta = self.theta * (1 - rate * self.decay)
        self.theta = self.theta - rate * self.m / (np.sqrt(self.v) + epsilon)


def test_updates_are_those_of_the_formula_layer_by_layer():
    settings = {"kind": "stable_adamw", "beta2": 0.98, "clip_norm": None, "weight_decay": 0.1}
    config = Config.model_validate(
        {"optimizer": {**settings, "learning_rate": 0.02, "warmup_steps": 2}, "train": {"steps": TOTAL}}
    ).optimizer
    rng = np.random.default_rng(0)
    params = _draw(rng, 1.0)
    theirs = {
        key: _TheirTensor(
            theta, config, config.weight_decay if key[0].endswith(("kernel", "embedding")) else 0
        )
        for key, theta in _unstacked(params).items()
    }
    optimizer = build_optimizer(config, params, total_steps=TOTAL)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    clipped, per_layer = 0, set()
    for step, scale in enumerate((1.0, 0.01, 30.0, 1.0, 1e-5, 0.3), 1):
        gradients = _draw(rng, scale)
        if step == 4:  # one layer alone is far off: a norm over all of them would hold back the others
            gradients["encoder"]["layers"]["output"]["kernel"][1] *= 1e3
        updates, state = update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        rate = 0.02 * (1 - (step - 1) / TOTAL) * min(1.0, (step - 1) / 2)
        for key, gradient in _unstacked(gradients).items():
            theirs[key].update(gradient, step, rate)
            clipped += theirs[key].rms > 1.5
            if step == 4 and key[0].endswith("kernel"):
                per_layer.add(bool(theirs[key].rms > 1.5))
        for key, mine in _unstacked(params).items():
            np.testing.assert_allclose(
                mine, theirs[key].theta, rtol=2e-5, atol=2e-6, err_msg=f"{key}, {step}"
            )
    assert clipped
    assert per_layer == {True, False}  # else layers would not have been told apart


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_the_first_update_is_adams(beta):
    """At the first step the averages are the gradient itself, so r is 1 and the update its sign."""
    settings = {
        "beta1": beta,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "clip_norm": None,
        "learning_rate": 0.5,
    }
    params = _draw(np.random.default_rng(1), 1.0)
    moved = []
    for kind in ("adamw", "stable_adamw"):
        config = Config.model_validate({"optimizer": {"kind": kind, **settings}}).optimizer
        optimizer = build_optimizer(config, params, total_steps=TOTAL)
        moved.append(optimizer.update(params, optimizer.init(params), params)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), *moved)
