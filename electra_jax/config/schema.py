"""The typed, frozen configuration: every key that can be set, its type, range, default and meaning.

A field marked ``free`` may differ when a run is resumed; every other field is part of the run's identity
(the model, the data order, the mathematics) and a change is refused. ``kinds`` says which kinds of run
(``objective.kind``) read a field or a section; a value that is set for another kind of run is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import model_validator
from pydantic.fields import FieldInfo

from electra_jax.config.blocks import modern_problem
from electra_jax.config.fields import (
    FINETUNING,
    WITH_GENERATOR,
    WRITERS,
    LocalPath,
    Section,
    field,
    key_metadata,
    section,
)
from electra_jax.config.finetuning import FinetuneConfig
from electra_jax.config.generation import GenerationConfig, RefineConfig
from electra_jax.config.machines import ComputeConfig, HostsConfig, MeshConfig
from electra_jax.config.networks import GeneratorConfig, ModelConfig
from electra_jax.config.objectives import ElectraObjective, FinetuneObjective, Objective
from electra_jax.config.optimization import OptimizerConfig
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.seq2seq import decoder_problem, retrieval_problem
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.text import DataConfig, TokenizerConfig
from electra_jax.config.training import TrainConfig
from electra_jax.config.yaml_format import show


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
                "encoder in common with the discriminator: leave one of them out (a preset's with "
                "optimizer.generator.learning_rate=null)"
            )
        if self.optimizer.generator_apart and self.generator.frozen_from is not None:
            raise ValueError(
                "optimizer.generator says how the generator learns, which with generator.frozen_from it does not: "
                "leave one of them out (a preset's with optimizer.generator.learning_rate=null)"
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
            if task.retrieval is None:
                continue
            if problem := retrieval_problem(task.retrieval, self.model, self.data.sequence_length):
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
