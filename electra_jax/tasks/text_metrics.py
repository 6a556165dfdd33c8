"""Metrics of written texts by their names: BLEU, chrF and TER by sacrebleu, ROUGE by rouge-score, and counts of words.

The libraries are those of the extra ``generation``; they are imported where a figure of theirs is asked for.
"""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from electra_jax.errors import UserError, listed
from electra_jax.tasks import word_metrics
from electra_jax.tasks.measures import Measure, mean_of, of_sums

# Each name, and the modules that it needs.
TEXT_METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bleu": ("sacrebleu",),
        "bleu_lowercase": ("sacrebleu",),
        "bleu_tokenized_lowercase": ("sacrebleu", "sacremoses"),
        "chrf": ("sacrebleu",),
        "ter": ("sacrebleu",),
        "rouge1": ("rouge_score",),
        "rouge2": ("rouge_score",),
        "rougeL": ("rouge_score",),
        "rougeLsum": ("rouge_score",),
        "exact_match": (),
        "word_f1": (),
        "length_ratio": (),
        "distinct_1": (),
        "distinct_2": (),
        "copy_rate": (),
        "repetition": (),
    }
)
# Of the others a larger value is not better: less is (TER, repetition), or neither.
SELECTING = (
    *("bleu", "bleu_lowercase", "bleu_tokenized_lowercase", "chrf"),
    *("rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match", "word_f1"),
)
LOWER_IS_BETTER = ("ter", "repetition")
# How many different n-grams there are does not follow from a sample in which texts are drawn twice.
NOT_RESAMPLED = ("distinct_1", "distinct_2")


def check_text_metrics(task: str, names: Sequence[str]) -> None:
    """Refuse names that are no metrics of written texts, and those whose library is not there.

    Args:
        task: its name, for the message.
        names: of the metrics.

    Raises:
        UserError: an unknown name, or a library that cannot be imported.
    """
    for name in names:
        if name not in TEXT_METRICS:
            near = {known.lower(): known for known in TEXT_METRICS}
            found = difflib.get_close_matches(name.lower(), near, n=1, cutoff=0.5)
            meant = f" (did you mean {near[found[0]]}?)" if found else ""
            raise UserError(
                f"finetune.tasks.{task} names the metric {name!r}, which there is not for written texts{meant}; there "
                f"are: {listed(TEXT_METRICS, len(TEXT_METRICS))}"
            )
        for module in TEXT_METRICS[name]:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise UserError(
                    f"finetune.tasks.{task} is scored by {name}, which needs {module} ({error}): python -m pip install "
                    "'electra_jax[generation]'"
                ) from None


def check_selecting(task: str, name: str) -> None:
    """Refuse a metric that cannot select checkpoints and seeds, because larger is not better.

    Raises:
        UserError: it is none of `SELECTING`.
    """
    if name not in SELECTING:
        why = "less is better" if name in LOWER_IS_BETTER else "more is not better"
        raise UserError(
            f"finetune.tasks.{task}.metric is {name}, of which {why}, so it cannot select the best checkpoint; choose "
            f"one of: {', '.join(SELECTING)}"
        )


def text_scores(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str],
    names: Sequence[str],
    language: str = "en",
) -> dict[str, float]:
    """Return the metrics ``names`` over all texts, in that order and in percent, but for ``length_ratio``.

    What each is, is said in docs/finetuning.md, "Metrics of written texts". Without texts all are 0.

    Args:
        hypotheses: the texts that were written.
        references: those that are right, at least one for each, of any number.
        sources: what they were written for.
        names: some of `TEXT_METRICS`.
        language: of the texts, as sacremoses names it; only ``bleu_tokenized_lowercase`` looks at it.
    """
    everything = np.arange(len(hypotheses))
    measures = text_measures(hypotheses, references, sources, names, language)
    return {name: measure(everything) for name, measure in measures.items()}


