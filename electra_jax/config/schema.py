"""The typed, frozen configuration: every key that can be set, its type, range, default and meaning.

A field marked ``free`` may differ when a run is resumed; every other field is part of the run's identity
(the model, the data order, the mathematics) and a change is refused. ``kinds`` says which kinds of run
(``objective.kind``) read a field or a section; a value that is set for another kind of run is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from electra_jax.config.blocks import MODERN_DEFAULTS, LocalAttentionConfig, block_problem, modern_problem
from electra_jax.config.fields import (
    FINETUNING,
    MAX_LAYERS,
    MAX_SIZE,
    PRETRAINING,
    WITH_GENERATOR,
    WRITERS,
    LocalPath,
    Section,
    SourceName,
    field,
    key_metadata,
    require,
    section,
)
from electra_jax.config.generation import GenerationConfig, RefineConfig
from electra_jax.config.seq2seq import decoder_problem
from electra_jax.config.tasks import RankingConfig, Seq2SeqConfig, Tasks
from electra_jax.config.value_schedule import ValueSchedule
from electra_jax.config.yaml_format import show


class DataConfig(Section):
    """Where text comes from and how it becomes rows of tokens."""

    source: SourceName = field(
        "embedded:python-docs",
        "Training text: embedded:python-docs, text:GLOB, or tfds:NAME[/CONFIG][:SPLIT].",
        kinds=PRETRAINING,
    )
    eval_source: SourceName | None = field(
        None,
        "Evaluation text, written as data.source; null: the held-out share of data.source.",
        kinds=PRETRAINING,
    )
    eval_fraction: float = field(
        0.01,
        "Share of the documents of data.source that is held out for evaluation.",
        ge=0.0,
        lt=0.5,
        kinds=PRETRAINING,
    )
    sequence_length: int = field(128, "Tokens in a row, special tokens included.", ge=8)
    packing: Literal["documents", "segment_pairs", "continuous"] = field(
        "documents",
        "documents: contiguous text, several documents a row, attention kept inside each; "
        "segment_pairs: the reference's [CLS] A [SEP] B [SEP] examples; continuous: for language models, as "
        "documents, with [SEP] only where a document ends, not where a row does.",
        kinds=PRETRAINING,
    )
    text_field: str = field(
        "text", "Field that holds the text, in JSON lines and in TFDS features.", kinds=PRETRAINING
    )
    document_separator: Literal["blank_line", "line", "file"] = field(
        "blank_line",
        "What ends a document in a .txt file: an empty line, every line end, or (file) the end of the file: it is one "
        "document with all its line ends and blanks, and its last eval_fraction is held out.",
        kinds=PRETRAINING,
    )
    encoding: str = field(
        "utf-8", "Encoding of text files; undecodable bytes are an error.", kinds=PRETRAINING
    )
    tfds_data_dir: LocalPath | None = field(
        None,
        "TFDS data directory; null: TFDS's own default (TFDS_DATA_DIR or ~/tensorflow_datasets).",
        free=True,
    )
    cache_dir: LocalPath = field(
        "~/.cache/electra_jax", "Where tokenizers and prepared tokens are kept, keyed by hash.", free=True
    )
    prepare_processes: int | None = field(
        None, "Processes that tokenise; null: one for each core.", free=True, ge=1, kinds=PRETRAINING
    )
    prefetch_batches: int = field(8, "Batches read ahead of the step.", free=True, ge=1, kinds=PRETRAINING)


class TokenizerConfig(Section):
    """Which tokenizer; a SentencePiece model is trained from data.source when no file is given."""

    kind: Literal["sentencepiece", "wordpiece", "characters"] = field(
        "sentencepiece",
        "sentencepiece, BERT's wordpiece, or characters: those of the training text, each a token.",
    )
    vocab_size: int | None = field(
        None,
        "Entries of the vocabulary, special tokens included. sentencepiece: how many to train (null: 30522); "
        "characters: the most frequent (null: all there are); wordpiece: if given, the file must have just as many.",
        ge=1,
        le=MAX_SIZE,
    )
    vocab_file: LocalPath | None = field(
        None,
        "wordpiece: a BERT vocab.txt (required); sentencepiece: a trained .model (null: train one); characters: a "
        "characters.json (null: those of the text).",
    )
    lowercase: bool = field(True, "Lower-case the text.")
    strip_accents: bool | None = field(
        None,
        "Remove accents (combining marks, vowel signs of many scripts among them), independently of case. null: only "
        "if vocab_file was made so: the files beside it say it, or it is BERT's English uncased vocab.txt.",
    )
    keep_newlines: bool = field(
        False,
        "Keep line ends and every blank, so that text comes back just as it was. sentencepiece: train the vocabulary "
        "so, and without folding characters (NFKC); characters: always; wordpiece: cannot.",
    )
    model_type: Literal["unigram", "bpe"] = field(
        "unigram", "sentencepiece only: the kind of model to train."
    )
    byte_fallback: bool = field(
        True, "sentencepiece only: spell characters outside the vocabulary as bytes instead of [UNK]."
    )
    character_coverage: float = field(
        0.9995,
        "sentencepiece only: share of the corpus's characters that get a piece of their own.",
        gt=0.0,
        le=1.0,
    )
    training_sentences: int = field(
        1_000_000,
        "sentencepiece only: at most this many sentences, drawn at random, train the vocabulary.",
        ge=1,
    )
    training_characters: int = field(
        20_000_000,
        "sentencepiece only: and at most this many characters, of text without blanks an eighth: what bounds the time.",
        ge=1,
    )


class ModelConfig(Section):
    """The discriminator: the encoder that is kept, fine-tuned and exported."""

    block: Literal["bert", "modern"] = field(
        "bert",
        "bert: the original's, LayerNorm after the residual, learned positions; modern: ModernBERT's, LayerNorm before "
        "attention and feed-forward, rotary positions, GeGLU, no biases, no token types. Of both networks.",
    )
    hidden_size: int = field(256, "Width of the encoder.", ge=1, le=MAX_SIZE)
    num_layers: int = field(12, "Transformer blocks.", ge=1, le=MAX_LAYERS)
    num_heads: int = field(4, "Attention heads; must divide hidden_size.", ge=1, le=MAX_SIZE)
    intermediate_size: int | None = field(
        None,
        "Width of the feed-forward layer; null: 4 x hidden_size, with block modern 8/3 x, up to a multiple of 64.",
        ge=1,
        le=MAX_SIZE,
    )
    embedding_size: int | None = field(
        None,
        "Width of the embeddings; null: hidden_size, which block modern asks for.",
        ge=1,
        le=MAX_SIZE,
    )
    max_positions: int = field(
        512,
        "The longest sequence the model can read; with block bert each position is learned.",
        ge=1,
        le=MAX_SIZE,
    )
    rope_theta: float = field(
        10_000.0,
        "block modern only: base of the wavelengths of rotary positions; larger for longer rows.",
        gt=1.0,
    )
    rope_theta_global: float | None = field(
        None, "With a window: rope_theta of the layers that are global; null: rope_theta.", gt=1.0
    )
    local_attention: LocalAttentionConfig = LocalAttentionConfig()
    type_vocab_size: int = field(2, "block bert only: token types (segments A and B).", ge=1, le=MAX_SIZE)
    hidden_dropout: float = field(
        0.1,
        "Dropout on embeddings and block outputs, both networks; 0 where block modern is set and this is not.",
        ge=0.0,
        lt=1.0,
    )
    attention_dropout: float = field(
        0.1,
        "Dropout on attention probabilities, both networks; 0 where block modern is set and this is not.",
        ge=0.0,
        lt=1.0,
    )
    initializer_range: float = field(0.02, "Standard deviation of the truncated-normal initialiser.", gt=0.0)
    attention_init: Literal["normal", "local"] = field(
        "normal",
        "Where attention starts: normal, uniform, as in the reference; local, heads look at neighbouring tokens, "
        "which spares very small models the search (an encoder as wide as its embeddings; else normal).",
    )
    layer_norm_epsilon: float = field(
        1e-12, "Epsilon of every LayerNorm; 1e-5 where block modern is set and this is not.", gt=0.0
    )
    vocab_multiple: int = field(
        128,
        "Rows of the embedding table are rounded up to a multiple of this, so that they can be sharded.",
        ge=1,
        le=MAX_SIZE,
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Fill in defaults that follow from the block."""
        if isinstance(values, Mapping) and values.get("block") == "modern":
            return {**MODERN_DEFAULTS, **values}
        return values

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}")
        if problem := block_problem(self):
            raise ValueError(problem)
        return self


