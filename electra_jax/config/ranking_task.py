"""The section of a task that ranks: what follows a context, or is alike."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.fields import field
from electra_jax.config.task import KIND, POOLING, Pooling, TaskConfig


class RankingConfig(TaskConfig):
    """Which of many candidates follows a context, or is alike."""

    kind: Literal["ranking"] = field("ranking", KIND)
    conversations: ConversationsConfig | None = None
    distractors: int | None = field(
        None,
        "With conversations: so many replies of others, drawn once, stand beside each reply of dev and test; null: 19.",
        ge=1,
    )
    encoder: Literal["bi", "poly", "cross"] = field(
        "bi",
        "bi: a vector for the context, one for each candidate; poly: several for the context; cross: context and "
        "candidate are read together, which is the slowest.",
    )
    codes: int | None = field(None, "poly: vectors of a context, such as 16, 64 or 360; null: 64.", ge=1)
    context: str | None = field(None, "Column of the context; null: context.")
    response: str | None = field(None, "Column of the right candidate; null: response.")
    negatives: str | None = field(
        None, "Column of a list of wrong candidates, beside response; null: negatives."
    )
    candidates: str | None = field(
        None, "Column of a list of candidates, where there is no response; null: candidates."
    )
    label: str | None = field(
        None, "Column of the right one of candidates: its number from 0, or a list of numbers; null: label."
    )
    positives_from: Literal["file", "dropout"] = field(
        "file",
        "What is right in training: file: the response; dropout (bi): the text itself, read twice with other dropout "
        "(SimCSE), out of plain text (.txt), a text a line, or a column.",
    )
    negatives_from: Literal["batch", "file", "drawn"] | None = field(
        None,
        "What is trained against: batch: the candidates of all rows of the batch, and the file's; file: those of the "
        "file; drawn: where the file has fewer than negatives_per_example, responses of other examples, too; null: "
        "batch, for cross drawn.",
    )
    negatives_per_example: int | None = field(
        None, "Negatives of an example's own, at most; null: all of the file; where they are drawn 15.", ge=0
    )
    max_candidate_tokens: int = field(
        72, "bi and poly: longer candidates are cut at their end, [CLS] and [SEP] included.", ge=3
    )
    pooling: Pooling = field(None, POOLING)
    similarity: Literal["dot", "cosine"] = field("dot", "bi and poly: how two vectors are compared.")
    scale: float | None = field(
        None,
        "bi and poly: what scores are multiplied by at the start, 1 / temperature; it is learned. null: one over the "
        "square root of the width, for cosine 20.",
        gt=0.0,
    )
    temperature: float | None = field(
        None,
        "bi and poly: what scores are divided by in place of a scale that is learned; it stays as it is.",
        gt=0.0,
    )

    @property
    def number_of_codes(self) -> int:
        """Vectors of a context that are learned; 0 where its pooled states are one."""
        return (self.codes or 64) if self.encoder == "poly" else 0

    @property
    def negatives_of_batch(self) -> bool:
        """Whether the candidates of other rows of the batch are negatives."""
        return self.encoder != "cross" and self.negatives_from in (None, "batch")

    @property
    def has_scored_pairs(self) -> bool:
        """Whether dev and test have pairs of texts with how alike they are, and not candidates."""
        return self.metric in ("spearman", "pearson")

    @property
    def names_columns(self) -> bool:
        """Whether a column is named but that of the identifier, so that files are of no published layout."""
        names = (self.context, self.response, self.negatives, self.candidates, self.label)
        return any(name is not None for name in names)

    @model_validator(mode="after")
    def _check(self) -> RankingConfig:
        if self.data is not None:
            raise ValueError(
                "data is for benchmarks and TFDS, where no candidates are read: give train and dev"
            )
        if self.codes is not None and self.encoder != "poly":
            raise ValueError(f"codes is for encoder poly, not {self.encoder}: leave it out")
        if self.similarity == "cosine" and self.encoder == "cross":
            raise ValueError(
                "similarity cosine is for encoders bi and poly, not cross, which has no vectors: leave it out"
            )
        if self.encoder == "cross" and self.negatives_from == "batch":
            raise ValueError(
                "negatives_from batch is for encoders bi and poly: cross reads each candidate with its context, so set "
                "it to file or drawn"
            )
        if self.positives_from == "dropout":
            if self.encoder != "bi":
                raise ValueError(
                    f"positives_from dropout is for encoder bi, not {self.encoder}: set it to file"
                )
            if not self.negatives_of_batch:
                raise ValueError(
                    f"positives_from dropout reads texts alone, whose negatives are others of the batch: leave "
                    f"negatives_from {self.negatives_from} out"
                )
        if self.temperature is not None and self.scale is not None:
            raise ValueError(
                "temperature is 1 / scale, but stays as it is, while scale is learned: leave one out"
            )
        if problem := self._problem_with_conversations():
            raise ValueError(problem)
        for key in ("max_candidate_tokens", "scale", "temperature") if self.encoder == "cross" else ():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is for encoders bi and poly, not cross: leave it out")
        return self

    def _problem_with_conversations(self) -> str | None:
        if self.conversations is None:
            wrong = "distractors is for conversations, whose files name no candidates: leave it out"
            return None if self.distractors is None else wrong
        for key in ("context", "response", "negatives", "candidates", "label"):
            if getattr(self, key) is not None:
                return f"{key} is not read with conversations, where each turn follows those before it: leave it out"
        if self.positives_from == "dropout":
            return "positives_from dropout reads texts alone, not conversations: set it to file"
        if self.has_scored_pairs:
            return f"metric {self.metric} is of pairs of texts, not of conversations: choose another"
        return None
