"""Layer-wise decay of the learning rate: what each parameter's update is multiplied by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.config.schema import Config
from electra_jax.optim import build_optimizer
from electra_jax.optim.layer_decay import layer_rates

PARAMS = {
    "embeddings": {"word": {"embedding": jnp.ones((6, 4))}},
    "encoder": {
        "embeddings_project": {"kernel": jnp.ones((4, 8))},
        "layers": {"output": {"kernel": jnp.ones((3, 8, 8)), "bias": jnp.ones((3, 8))}},
    },
    "heads": {"mine": {"prediction": {"kernel": jnp.ones((8, 2))}}},
}


@pytest.mark.parametrize(("quirk", "top"), [(False, 1), (True, 2)])
def test_rates_fall_by_the_factor_from_layer_to_layer(quirk, top):
    rates = layer_rates(PARAMS, 0.5, reference_quirk=quirk)
    assert rates["heads"]["mine"]["prediction"]["kernel"] == 1
    layers = rates["encoder"]["layers"]["output"]
    for leaf in layers.values():
        assert leaf.ravel().tolist() == [0.5 ** (top + 2), 0.5 ** (top + 1), 0.5**top]
    assert layers["kernel"].shape == (3, 1, 1)
    lowest = 0.5 ** (top + 3)
    assert (
        rates["embeddings"]["word"]["embedding"] == rates["encoder"]["embeddings_project"]["kernel"] == lowest
    )


def test_an_unknown_parameter_is_an_error():
    with pytest.raises(ValueError, match="no layer-wise rate covers pooler/kernel"):
        layer_rates({**PARAMS, "pooler": {"kernel": jnp.ones(2)}}, 0.5, reference_quirk=False)


def test_updates_and_weight_decay_are_both_scaled():
    """Against the same optimizer without layer-wise decay, whose updates are multiplied by hand."""

    def updates(decay):
        config = Config.model_validate(
            {
                "objective": {"kind": "finetune"},
                "finetune": {"tasks": {"rte": {}}},
                "optimizer": {
                    "warmup_steps": 0,
                    "layer_decay": decay,
                    "weight_decay": 0.1,
                    "clip_norm": None,
                },
                "train": {"steps": 10},
            }
        )
        optimizer = build_optimizer(
            config.optimizer, PARAMS, total_steps=config.train.total_steps, finetune=config.finetune
        )
        gradients = jax.tree.map(lambda p: 0.3 * p, PARAMS)
        return optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)[0]

    plain, scaled = updates(1.0), updates(0.8)
    by_hand = jax.tree.map(jnp.multiply, plain, layer_rates(PARAMS, 0.8, reference_quirk=False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), scaled, by_hand)
    assert float(optax.tree.norm(plain)) > float(optax.tree.norm(scaled)) > 0
