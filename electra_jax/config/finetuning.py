"""The section on fine-tuning: tasks, and how they are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import Section, field
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.tasks import Tasks


class FinetuneConfig(Section):
    """Fine-tuning, its tasks and recipe (google-research/electra, configure_finetuning.py), with kind finetune."""

    tasks: Tasks = field({}, "Tasks by name; several are trained at once, a head each.")
    epochs: float | None = field(
        3.0, "Passes over the training examples; null: train.steps says how long it trains.", gt=0.0
    )
    warmup_fraction: float | None = field(
        0.1, "Share of the steps that warm up; null: optimizer.warmup_steps says it.", ge=0.0, le=1.0
    )
    seeds: int = field(1, "Runs that differ in their seed: seed, seed + 1, ...", free=True, ge=1)
    select: Literal["last", "best", "average"] = field(
        "last",
        "Which parameters are kept: those of the end, as in the reference, of the best dev metric, or the mean of "
        "those at the last evaluations (average_last).",
    )
    average_last: int = field(
        5,
        "select=average: evaluations whose parameters are averaged, as fairseq averages checkpoints; of fewer, all "
        "there were. Until a seed ends they lie in seed-N/recent, this many times 4 bytes a parameter; then their mean "
        "alone is left.",
        ge=1,
    )
    freeze_encoder_steps: int = field(
        0,
        "Updates, from the first on, that leave embeddings/ and encoder/ as they are (no weight decay either), while "
        "the heads learn. Their gradients are clipped with the rest and averaged in Adam's moments all the same, and "
        "the schedule goes on, so that they set off with estimates that have settled.",
        ge=0,
        lt=2**31,
    )
    from_scratch: bool = field(
        False,
        "Take sizes and vocabulary of init_from, but not its parameters: the baseline of no pre-training.",
    )
    first_layers: int | None = field(
        None,
        "Layers of init_from that are taken, the first ones: the last of a discriminator are the worst for vectors of "
        "texts; null: all.",
        ge=1,
    )
    head_style: Literal["reference", "huggingface"] = field(
        "reference",
        "reference: the original's heads, of which with model.block=bert all but those for questions can be exported; "
        "huggingface: Hugging Face's, which can be: ELECTRA's, or with model.block=modern ModernBERT's; that for "
        "questions is as with joint and answerable false, whatever they are.",
    )
    head_dropout: float = field(0.1, "Dropout in the heads.", ge=0.0, lt=1.0)
    batch_tokens: int | None = field(
        None,
        "Tokens of a batch, padding included (of seq2seq source and target together): rows of each length are as many "
        "as fit, a multiple of train.batch_size and never fewer; null: train.batch_size rows.",
        ge=1,
        lt=2**31,
    )
    length_buckets: list[int] = field(
        [32, 64, 96, 128, 192, 256, 384, 512],
        "Lengths that rows are filled up to; one program is compiled for each that occurs.",
    )
    reference_quirks: bool = field(
        False,
        "Reproduce the original: the loss is summed over the batch, and the top layer's rate is decayed twice.",
    )

    @model_validator(mode="after")
    def _check(self) -> FinetuneConfig:
        if not self.length_buckets or sorted(set(self.length_buckets)) != self.length_buckets:
            raise ValueError("length_buckets must be increasing lengths")
        if self.select != "average" and self.average_last != type(self).model_fields["average_last"].default:
            raise ValueError(
                f"average_last is {self.average_last}, but select={self.select} averages nothing: set select to "
                "average, or leave average_last out"
            )
        if self.first_layers is not None:
            if self.from_scratch:
                raise ValueError(
                    "first_layers are taken from init_from, but from_scratch takes no parameters: set model.num_layers"
                )
            for name, task in self.tasks.items():
                if isinstance(task, Seq2SeqConfig) and task.decoder.init == "encoder":
                    raise ValueError(
                        f"the decoder of {name} starts from the encoder's layers, all of them, so first_layers must be "
                        "left out, or decoder.init be random or generator"
                    )
        return self
