"""The section ``generation``: how a model writes."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import Section, field

Method = Literal["auto", "greedy", "sample", "beam", "refine"]

# Keys that only sampling reads, with the values that leave it as it is.
SAMPLING = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None, "typical_p": None, "n": 1}


class RefineConfig(Section):
    """How a generator and a discriminator refine a text: the one writes, the other says what to write again."""

    steps: int = field(
        10,
        "Most passes over a text; in each the generator writes and the discriminator judges.",
        free=True,
        ge=1,
        le=10_000,
    )
    keep: Literal["discriminator", "confidence", "random"] = field(
        "discriminator",
        "Tokens that are kept from pass to pass: those that the discriminator doubts least; those that the generator "
        "was surest of; or random ones. The others are masked again.",
        free=True,
    )
    temperature: float = field(
        1.0,
        "The generator's logits are divided by it before a token is drawn; 0: the likeliest token.",
        free=True,
        ge=0.0,
    )
    schedule: Literal["linear", "cosine"] = field(
        "linear",
        "How fast fewer tokens are masked again, from all gaps at first to none at the end.",
        free=True,
    )
    threshold: float | None = field(
        None,
        "A token is doubted above this probability of being replaced: only such ones are masked again with keep "
        "discriminator and in drafts, and a text without any is finished; null: 0.5 for drafts, and 0 for gaps, which "
        "then have all passes.",
        free=True,
        ge=0.0,
        le=1.0,
    )


class GenerationConfig(Section):
    """How text is written: by `electra_jax.generate`, and by `Model.generate` in Python, which takes the same names."""

    method: Method = field(
        "auto",
        "greedy: the likeliest token each time; sample: drawn; beam: the likeliest text that beams find; refine: the "
        "generator proposes, the discriminator judges; auto: beam with several beams, sample where a key of sampling "
        "or n is set, refine for an ELECTRA pair, else greedy.",
        free=True,
    )
    max_new_tokens: int = field(
        128,
        "Most tokens to write, the end included. Where positions run out, the text goes on from the last half of what "
        "was read; beams end there.",
        free=True,
        ge=1,
        lt=2**31,
    )
    min_new_tokens: int = field(0, "No end before this many tokens.", free=True, ge=0, lt=2**31)
    stop_strings: list[str] = field([], "A text ends where it would write one of these.", free=True)
    end_tokens: list[str] = field(
        [], "Tokens, as the vocabulary spells them, that end a text as [SEP] does.", free=True
    )
    beams: int = field(1, "Texts that are followed at once, for each prompt.", free=True, ge=1, le=1024)
    n_best: int = field(1, "How many of them are returned, the best first.", free=True, ge=1)
    length_penalty: float = field(
        1.0,
        "Beams are ranked by log p divided by this power of the length: above 0 favours long texts.",
        free=True,
        ge=-2.0,
        le=10.0,
    )
    length_rule: Literal["mean", "gnmt"] = field(
        "mean",
        "What is raised to that power: mean: tokens written, the end included; gnmt: (5 + tokens) / 6.",
        free=True,
    )
    stop: Literal["exact", "first", "huggingface"] = field(
        "exact",
        "When beams end: exact: when none that goes on can still win; first: with as many texts as there are beams; "
        "huggingface: by its default heuristic.",
        free=True,
    )
    temperature: float = field(1.0, "Logits are divided by it before a token is drawn.", free=True, gt=0.0)
    top_k: int | None = field(None, "Draw among this many likeliest tokens; null: all.", free=True, ge=1)
    top_p: float | None = field(
        None,
        "Draw among the likeliest tokens that together have this probability; null: all.",
        free=True,
        gt=0.0,
        le=1.0,
    )
    min_p: float | None = field(
        None,
        "Draw among tokens at least this times as likely as the likeliest; null: all.",
        free=True,
        ge=0.0,
        le=1.0,
    )
    typical_p: float | None = field(
        None,
        "Draw among the tokens whose surprise is nearest to the mean, that together have this probability; null: all.",
        free=True,
        gt=0.0,
        le=1.0,
    )
    repetition_penalty: float = field(
        1.0,
        "Logits of tokens that the prompt or the text has are divided by it, negative ones multiplied.",
        free=True,
        gt=0.0,
    )
    no_repeat_ngram: int = field(
        0, "No run of so many tokens occurs twice, prompt included; 0: it may.", free=True, ge=0
    )
    no_repeat_source_ngram: int = field(
        0,
        "No run of so many tokens of the source is written, for tasks of kind seq2seq; what was retrieved for it may "
        "be; 0: all may.",
        free=True,
        ge=0,
    )
    ban: list[str] = field([], "Texts whose tokens are never written in a row.", free=True)
    forced_prefix: str = field("", "What every text begins with.", free=True)
    seed: int = field(0, "Seed of sampling.", free=True, ge=0, lt=2**31)
    n: int = field(1, "Texts drawn for each prompt.", free=True, ge=1)
    refine: RefineConfig = RefineConfig()

    @property
    def sampled_by(self) -> list[str]:
        """The keys of sampling that are set."""
        return [key for key, unset in SAMPLING.items() if getattr(self, key) != unset]

    @model_validator(mode="after")
    def _check(self) -> GenerationConfig:
        sampled = ", ".join(self.sampled_by)
        if self.beams > 1 and self.method not in ("auto", "beam"):
            raise ValueError(
                f"beams {self.beams} needs method beam, not {self.method}: leave one of them out"
            )
        if self.beams > 1 and sampled:
            raise ValueError(
                f"beams {self.beams} draws nothing, so {sampled} does not go with it: leave one out"
            )
        if self.method in ("greedy", "beam") and sampled:
            raise ValueError(
                f"method {self.method} draws nothing, so {sampled} does not go with it: leave one out"
            )
        if self.n_best > self.beams:
            raise ValueError(
                f"n_best {self.n_best} is above beams {self.beams}: there are no more texts than beams"
            )
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}"
            )
        for key in ("stop_strings", "end_tokens", "ban"):
            if "" in getattr(self, key):
                raise ValueError(f"{key} has an empty text in it: take it out")
        return self
