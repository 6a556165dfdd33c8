"""Sections on what is learned: one for each kind of run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from electra_jax.config.fields import Section, field
from electra_jax.config.value_schedule import ValueSchedule


class MaskingConfig(Section):
    """What every masked-language objective has in common."""

    mask_rate: float = field(0.15, "Share of a row's real tokens that is chosen.", gt=0.0, lt=1.0)
    mask_token_probability: float = field(
        0.85,
        "Probability that a chosen token becomes [MASK]; otherwise it is kept, and predicted all the same.",
        ge=0.0,
        le=1.0,
    )
    reference_quirks: bool = field(
        False,
        "Reproduce the original's quirks: positions drawn with replacement, padding counted in disc_auc; replacements "
        "sampled by Gumbel noise as it does (the same distribution, slower); electric: towers rolled around the row.",
    )


class DrawnRateConfig(MaskingConfig):
    """Masked-language objectives whose rate may change, or be drawn for each row: masked diffusion."""

    mask_rate_schedule: ValueSchedule = ValueSchedule()

    mask_rate_high: float | None = field(
        None,
        "Draw the share of each row uniformly between mask_rate and this, and weight its tokens by 1 / share; null: "
        "mask_rate for all. From near 0 to 1, with mask_token_probability 1, masked_lm_loss is the bound of masked "
        "diffusion on the text's -log p a token.",
        gt=0.0,
        le=1.0,
    )

    @model_validator(mode="after")
    def _check_rates(self) -> DrawnRateConfig:
        if self.mask_rate_schedule.to is not None:
            if self.mask_rate_schedule.to >= 1.0:
                raise ValueError(
                    f"mask_rate_schedule.to is {self.mask_rate_schedule.to}, but must be a share below 1, as mask_rate"
                )
            if self.mask_rate_high is not None:
                raise ValueError(
                    "mask_rate_schedule does not go with mask_rate_high, which draws a rate for each row: leave one "
                    "of them out"
                )
        if self.mask_rate_high is None:
            return self
        if self.mask_rate_high <= self.mask_rate:
            raise ValueError(
                f"mask_rate_high {self.mask_rate_high} must be above mask_rate {self.mask_rate}: rates are drawn "
                "between them (null: mask_rate for all)"
            )
        if self.reference_quirks:
            raise ValueError(
                "mask_rate_high does not go with reference_quirks, since the original has one rate: leave one of "
                "them out"
            )
        return self


class ElectraObjective(DrawnRateConfig):
    """Replaced-token detection (Clark et al. 2020)."""

    kind: Literal["electra"] = field("electra", "Replaced-token detection.")
    generator_weight: float = field(1.0, "Weight of masked_lm_loss in the total.", ge=0.0)
    discriminator_weight: float = field(50.0, "Weight of disc_loss in the total.", ge=0.0)
    temperature: float = field(1.0, "Softmax temperature when replacements are sampled.", gt=0.0)
    temperature_schedule: ValueSchedule = ValueSchedule()
    disallow_correct: bool = field(False, "Never sample the original token as its own replacement.")


class MaskedLMObjective(DrawnRateConfig):
    """Plain masked-language modelling with the discriminator-sized encoder, ELECTRA's own baseline."""

    kind: Literal["masked_lm"] = field("masked_lm", "Masked-language modelling; no discriminator.")


class ElectricObjective(MaskingConfig):
    """Energy-based cloze modelling (Clark et al., EMNLP 2020); replacements come from the cloze model as it is."""

    kind: Literal["electric"] = field("electric", "Energy-based cloze modelling; two generator towers.")
    generator_weight: float = field(1.0, "Weight of cloze_loss in the total.", ge=0.0)
    discriminator_weight: float = field(50.0, "Weight of disc_loss in the total.", ge=0.0)

    @model_validator(mode="after")
    def _check(self) -> ElectricObjective:
        if self.mask_token_probability != MaskingConfig().mask_token_probability:
            raise ValueError(
                "mask_token_probability has no meaning with kind 'electric', whose generator reads unmasked text: "
                "leave it out"
            )
        return self


class CausalLMObjective(Section):
    """Causal language modelling: the next token, left to right; a model that writes."""

    kind: Literal["causal_lm"] = field("causal_lm", "Causal language modelling; one network.")


class FinetuneObjective(Section):
    """Fine-tuning on the tasks of ``finetune.tasks``."""

    kind: Literal["finetune"] = field("finetune", "Fine-tuning on finetune.tasks.")


Objective = Annotated[
    ElectraObjective | MaskedLMObjective | ElectricObjective | CausalLMObjective | FinetuneObjective,
    Field(discriminator="kind"),
]