def text_measures(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str],
    names: Sequence[str],
    language: str = "en",
) -> dict[str, Measure]:
    """Return the metrics as measures, whose work for each text is done once; the arguments are `text_scores`'s.

    Raises:
        ValueError: not as many references and sources as texts, or a text without a reference.
    """
    if not len(hypotheses) == len(references) == len(sources):
        raise ValueError(
            f"{len(hypotheses)} texts, {len(references)} lists of references, {len(sources)} sources"
        )
    if not all(references):
        raise ValueError("a text has no reference")
    if not hypotheses:
        return {name: lambda chosen: 0.0 for name in names}
    rouge = [name for name in names if name.startswith("rouge")]
    found = _rouge(hypotheses, references, rouge) if rouge else {}
    for name in names:
        match name:
            case "exact_match":
                found[name] = word_metrics.exact_match(hypotheses, references)
            case "word_f1":
                found[name] = word_metrics.word_f1(hypotheses, references)
            case "length_ratio":
                found[name] = word_metrics.length_ratio(hypotheses, references)
            case "distinct_1" | "distinct_2":
                found[name] = word_metrics.distinct(hypotheses, order=int(name[-1]))
            case "copy_rate":
                found[name] = word_metrics.copy_rate(hypotheses, sources)
            case "repetition":
                found[name] = word_metrics.repetition(hypotheses)
            case _ if name not in found:
                found[name] = _sacrebleu(name, hypotheses, references, language)
    return {name: found[name] for name in names}


def signatures(
    names: Sequence[str], references: Sequence[Sequence[str]] | None = None, language: str = "en"
) -> dict[str, str]:
    """Return how each figure was computed, as sacrebleu writes it, for those metrics that are a library's.

    Args:
        names: some of `TEXT_METRICS`; those that need no library have no signature.
        references: whose number a signature names; None leaves it out.
        language: as in `text_scores`.
    """
    counts = {len(some) for some in references or ()}
    found = {}
    for name in names:
        if name.startswith("rouge"):
            found[name] = f"refs:best|stemmer:yes|version:{_version('rouge-score')}"
        elif TEXT_METRICS[name]:
            metric = _sacrebleu_metric(name)
            metric.num_refs = next(iter(counts)) if len(counts) == 1 else -1  # as sacrebleu counts them
            signature = metric.get_signature()
            if references is None:
                signature.update("nrefs", None)
            if name == "bleu_tokenized_lowercase":
                signature.update("tok", f"sacremoses-{_version('sacremoses')}-{language}")
            found[name] = str(signature)
    return found


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


def _sacrebleu_metric(name: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    match name:
        case "bleu":
            return BLEU(force=True)  # which only leaves out a warning about texts that look tokenised
        case "bleu_lowercase":
            return BLEU(lowercase=True, force=True)
        case "bleu_tokenized_lowercase":
            return BLEU(lowercase=True, tokenize="none", force=True)
        case "chrf":
            return CHRF()
        case "ter":
            return TER()
    raise ValueError(f"no metric {name!r}")


def _sacrebleu(
    name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str
) -> Measure:
    """Return a metric of sacrebleu, whose figures follow from sums over the texts."""
    metric = _sacrebleu_metric(name)
    if name == "bleu_tokenized_lowercase":
        hypotheses = _moses(hypotheses, language)
        references = [_moses(some, language) for some in references]
    # The first reference of every text, then the second, …; None where a text has no more, which sacrebleu leaves out.
    most = max(map(len, references))
    columns = [
        [some[number] if number < len(some) else None for some in references] for number in range(most)
    ]
    # As sacrebleu's own paired tests do it (sacrebleu/significance.py).
    statistics = metric._extract_corpus_statistics(list(hypotheses), columns)
    return of_sums(statistics, lambda sums: float(metric._compute_score_from_stats(sums.tolist()).score))


def _moses(texts: Sequence[str], language: str) -> list[str]:
    """Return the texts in lower case, then tokenised as Moses does: the order in which Multi30k's files were made."""
    from sacremoses import MosesTokenizer

    tokenizer = MosesTokenizer(lang=language)
    return [tokenizer.tokenize(text.lower(), return_str=True, escape=False) for text in texts]


def _rouge(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Measure]:
    """Return the means of ROUGE's F1 with Porter's stemmer; of several references the best one counts, name by name."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(names), use_stemmer=True)
    scores = [
        scorer.score_multi(list(some), hypothesis)
        for hypothesis, some in zip(hypotheses, references, strict=True)
    ]
    return {name: mean_of([score[name].fmeasure for score in scores]) for name in names}
