"""The section of a task that writes: a translation, a summary, a reply."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.fields import field
from electra_jax.config.seq2seq import DecoderConfig, ParallelFiles, RetrievalConfig
from electra_jax.config.task import KIND, TaskConfig
from electra_jax.config.yaml_format import show


class Seq2SeqConfig(TaskConfig):
    """What text a decoder writes for a text: a translation, a summary, a headline."""

    kind: Literal["seq2seq"] = field("seq2seq", KIND)
    conversations: ConversationsConfig | None = None
    retrieval: RetrievalConfig | None = None
    source: str | None = field(None, "Column of the text that is read.")
    target: str | list[str] | None = field(
        None,
        "Column of the text to write, one text or a list of them; several columns have several references.",
    )
    prefix: str = field("", "Put before every source text, such as 'summarize: '.")
    max_target_tokens: int | None = field(
        None,
        "Longer targets are cut in training, [SEP] included; null: model.max_positions.",
        ge=2,
        lt=2**31,
    )
    long: Literal["truncate", "chunks", "error"] = field(
        "truncate",
        "Sources above data.sequence_length: cut; or read chunk by chunk, a text being written for each (training "
        "reads the first); or refused.",
    )
    label_smoothing: float = field(
        0.1, "Share of the target's probability that is spread over the vocabulary.", ge=0.0, lt=1.0
    )
    unlikelihood: float = field(
        0.0,
        "Weight of the loss against tokens that the target has had before (Welleck et al. 2020); 0: none.",
        ge=0.0,
    )
    word_dropout: float = field(
        0.0, "Share of the tokens that the decoder reads in training that become [MASK].", ge=0.0, lt=1.0
    )
    metrics: list[str] | None = field(
        None,
        "What is measured of the texts; null: bleu and chrf, or rouge1, rouge2 and rougeL if metric is one of those.",
        free=True,
        affects_score=True,
    )
    language: str = field(
        "en",
        "Language of the targets, by which bleu_tokenized_lowercase tokenises: a code such as de.",
        free=True,
        affects_score=True,
        min_length=2,
    )
    decoder: DecoderConfig = DecoderConfig()

    @model_validator(mode="after")
    def _check(self) -> Seq2SeqConfig:
        if self.data is not None:
            raise ValueError(
                "data is for benchmarks and TFDS, where no texts to write are read: give train and dev"
            )
        if not re.fullmatch("[a-z]{2,3}", self.language):
            raise ValueError(f"language {show(self.language, 40)} is no code of a language, such as en or de")
        if self.unlikelihood and self.decoder.copy_mechanism:
            raise ValueError(
                "unlikelihood is against repeats out of the vocabulary alone, and a decoder with copy_mechanism "
                "repeats what it takes from the source too: set one of them to its default"
            )
        for given, problem in (
            (self.conversations, self._problem_with_conversations),
            (self.retrieval, self._problem_with_retrieval),
        ):
            if given is not None and (found := problem()):
                raise ValueError(found)
        return self

    def _problem_with_conversations(self) -> str | None:
        for key in ("source", "target", "prefix"):
            if getattr(self, key):
                return f"{key} is not read with conversations, where each turn follows those before it: leave it out"
        if self.long == "chunks":
            return (
                "long chunks is not for conversations, of which the last turns are read: set it to truncate"
            )
        for split in ("train", "dev", "test"):
            if isinstance(getattr(self, split), ParallelFiles):
                return f"{split} has two files of parallel lines, which are no conversations: name one file"
        return None

    def _problem_with_retrieval(self) -> str | None:
        if self.long == "chunks":
            return "long chunks is not for retrieval, where a source is read once: set it to truncate"
        for split in ("train", "dev", "test"):
            if isinstance(getattr(self, split), ParallelFiles):
                return f"{split} has two files of parallel lines, which hold nothing retrieved: name one file"
        return None
