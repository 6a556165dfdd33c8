"""The original's forward and backward pass with its random draws replayed, on ours."""

import jax
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.model.inputs import EncoderInputs
from electra_jax.objectives import build_network
from electra_jax.objectives.electra import ElectraInputs, ReplacedTokenDetection
from electra_jax.objectives.electric import EnergyBasedCloze
from electra_jax.objectives.masked_lm import MaskedLM, MaskedLMInputs, SpecialIds
from electra_jax.objectives.masking import mask_tokens


def reference_config(golden, sharing):
    """Our configuration for the original's, ``golden``."""
    sizes = golden["model_hparam_overrides"]
    if golden["electra_objective"]:
        sampling = {name: golden[name] for name in ("temperature", "disallow_correct")}
        objective = {"kind": "electra", **sampling}
    else:
        objective = {"kind": "electric" if golden["electric_objective"] else "masked_lm"}
    fraction = 1.0 if sharing == "all" else golden["generator_hidden_size"]
    generator = {"sharing": sharing, "size_fraction": fraction}
    return Config.model_validate(
        {
            "data": {"sequence_length": golden["max_seq_length"]},
            "model": {
                "hidden_size": sizes["hidden_size"],
                "num_layers": sizes["num_hidden_layers"],
                "num_heads": sizes["num_attention_heads"],
                "intermediate_size": sizes["intermediate_size"],
                "embedding_size": golden["embedding_size"],
                "max_positions": sizes["max_position_embeddings"],
                "hidden_dropout": 0.0,
                "attention_dropout": 0.0,
                "vocab_multiple": 1,
            },
            **({} if objective["kind"] == "masked_lm" else {"generator": generator}),
            "objective": {**objective, "mask_rate": golden["mask_prob"], "reference_quirks": True},
            "optimizer": {
                "learning_rate": golden["learning_rate"],
                "warmup_steps": golden["num_warmup_steps"],
                "weight_decay": golden["weight_decay_rate"],
            },
            "train": {"steps": golden["num_train_steps"], "batch_size": golden["train_batch_size"]},
        }
    )


def replayed(golden, config, params):
    """(golden arrays, objective, parameters, replayed draw, jitted loss and gradient, configuration)."""
    network = build_network(config, 200)
    special = SpecialIds(pad=0, cls=2, sep=3, mask=4)
    mask = golden["in/input_mask"]
    inputs = EncoderInputs(
        input_ids=golden["in/input_ids"],
        token_type_ids=golden["in/segment_ids"],
        position_ids=np.broadcast_to(np.arange(mask.shape[1]), mask.shape),
        segment_ids=mask,
    )
    masked = mask_tokens(
        inputs.input_ids,
        golden["out/masked_lm_positions"],
        golden["out/masked_lm_weights"],
        golden["draw/keep_uniform"],
        mask_id=special.mask,
        mask_token_probability=0.85,
    )
    if config.objective.kind == "masked_lm":
        objective, inputs = MaskedLM(config.objective, network, special), MaskedLMInputs(inputs, masked)
    else:
        kind = EnergyBasedCloze if config.objective.kind == "electric" else ReplacedTokenDetection
        objective = kind(config.objective, network, special)
        inputs = ElectraInputs(inputs, masked, golden["draw/gumbel_uniform"])
    value_and_grad = jax.jit(
        jax.value_and_grad(
            lambda p: objective.loss(p, inputs, objective.loss_normalizers(inputs), None), has_aux=True
        )
    )
    return golden, objective, params, inputs, value_and_grad, config
