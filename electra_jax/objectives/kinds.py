"""The one table of objectives: for each ``objective.kind``, the networks and the objective that trains them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from electra_jax.config.fields import Section
from electra_jax.config.objectives import (
    CausalLMObjective,
    ElectraObjective,
    ElectricObjective,
    FinetuneObjective,
    MaskedLMObjective,
)
from electra_jax.config.schema import Config
from electra_jax.model.causal_lm import CausalLM
from electra_jax.model.electra import Electra, MaskedLMNetwork
from electra_jax.model.electric import Electric
from electra_jax.model.network_config import NetworkConfig, network_config
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives.causal_lm import NextToken
from electra_jax.objectives.electra import ReplacedTokenDetection
from electra_jax.objectives.electric import EnergyBasedCloze
from electra_jax.objectives.masked_lm import MaskedLM, SpecialIds
from electra_jax.objectives.protocol import PretrainingObjective
from electra_jax.tokenizers import Tokenizer

# write: go on from a prompt; refine: fill gaps by generator and discriminator in turns; pll: the likeliest tokens at
# [MASK], and so pseudo-log-likelihoods; lm, rtd, electric: the scores of these names (electra_jax.scoring).
Ability = Literal["write", "refine", "lm", "pll", "rtd", "electric"]


@dataclass(frozen=True)
class Kind:
    """How one kind of objective is built.

    Attributes:
        network: (what the networks are made of, the section ``objective``) → the networks.
        objective: (the section, the networks, ids of the special tokens) → the objective; None in fine-tuning, whose
            objective is made of tasks.
        abilities: What a trained model can do with its heads.
    """

    network: Callable[[NetworkConfig, Any], TextEncoder]
    objective: Callable[[Any, Any, SpecialIds], PretrainingObjective[Any, Any]] | None
    abilities: frozenset[Ability] = frozenset()


KINDS: dict[type, Kind] = {
    ElectraObjective: Kind(
        lambda config, _: Electra(config),
        ReplacedTokenDetection,
        abilities=frozenset({"refine", "rtd", "pll"}),
    ),
    MaskedLMObjective: Kind(
        lambda config, _: MaskedLMNetwork(config), MaskedLM, abilities=frozenset({"pll"})
    ),
    ElectricObjective: Kind(
        lambda config, settings: Electric(config, wrap=settings.reference_quirks),
        EnergyBasedCloze,
        abilities=frozenset({"electric"}),
    ),
    CausalLMObjective: Kind(
        lambda config, _: CausalLM(config),
        NextToken,
        abilities=frozenset({"write", "lm"}),
    ),
    FinetuneObjective: Kind(lambda config, _: TextEncoder(config), None),
}


def build_network(config: Config, vocab_size: int, platform: str | None = None) -> Any:
    """Build the networks that ``config.objective`` trains, a `TextEncoder` or a subclass.

    Args:
        config: Of the run.
        vocab_size: Entries of the vocabulary.
        platform: Of the devices it will run on; None takes JAX's default.

    Raises:
        UserError: compute.attention names a back end that cannot do what the configuration asks.
    """
    settings = config.objective
    return KINDS[type(settings)].network(network_config(config, vocab_size, platform), settings)


def build_objective(
    config: Config, tokenizer: Tokenizer, platform: str | None = None
) -> PretrainingObjective[Any, Any]:
    """Build the objective of a pre-training run, over the tokenizer's vocabulary.

    Args:
        config: Of the run.
        tokenizer: Its vocabulary.
        platform: Of the devices it will run on; None takes JAX's default.

    Raises:
        UserError: compute.attention names a back end that cannot do what the configuration asks.
    """
    kind = KINDS[type(config.objective)]
    assert kind.objective is not None, "fine-tuning builds its objective from its tasks"
    network = build_network(config, tokenizer.vocab_size, platform)
    return kind.objective(config.objective, network, SpecialIds.of(tokenizer))


def is_causal(settings: Section) -> bool:
    """Return whether networks of a section ``objective`` see only what is before a token, and so can write."""
    return "lm" in abilities(settings)


def abilities(settings: Section) -> frozenset[Ability]:
    """Return what models of a section ``objective`` can do with their heads, where they have them."""
    return KINDS[type(settings)].abilities


def same_objective(settings: Section, other: Section) -> bool:
    """Return whether two sections ``objective`` are of one kind.

    Only then do parameters of one name, those of the kept encoder aside, mean the same in both runs.
    """
    return type(settings) is type(other)