class GeneratorConfig(Section):
    """The generator, as fractions of the discriminator, and what the two share."""

    size_fraction: float = field(0.25, "Generator width as a fraction of model.hidden_size.", gt=0.0, le=1.0)
    layers_fraction: float = field(1.0, "Generator depth as a fraction of model.num_layers.", gt=0.0, le=1.0)
    sharing: Literal["embeddings", "gdes", "none", "all"] = field(
        "embeddings",
        "embeddings: one embedding layer for both; gdes: the discriminator's tables are the generator's, through which "
        "its gradient does not go, and a difference of its own (DeBERTaV3; electra alone); none: the generator has its "
        "own, at its own width; "
        "all: the generator is the discriminator's encoder with another head (size_fraction must be 1).",
    )
    frozen_from: LocalPath | None = field(
        None,
        "Run whose generator, or masked language model, is taken and not trained: a work directory, or a checkpoint of "
        "one, with the same vocabulary; sharing must be none or gdes.",
        kinds=("electra",),
    )
    hidden_size: int | None = field(
        None, "Generator width; null: model.hidden_size x size_fraction, rounded.", ge=1, le=MAX_SIZE
    )
    num_layers: int | None = field(
        None, "Generator depth; null: model.num_layers x layers_fraction, rounded.", ge=1, le=MAX_LAYERS
    )
    num_heads: int | None = field(
        None, "Generator heads; null: its width / 64, at least 1, as in the reference.", ge=1, le=MAX_SIZE
    )
    intermediate_size: int | None = field(
        None,
        "Width of the generator's feed-forward layer; null: from its width, as model.intermediate_size.",
        ge=1,
        le=MAX_SIZE,
    )
    embedding_size: int | None = field(
        None,
        "Width of the generator's own embeddings, with sharing 'none' only; null: its width, as in the reference.",
        ge=1,
        le=MAX_SIZE,
    )

    @model_validator(mode="after")
    def _check(self) -> GeneratorConfig:
        sizes = ("hidden_size", "num_layers", "num_heads", "intermediate_size")
        if self.sharing == "all":
            if self.size_fraction != 1.0 or self.layers_fraction != 1.0:
                raise ValueError(
                    "sharing 'all' makes both networks one: size_fraction and layers_fraction must be 1.0"
                )
            if given := [name for name in sizes if getattr(self, name) is not None]:
                raise ValueError(
                    f"sharing 'all' makes both networks one: {', '.join(given)} must be null, as model.* decides"
                )
        if self.frozen_from is not None and self.sharing not in ("none", "gdes"):
            raise ValueError(
                f"frozen_from does not go with sharing {self.sharing!r}, where training the discriminator would change "
                "the generator: set sharing to none or gdes"
            )
        if self.embedding_size is not None and self.sharing != "none":
            raise ValueError(
                f"sharing {self.sharing!r} gives the generator no embeddings of its own: embedding_size must be null"
            )
        return self


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
    )
    from_scratch: bool = field(
        False,
        "Take sizes and vocabulary of init_from, but not its parameters: the baseline of no pre-training.",
    )
    head_style: Literal["reference", "huggingface"] = field(
        "reference", "Heads as the original has them, or as Hugging Face, which can be exported."
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
        return self


class ParameterGroup(Section):
    """How a group of parameters learns, beside the rest."""

    rate: float = field(
        1.0,
        "Factor of optimizer.learning_rate for embeddings/ and encoder/, what was pre-trained (groups.encoder), or for "
        "heads/, what reads it, such as a decoder (groups.heads); times layer_decay's. 0: this group does not learn.",
        ge=0.0,
    )
    warmup_steps: int | None = field(
        None, "Steps of linear warm-up of this group; null: as the run; 0: none.", ge=0
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
        "Clip by the norm of the generator's own gradients; all else is then clipped by its. null: the same limit, "
        "if learning_rate beside it is set, else one norm over both networks.",
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


class TrainConfig(Section):
    """The loop."""

    steps: int | None = field(
        1_000_000,
        "Optimizer updates in the whole run; the schedule ends here. null, the default in fine-tuning: from "
        "finetune.epochs.",
        free=True,
        in_finetuning=None,
        ge=1,
    )
    batch_size: int = field(128, "Rows in a batch, over all devices and hosts.", ge=1)
    accumulation_steps: int = field(
        1, "Microbatches a batch is cut into; the gradient is that of the whole batch.", free=True, ge=1
    )
    log_every: int = field(100, "Steps between train lines in metrics.jsonl.", free=True, ge=1)
    eval_every: int | None = field(
        10_000,
        "Steps between held-out evaluations; there is always one at the end. null, the default in fine-tuning: after "
        "every pass over the examples.",
        free=True,
        in_finetuning=None,
        ge=1,
    )
    eval_batches: int | None = field(
        64,
        "Batches in an evaluation while training; null: all. The last evaluation uses all.",
        free=True,
        kinds=PRETRAINING,
        ge=1,
    )
    checkpoint_every: int = field(1_000, "Steps between checkpoints.", free=True, ge=1)
    checkpoint_minutes: float | None = field(
        10.0,
        "Minutes after which there is a checkpoint in any case; null: by steps alone.",
        free=True,
        gt=0.0,
    )
    keep_checkpoints: int = field(
        2, "Newest checkpoints kept; in fine-tuning 1 where it is not set.", free=True, in_finetuning=1, ge=1
    )
    keep_every: int | None = field(
        None, "Checkpoints at multiples of this step are kept for good.", free=True, ge=1
    )
    show_examples: int = field(
        4,
        "Held-out sentences shown with their replaced tokens when training ends; 0: none.",
        free=True,
        kinds=PRETRAINING,
        ge=0,
    )
    profile_steps: str | None = field(
        None,
        "FIRST:LAST, steps (both included) of which a trace is written to WORKDIR/profile; null: none.",
        free=True,
    )

    @property
    def total_steps(self) -> int:
        """Updates in the whole run, once they are known."""
        return require(self.steps, "train.steps")

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations, once they are known."""
        return require(self.eval_every, "train.eval_every")

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.profile_steps is not None:
            found = re.fullmatch(r"([0-9]+):([0-9]+)", self.profile_steps)
            if found is None or not 1 <= int(found[1]) <= int(found[2]):
                raise ValueError(
                    f"profile_steps is {self.profile_steps!r}, but must be FIRST:LAST, two steps from 1 in their "
                    "order, such as 10:20"
                )
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by "
                f"accumulation_steps {self.accumulation_steps}"
            )
        return self


class ComputeConfig(Section):
    """How the same mathematics is carried out."""

    dtype: Literal["float32", "bfloat16"] = field(
        "float32",
        "Type of activations and products; parameters, softmax, LayerNorm and losses stay float32.",
        free=True,
    )
    scan_layers: bool | None = field(
        None,
        "Compile one layer and loop over it: the time to compile and the memory of one layer, a few per cent slower. "
        "null: on CPUs from 6 layers on.",
        free=True,
    )
    remat: Literal["none", "dots", "full"] = field(
        "none",
        "What is recomputed in the backward pass: nothing, all but matrix products, or whole layers.",
        free=True,
    )
    attention: Literal["auto", "xla", "blocked", "cudnn", "splash"] = field(
        "auto",
        "xla: plain array operations; blocked: the same in memory linear in the length; cudnn: fused, NVIDIA GPUs; "
        "splash: fused, TPUs; auto: the fused one where it can do what is asked, else xla, above 1,024 tokens (on TPUs "
        "from 512) blocked.",
        free=True,
    )
    compilation_cache: LocalPath | None = field(
        "auto",
        "Directory where compiled programs are kept for the next start, apart by version and processor, 2 GB at most; "
        "auto: compiled/ in data.cache_dir, or where JAX_COMPILATION_CACHE_DIR says; null: none.",
        free=True,
    )
    keep_memory: bool = field(
        True,
        "On CPU, keep the memory that a step of training or evaluation frees, for the next one: a sixth less time, up "
        "to twice the memory. Linux only.",
        free=True,
    )


class MeshConfig(Section):
    """Devices along each axis of the mesh; their product is the number of devices."""

    data: int = field(
        -1, "Replicas that split the batch; -1: all devices the other axes leave.", free=True, ge=-1
    )
    fsdp: int = field(1, "Devices that split the batch and shard the parameters.", free=True, ge=1)
    tensor: int = field(1, "Devices that split heads, feed-forward and vocabulary.", free=True, ge=1)
    dcn_data: int = field(
        -1,
        "Slices (parts of the machine joined by a slower network) that split the axis data, which counts those of all; "
        "-1: as many as the devices say they are; 1: take no account of slices.",
        free=True,
        ge=-1,
    )

    @model_validator(mode="after")
    def _check(self) -> MeshConfig:
        if self.data == 0:
            raise ValueError("data must be -1 (all the devices left) or at least 1")
        if self.dcn_data == 0:
            raise ValueError("dcn_data must be -1 (as many as there are slices) or at least 1")
        return self


class HostsConfig(Section):
    """Several processes, on as many hosts or not, as one run."""

    join: Literal["auto", "on", "off"] = field(
        "auto",
        "auto: join the others where these keys, JAX_COORDINATOR_ADDRESS and the like, Slurm or a TPU pod say that "
        "there are any; on: always; off: never. Hosts that do not meet are an error.",
        free=True,
    )
    coordinator: str | None = field(
        None, "ADDRESS:PORT of host 0; null: JAX_COORDINATOR_ADDRESS, or what the cluster says.", free=True
    )
    num_processes: int | None = field(
        None, "Processes in the run; null: JAX_NUM_PROCESSES, or what the cluster says.", free=True, ge=1
    )
    process_id: int | None = field(
        None,
        "Number of this process, from 0; null: JAX_PROCESS_ID, JOB_COMPLETION_INDEX, or what the cluster says.",
        free=True,
        ge=0,
    )
    join_timeout: int = field(300, "Seconds to wait for all hosts at the start.", free=True, ge=1)
    prepare_timeout: int = field(
        86_400,
        "Seconds that hosts wait for each other while tokenizer and text are prepared.",
        free=True,
        kinds=PRETRAINING,
        ge=1,
    )
    heartbeat_timeout: int = field(
        60,
        "Seconds without a sign of life after which a host counts as lost and the others stop.",
        free=True,
        ge=1,
    )


class Config(Section):
    """A whole run."""

    seed: int = field(
        0, "Seed of the initialisation, data order, masking, sampling and dropout.", ge=0, lt=2**31
    )
    init_from: LocalPath | None = field(
        None,
        "Start from the parameters in this work directory (of a fine-tuning: of its best seed), or in a checkpoint "
        "of one, optimizer fresh.",
    )
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    generator: GeneratorConfig = section(GeneratorConfig(), WITH_GENERATOR)
    objective: Objective = ElectraObjective()
    finetune: FinetuneConfig = section(FinetuneConfig(), FINETUNING)
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    generation: GenerationConfig = section(GenerationConfig(), WRITERS)
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig = MeshConfig()
    hosts: HostsConfig = HostsConfig()

    @property
    def kind_of_run(self) -> str:
        """``objective.kind``, which decides what is read of the rest."""
        return self.objective.kind

    @property
    def finetuning(self) -> bool:
        """Whether a pre-trained encoder learns tasks; else networks are pre-trained on text."""
        return isinstance(self.objective, FinetuneObjective)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Fill in defaults that follow from other keys.

        They follow from the kind of run, and in fine-tuning from what sets its length.
        """
        if not isinstance(values, dict):
            return values
        objective = values.get("objective", {})
        if isinstance(objective, dict) and "kind" not in objective:
            values = {**values, "objective": {"kind": "electra", **objective}}
        if kind_of_run(values) == "causal_lm":
            return _with_default(values, "data", "packing", "continuous")
        if kind_of_run(values) not in FINETUNING:
            return values
        for name, of in cls.model_fields.items():
            for key, default in _finetuning_defaults(of).items():
                values = _with_default(values, name, key, default)
        for (name, key), (other, instead) in ALTERNATIVES:
            if _given(values, name, key) is not None:
                values = _with_default(values, other, instead, None)
        return values

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.finetune.tasks and self.objective.kind != "finetune":
            raise ValueError(
                f"finetune.tasks names {', '.join(self.finetune.tasks)}, but objective.kind is {self.objective.kind}: "
                "set it to finetune"
            )
        if ignored := self._ignored():
            raise ValueError(ignored)
        if problem := self._problem_of_writers() or self._problem_of_rankers() or modern_problem(self):
            raise ValueError(problem)
        if problem := self._length_of_training() or self._missing_warmup():
            raise ValueError(problem)
        if self.data.sequence_length > self.model.max_positions:
            raise ValueError(
                f"data.sequence_length {self.data.sequence_length} is above "
                f"model.max_positions {self.model.max_positions}"
            )
        if self.objective.kind == "electric" and self.generator.sharing != "embeddings":
            raise ValueError(
                f"generator.sharing {self.generator.sharing!r} does not go with objective.kind=electric, whose two "
                "generator towers share the embeddings: set it to embeddings"
            )
        if self.optimizer.generator_apart and self.generator.sharing == "all":
            raise ValueError(
                "optimizer.generator sets the generator's parameters apart, but with generator.sharing=all it has its "
                "encoder in common with the discriminator: leave one of them out"
            )
        if self.optimizer.generator_apart and self.generator.frozen_from is not None:
            raise ValueError(
                "optimizer.generator says how the generator learns, which with generator.frozen_from it does not: "
                "leave one of them out"
            )
        width, heads = self.generator.hidden_size, self.generator.num_heads
        if heads is not None:
            width = width or max(1, round(self.model.hidden_size * self.generator.size_fraction))
            if width % heads:
                raise ValueError(
                    f"the generator's width {width} is not divisible by generator.num_heads {heads}"
                )
        bert = self.model.block == "bert"
        if self.data.packing == "segment_pairs" and bert and self.model.type_vocab_size < 2:
            raise ValueError("data.packing=segment_pairs needs model.type_vocab_size of at least 2")
        if self.objective.kind == "causal_lm" and self.data.packing != "continuous":
            raise ValueError(
                f"data.packing {self.data.packing!r} does not go with objective.kind=causal_lm, which would learn to "
                "stop where a row does: set it to continuous"
            )
        if self.tokenizer.kind == "wordpiece" and self.tokenizer.vocab_file is None:
            raise ValueError(
                "tokenizer.kind=wordpiece needs tokenizer.vocab_file, the path of a BERT vocab.txt"
            )
        if self.tokenizer.kind == "wordpiece" and self.tokenizer.keep_newlines:
            raise ValueError(
                "tokenizer.keep_newlines=true does not go with tokenizer.kind=wordpiece, which cuts text at white "
                "space: leave it out, or set tokenizer.kind to sentencepiece or characters"
            )
        return self

    def _problem_of_rankers(self) -> str | None:
        """Return a sentence on a batch that has no negatives for all of its rows; None if it has."""
        for name, task in self.finetune.tasks.items():
            if not isinstance(task, RankingConfig) or not task.negatives_of_batch:
                continue
            if self.train.accumulation_steps > 1:
                return (
                    f"finetune.tasks.{name} takes its negatives from the batch, which train.accumulation_steps="
                    f"{self.train.accumulation_steps} would cut into pieces: set it to 1, or negatives_from to drawn"
                )
            if self.train.batch_size < 2:
                return (
                    f"finetune.tasks.{name} takes its negatives from the batch, of which train.batch_size=1 has none: "
                    "raise it, or set negatives_from to drawn"
                )
        return None

    def _problem_of_writers(self) -> str | None:
        """Return a sentence on what does not go together in fine-tuning that writes; None if all does."""
        writers = {
            name: task for name, task in self.finetune.tasks.items() if isinstance(task, Seq2SeqConfig)
        }
        # Sizes that come from a checkpoint are not known yet; with them all this is checked again.
        sizes = {"hidden_size", "num_layers", "num_heads", "max_positions"}
        known = self.init_from is None or sizes <= self.model.model_fields_set
        for name, task in writers.items() if known else ():
            if problem := decoder_problem(task.decoder, self.model, task.max_target_tokens):
                return f"finetune.tasks.{name}: {problem}"
        if self.finetuning and not writers:
            set_ = [key for key, _ in _keys_that_were_set(self.generation, "generation", ())]
            return (
                f"no task of kind seq2seq reads {', '.join(set_)}: leave out what is not read"
                if set_
                else None
            )
        if self.finetuning and self.generation.method == "refine":
            return (
                "generation.method=refine needs a generator and a discriminator, not a decoder: leave it out"
            )
        if self.finetuning and self.generation.refine != RefineConfig():
            set_ = [key for key, _ in _keys_that_were_set(self.generation.refine, "generation.refine", ())]
            return f"a decoder does not read {', '.join(set_)}: leave out what is not read"
        return None

    def _ignored(self) -> str | None:
        """Name, in a sentence, a key or section that is set but not read by this kind of run; None if none is."""
        kind = self.objective.kind
        readers: dict[tuple[str, ...], list[str]] = {}
        for name, of in Config.model_fields.items():
            values = getattr(self, name)
            if name == "objective" or not isinstance(values, Section):
                continue  # the objective's keys are those of its kind already
            for key, kinds in _keys_that_were_set(values, name, key_metadata(of).get("kinds") or ()):
                if kinds and kind not in kinds:
                    readers.setdefault(kinds, []).append(key)
        if not readers:
            return None
        parts = (f"{', '.join(keys)} (read with {'|'.join(kinds)})" for kinds, keys in readers.items())
        return f"objective.kind={kind} does not read {' and '.join(parts)}: leave out what is not read"

    def _length_of_training(self) -> str | None:
        """Return a sentence on what is wrong with how steps, warm-up and evaluations are given; None if nothing is."""
        settings = {name: getattr(self, name) for name in ("train", "optimizer", "finetune")}
        if self.objective.kind not in FINETUNING:
            nulls = (("train", "steps"), ("optimizer", "warmup_steps"), ("train", "eval_every"))
            missing = [f"{name}.{key}" for name, key in nulls if getattr(settings[name], key) is None]
            why = "a valid integer, since only fine-tuning takes it from its examples"
            return "; ".join(f"{key} is null, but must be {why}" for key in missing) or None
        for (name, key), (other, instead) in ALTERNATIVES:
            value, share = getattr(settings[name], key), getattr(settings[other], instead)
            both = f"{name}.{key} ({show(value)}) and {other}.{instead} ({show(share)})"
            if value is not None and share is not None:
                return f"{both} say the same, each in its way: leave one of them out"
            if value is None and share is None:
                return f"{both} are both null, so what they say is not known: set one of them"
        return None

    def _missing_warmup(self) -> str | None:
        """Return a sentence on a warm-up of 0 that the schedule cannot do without; None if there is none."""
        if self.optimizer.schedule != "inverse_sqrt":
            return None
        given = {
            "optimizer.warmup_steps": self.optimizer.warmup_steps,
            "finetune.warmup_fraction": self.finetune.warmup_fraction,
            "optimizer.groups.encoder.warmup_steps": self.optimizer.groups.encoder.warmup_steps,
            "optimizer.groups.heads.warmup_steps": self.optimizer.groups.heads.warmup_steps,
        }
        zero = [key for key, value in given.items() if value == 0]
        if not zero:
            return None
        return (
            f"optimizer.schedule=inverse_sqrt has its peak at the end of the warm-up, so it needs one, but "
            f"{' and '.join(zero)} {'is' if len(zero) == 1 else 'are'} 0: set it above 0, or choose another schedule"
        )


# In fine-tuning either the first or the second is given: steps, or how they follow from the examples.
ALTERNATIVES = (
    (("train", "steps"), ("finetune", "epochs")),
    (("optimizer", "warmup_steps"), ("finetune", "warmup_fraction")),
)


def _keys_that_were_set(
    values: Section, name: str, kinds: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the dotted keys of a section that have another value than their default, and the kinds that read each."""
    for key, of in type(values).model_fields.items():
        value = getattr(values, key)
        readers = key_metadata(of).get("kinds") or kinds
        if isinstance(value, Section):
            yield from _keys_that_were_set(value, f"{name}.{key}", readers)
        elif key in values.model_fields_set and value != of.default:
            yield f"{name}.{key}", readers


def kind_of_run(values: Mapping[str, Any]) -> str:
    """Return ``objective.kind`` of plain values; the default where it is not given."""
    objective = values.get("objective")
    kind = objective.get("kind") if isinstance(objective, Mapping) else getattr(objective, "kind", None)
    return kind if isinstance(kind, str) else "electra"


def _finetuning_defaults(of: FieldInfo) -> dict[str, Any]:
    """Return, by key, those defaults of a section that are others in fine-tuning."""
    if not (isinstance(of.annotation, type) and issubclass(of.annotation, Section)):
        return {}
    noted = {key: key_metadata(key_field) for key, key_field in of.annotation.model_fields.items()}
    return {key: extra["in_finetuning"] for key, extra in noted.items() if "in_finetuning" in extra}


def _given(values: Mapping[str, Any], name: str, key: str) -> Any:
    given = values.get(name)
    return given.get(key) if isinstance(given, Mapping) else getattr(given, key, None)


def _with_default(values: dict[str, Any], name: str, key: str, default: Any) -> dict[str, Any]:
    """Return plain values, or values with sections in them, with a key set where it was not."""
    given = values.get(name, {})
    if isinstance(given, Section) and key not in given.model_fields_set:
        return {**values, name: given.model_copy(update={key: default})}
    if isinstance(given, Mapping) and key not in given:
        return {**values, name: {**given, key: default}}
    return values
