"""The same pre-training step out of Hugging Face's PyTorch modules; needs the extra ``huggingface``.

`ElectraForMaskedLM` and `ElectraForPreTraining` share their embeddings. The generator's head sees masked positions
only. Where PyTorch offers several ways, the fastest that was found is taken: a cumulative sum and a binary search
for sampling (Gumbel noise over the vocabulary takes longer), the fused AdamW, SDPA for attention where Hugging Face
takes it by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from benchmarks.workload import Workload
from electra_jax.config import Config
from electra_jax.model.sizes import EncoderSizes, network_sizes
from electra_jax.objectives.masking import max_masked


def start(workload: Workload, *, compiled: bool) -> Callable[[int], None]:
    """Return a function that runs ``n`` steps of ``workload``; the first call compiles, where that is asked for."""
    torch.manual_seed(0)
    torch.set_num_threads(workload.threads)
    rows = torch.from_numpy(workload.rows().astype(np.int64))
    wrap: Callable = torch.compile if compiled else (lambda function: function)
    return (
        _inference(workload, rows, wrap) if workload.kind == "inference" else _training(workload, rows, wrap)
    )


def _inference(workload: Workload, rows: torch.Tensor, wrap: Callable) -> Callable[[int], None]:
    discriminator = _networks(workload.config())[1].eval()
    forward = wrap(lambda ids: discriminator(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)

    def run(steps: int) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                forward(rows)

    return run


def _training(workload: Workload, rows: torch.Tensor, wrap: Callable) -> Callable[[int], None]:
    config = workload.config()
    generator, discriminator = (network.train() for network in _networks(config))
    parameters = list({id(p): p for net in (generator, discriminator) for p in net.parameters()}.values())
    optimizer = torch.optim.AdamW(_decayed(generator, discriminator, config), lr=1e-4, fused=True)
    loss_of = wrap(lambda ids: _loss(generator, discriminator, ids, workload, config))
    clip = config.optimizer.clip_norm

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = loss_of(rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            loss.item()

    return run


def _loss(
    generator: ElectraForMaskedLM,
    discriminator: ElectraForPreTraining,
    ids: torch.Tensor,
    workload: Workload,
    config: Config,
) -> torch.Tensor:
    slots = max_masked(config.objective.mask_rate, ids.shape[1])
    special = (ids == workload.cls_id) | (ids == workload.sep_id)
    scores = torch.rand(ids.shape).masked_fill(special, -1.0)
    positions = scores.topk(slots, dim=1).indices
    targets = ids.gather(1, positions)
    becomes_mask = torch.rand(positions.shape) < config.objective.mask_token_probability
    masked = ids.scatter(1, positions, torch.where(becomes_mask, workload.mask_id, targets))
    real = torch.ones_like(ids)

    hidden = generator.electra(input_ids=masked, attention_mask=real)[0]
    hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
    logits = generator.generator_lm_head(generator.generator_predictions(hidden))
    masked_lm = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    with torch.no_grad():
        cumulative = logits.softmax(-1).cumsum(-1)
        drawn = torch.rand(positions.shape)[..., None] * cumulative[..., -1:]
        sampled = torch.searchsorted(cumulative, drawn, right=True)[..., 0].clamp_(max=logits.shape[-1] - 1)
        corrupted = ids.scatter(1, positions, sampled)
        labels = (corrupted != ids).float()
    found = discriminator(input_ids=corrupted, attention_mask=real).logits
    detection = functional.binary_cross_entropy_with_logits(found, labels)
    return config.objective.generator_weight * masked_lm + config.objective.discriminator_weight * detection


def _networks(config: Config) -> tuple[ElectraForMaskedLM, ElectraForPreTraining]:
    """Build generator and discriminator with one embedding layer between them."""
    sizes = network_sizes(config.model, config.generator, config.tokenizer.vocab_size)

    def settings(encoder: EncoderSizes) -> ElectraConfig:
        return ElectraConfig(
            vocab_size=sizes.vocab_size,
            embedding_size=sizes.embedding_size,
            hidden_size=encoder.hidden_size,
            num_hidden_layers=encoder.num_layers,
            num_attention_heads=encoder.num_heads,
            intermediate_size=encoder.intermediate_size,
            max_position_embeddings=sizes.max_positions,
            hidden_dropout_prob=config.model.hidden_dropout,
            attention_probs_dropout_prob=config.model.attention_dropout,
        )

    generator, discriminator = (
        ElectraForMaskedLM(settings(sizes.generator)),
        ElectraForPreTraining(settings(sizes.discriminator)),
    )
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = discriminator.electra.embeddings.word_embeddings.weight
    return generator, discriminator


def _decayed(generator: torch.nn.Module, discriminator: torch.nn.Module, config: Config) -> list[dict]:
    """Return the parameter groups of AdamW: biases and LayerNorm are not decayed."""
    named = {id(p): (name, p) for net in (generator, discriminator) for name, p in net.named_parameters()}
    plain = [p for name, p in named.values() if name.endswith("bias") or "LayerNorm" in name]
    rest = [p for name, p in named.values() if not (name.endswith("bias") or "LayerNorm" in name)]
    return [
        {"params": rest, "weight_decay": config.optimizer.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
