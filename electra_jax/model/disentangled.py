"""Embeddings of which the discriminator learns the difference to the generator's (``generator.sharing=gdes``).

He et al. 2021, "DeBERTaV3", section 3.2, gradient-disentangled embedding sharing: E_D = stop_gradient(E_G) + E_Δ. In
the parameters ``generator_embeddings`` are E_G and the tables of ``embeddings`` are E_Δ, which starts at 0.
"""

from collections.abc import Mapping
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.model.sizes import network_sizes

TABLES = ("word", "position", "token_type")


def is_disentangled(config: Config) -> bool:
    """Return whether the parameters of a run have the discriminator's tables as differences."""
    return config.generator.sharing == "gdes"


def materialised(config: Config, params: Mapping[str, Any]) -> tuple[Config, Mapping[str, Any]]:
    """Return configuration and parameters in which every table stands for itself: two networks with their own.

    Args:
        config: of the run the parameters are of.
        params: of both networks; with another sharing they are returned as they are.
    """
    if not is_disentangled(config):
        return config, params
    theirs, own = params["generator_embeddings"], params["embeddings"]
    tables = {
        name: {"embedding": own[name]["embedding"] + theirs[name]["embedding"]}
        for name in TABLES
        if name in own
    }
    sizes = network_sizes(config.model, config.generator, vocab_size=1)
    width = None if sizes.embedding_size == sizes.generator.hidden_size else sizes.embedding_size
    generator = config.generator.model_copy(update={"sharing": "none", "embedding_size": width})
    return config.model_copy(update={"generator": generator}), {**params, "embeddings": {**own, **tables}}
