"""Sections on the optimizer and its schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import FINETUNING, WITH_GENERATOR, Section, field, require, section


class ParameterGroup(Section):
    """How a group of parameters learns, beside the rest."""

    rate: float = field(
        1.0,
        "Factor of optimizer.learning_rate for embeddings/ and encoder/, what was pre-trained (groups.encoder), or for "
        "heads/, what reads it, such as a decoder (groups.heads); times layer_decay's. 0: this group does not learn.",
        ge=0.0,
    )
    warmup_steps: int | None = field(
        None, "Steps of linear warm-up of this group; null: as the run; 0: none.", ge=0, lt=2**31
    )


class ParameterGroups(Section):
    """What was pre-trained, and what is new."""

    encoder: ParameterGroup = ParameterGroup()
    heads: ParameterGroup = ParameterGroup()


class GeneratorOptimizer(Section):
    """The generator's own part of the optimizer; where both keys are null, both networks have one."""

    learning_rate: float | None = field(
        None,
        "Peak rate of the generator's own parameters, whose schedule is the run's; null: optimizer.learning_rate. "
        "Embeddings that both networks share go with the discriminator.",
        free=True,
        ge=0.0,
    )
    clip_norm: float | None = field(
        None,
        "Clip by the norm of the generator's own gradients; all other gradients are then clipped by their own norm. "
        "null: the same limit, if learning_rate beside it is set, else one norm over both networks.",
        gt=0.0,
    )


class OptimizerConfig(Section):
    """Optimizer and learning-rate schedule."""

    kind: Literal["electra_adam", "adamw", "stable_adamw", "muon"] = field(
        "electra_adam",
        "electra_adam: the reference's Adam without bias correction; adamw: the usual one; stable_adamw: ModernBERT's, "
        "whose updates are clipped tensor by tensor, so that clip_norm may be null; muon: orthogonalized momentum for "
        "the matrices of the layers, scaled to the size of adamw's updates, and adamw for all else.",
    )
    learning_rate: float = field(5e-4, "Peak learning rate.", free=True, ge=0.0)
    schedule: Literal["linear", "cosine", "constant", "warmup_stable_decay", "inverse_sqrt"] = field(
        "linear",
        "Shape of the decay; each is multiplied by min(1, step / warmup_steps). inverse_sqrt: after the warm-up, which "
        "it needs, sqrt(warmup_steps / step), wherever the run ends.",
        free=True,
    )
    warmup_steps: int | None = field(
        10_000,
        "Steps of linear warm-up; 0: none; null, the default in fine-tuning: finetune.warmup_fraction of all steps.",
        free=True,
        in_finetuning=None,
        ge=0,
        lt=2**31,
    )
    decay_fraction: float = field(
        0.1,
        "warmup_stable_decay only: the last share of train.steps, in which the rate falls.",
        free=True,
        gt=0.0,
        le=1.0,
    )
    decay_shape: Literal["linear", "sqrt"] = field(
        "linear",
        "warmup_stable_decay only: how it falls in that share x of the way: by x, or (sqrt) by the root of x, fast at "
        "first.",
        free=True,
    )
    decay_to: float = field(
        0.0,
        "warmup_stable_decay only: share of learning_rate that is left at the end; Ettin ends at .02.",
        free=True,
        ge=0.0,
        le=1.0,
    )
    weight_decay: float = field(
        0.01, "Decoupled weight decay; LayerNorm and biases have none.", free=True, ge=0.0
    )
    layer_decay: float = field(
        1.0,
        "Each layer's rate is that of the one above times this; the embeddings are below all layers.",
        kinds=FINETUNING,
        gt=0.0,
        le=1.0,
    )
    groups: ParameterGroups = section(ParameterGroups(), FINETUNING)
    generator: GeneratorOptimizer = section(GeneratorOptimizer(), WITH_GENERATOR)
    beta1: float = field(
        0.9,
        "Decay of the first moment, and of muon's momentum, which usually has .95.",
        free=True,
        ge=0.0,
        lt=1.0,
    )
    beta2: float = field(0.999, "Decay of the second moment.", free=True, ge=0.0, lt=1.0)
    epsilon: float = field(1e-6, "Added to the root of the second moment.", free=True, gt=0.0)
    clip_norm: float | None = field(
        1.0,
        "Global-norm clip over all gradients of both networks, or with optimizer.generator over all but its; null: "
        "none.",
        gt=0.0,
    )

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.schedule != "warmup_stable_decay":
            for key in ("decay_shape", "decay_to"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(
                        f"{key} is read with schedule warmup_stable_decay, not {self.schedule}: leave it out, or set "
                        "schedule to warmup_stable_decay"
                    )
        return self

    @property
    def generator_apart(self) -> bool:
        """Whether the generator has a rate and a clip of its own."""
        return self.generator != GeneratorOptimizer()

    @property
    def total_warmup(self) -> int:
        """Steps of warm-up, once they are known."""
        return require(self.warmup_steps, "optimizer.warmup_steps")
