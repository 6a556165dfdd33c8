"""From the configuration to the objective."""

from electra_jax.config.schema import Config, ElectraObjective, ElectricObjective
from electra_jax.model.electra import build_electra
from electra_jax.objectives.electra import ReplacedTokenDetection
from electra_jax.objectives.electric import EnergyBasedCloze
from electra_jax.objectives.masked_lm import MaskedLM, SpecialIds
from electra_jax.objectives.protocol import PretrainingObjective
from electra_jax.tokenizers import Tokenizer


def build_objective(config: Config, tokenizer: Tokenizer) -> PretrainingObjective:
    """The objective that ``config.objective.kind`` names, over the tokenizer's vocabulary."""
    network = build_electra(config, tokenizer.vocab_size)
    special = SpecialIds.of(tokenizer)
    if isinstance(config.objective, ElectraObjective):
        return ReplacedTokenDetection(config, config.objective, network, special)
    if isinstance(config.objective, ElectricObjective):
        return EnergyBasedCloze(config, config.objective, network, special)
    return MaskedLM(config, network, special)
