"""Weights of a mixture of judges, tuned on the metric of what is chosen among texts that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.generation.rerank import best_of_each, chosen, counted_through, mixed, tune_weights
from electra_jax.generation.written import Generation
from electra_jax.inference.judges import JUDGES
from electra_jax.inference.reranking import Reranker, writer_of_several
from electra_jax.inference.source_writer import Source, example_of, named_task, retrieved_for, source_of
from electra_jax.inference.writing import writer_of
from electra_jax.tasks.measures import Measure
from electra_jax.tasks.protocol import Seq2SeqExample
from electra_jax.tasks.text_metrics import check_selecting, check_text_metrics, text_measures

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# How often one text is drawn for each source, to say what choosing blindly reaches.
_DRAWS = 20


@dataclass(frozen=True)
class JudgedTexts:
    """Texts for sources whose references are known, and what judges say of them.

    Attributes:
        scores: float64 ``[sources, candidates, judges]``; not numbers where a list is filled up.
        known: bool ``[sources, candidates]``, false where a list is filled up.
        measure: the metric over some of the texts, counted from the first of the first source.
        judges: their names.
        references: float64 ``[sources, judges]``, what they say of the first reference of each.
        written: bool ``[sources, candidates]``, which texts are a reference word for word.
    """

    scores: np.ndarray
    known: np.ndarray
    measure: Measure
    judges: tuple[str, ...]
    references: np.ndarray
    written: np.ndarray

    def of_choice(self, picks: np.ndarray) -> float:
        """Return the metric of one text for each source, int ``[sources]``."""
        return self.measure(counted_through(picks, self.known.shape[1]))

    def reference_first(self, weights: np.ndarray) -> float:
        """Return for how many sources, in percent, a mixture puts the reference before all other texts.

        Of equal scores the reference's counts as the smaller one, so that a judge who says the same of all is wrong.

        Args:
            weights: float64 ``[judges]``.
        """
        others = np.where(self.written, -np.inf, mixed(self.scores, weights)).max(axis=1)
        right = mixed(self.references[:, None], weights)[:, 0]
        return float(100.0 * (right > others).mean())

    def figures(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """Return the metric of each judge and of their mixture, and what these are to be compared with.

        Returns:
            ``as_written``, of the first text of each source; ``random``, of one drawn blindly; ``oracle``, of the one
            that is best by itself; ``judges``, of what each would choose alone; ``mixture``; ``reference_first``, of
            each judge and the mixture, what `JudgedTexts.reference_first` returns.
        """
        by_judge = dict(zip(self.judges, np.eye(len(self.judges)), strict=True))
        together = np.array([weights[name] for name in self.judges])
        counts = self.known.sum(axis=1)
        rng = np.random.default_rng(0)
        drawn = [self.of_choice((rng.random(len(counts)) * counts).astype(np.int64)) for _ in range(_DRAWS)]
        return {
            "as_written": self.of_choice(np.zeros(len(counts), np.int64)),
            "random": float(np.mean(drawn)),
            "oracle": self.of_choice(best_of_each(self.known, self.measure)),
            "judges": {name: self.of_choice(chosen(self.scores, alone)) for name, alone in by_judge.items()},
            "mixture": self.of_choice(chosen(self.scores, together)),
            "reference_first": {
                "judges": {name: self.reference_first(alone) for name, alone in by_judge.items()},
                "mixture": self.reference_first(together),
            },
        }

    def tuned(self) -> dict[str, float]:
        """Return the weights whose choices are best; see `tune_weights`."""
        either_sign = np.array([JUDGES[name].either_sign for name in self.judges])
        weights, _ = tune_weights(self.scores, self.measure, either_sign)
        return dict(zip(self.judges, weights.tolist(), strict=True))


def judge_texts(
    reranker: Reranker,
    examples: Sequence[Seq2SeqExample],
    texts: Sequence[Sequence[Generation]],
    metric: str,
    language: str = "en",
) -> JudgedTexts:
    """Have judges score the texts that were written for examples.

    Args:
        reranker: the judges; their weights do not matter.
        examples: with references.
        texts: of each example, one or more.
        metric: of written texts, by which choices are judged.
        language: see `text_scores`.

    Raises:
        UserError: a source that a judge refuses.
    """
    lists = [
        (source_of(example), [text.text for text in some])
        for example, some in zip(examples, texts, strict=True)
    ]
    right = [(example.targets or ("",))[0] for example in examples]
    # The references are scored beside the texts, so that a ranker reads each source once.
    found = reranker.scores(
        [(source, [*some, reference]) for (source, some), reference in zip(lists, right, strict=True)]
    )
    counts = np.array([len(some) for some in texts])
    rows = np.arange(len(texts))
    of_references = found[rows, counts]
    found[rows, counts] = np.nan
    scores = found[:, :-1]
    known = np.arange(scores.shape[1]) < counts[:, None]
    flat = [text for _, some in lists for text in [*some, *[""] * (scores.shape[1] - len(some))]]
    of_each = [example for example in examples for _ in range(scores.shape[1])]
    all_right = [example.targets or () for example in of_each]
    sources = [example.source for example in of_each]
    measure = text_measures(flat, all_right, sources, [metric], language)[metric]
    written = np.array([text in references for text, references in zip(flat, all_right, strict=True)])
    judges = tuple(reranker.judges)
    return JudgedTexts(scores, known, measure, judges, of_references, written.reshape(known.shape))


def tune_reranker(
    model: Model,
    judges: Mapping[str, Model | None],
    sources: Sequence[Source],
    references: Sequence[str | Sequence[str]],
    metric: str,
    language: str = "en",
    task: str | None = None,
    **settings: Any,
) -> tuple[Reranker, dict[str, Any]]:
    """Write several texts for each source and tune the weights of judges on them.

    Args:
        model: that writes.
        judges: see `Reranker`.
        sources: the texts that are read, or pairs of them with what was retrieved for each.
        references: of each the right text, or several.
        metric: bleu, chrf, rouge1, rougeL and so on (docs/finetuning.md), of which more is better.
        language: of the texts, for metrics that tokenise as Moses does.
        task: that writes, where the model has several.
        **settings: keys of the section ``generation``; they must ask for several texts, as ``beams=10, n_best=10``.

    Returns:
        the mixture, and the figures of `JudgedTexts.figures`, by which it was found.

    Raises:
        UserError: a metric that cannot select or needs what is not installed; judges or settings that do not fit;
            not as many references as sources.
    """
    name = named_task(model, task).name
    check_text_metrics(name, [metric])
    check_selecting(name, metric)
    if len(sources) != len(references) or not sources:
        raise UserError(f"there are {len(sources)} sources and {len(references)} references to tune on")
    reranker = Reranker(judges)
    writer = writer_of_several(writer_of(model, settings, task))
    examples = [
        replace(
            example_of(str(i), source, named_task(model, task)),
            targets=(some,) if isinstance(some, str) else tuple(some),
        )
        for i, (source, some) in enumerate(zip(sources, references, strict=True))
    ]
    texts = writer.write(
        [writer.prompt(example.source, f"item {example.id}", retrieved_for(example)) for example in examples]
    )
    judged = judge_texts(reranker, examples, texts, metric, language)
    weights = judged.tuned()
    return Reranker(judges, weights), judged.figures(weights)
