"""How far common words lead: ``python -m benchmarks.tfidf --config FILE [key=value ...]``.

The candidates of each dev and test example of a task of kind ranking, by the cosine of their TF-IDF vectors with the
context's: the words of both in lower case, idf = ln((1 + n) / (1 + df)) + 1 over the right candidates of train (as
scikit-learn smooths it). Of equal candidates the right one comes last. It prints the task's metrics as JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from electra_jax import cli
from electra_jax.config import load_config
from electra_jax.errors import UserError
from electra_jax.tasks.rank_metrics import ranking_measures
from electra_jax.tasks.sources import load_examples

Vector = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the metrics of each split."""
    parser = cli.bare_parser("benchmarks.tfidf", __doc__ or "")
    parser.add_argument("--config", required=True, metavar="FILE", help="a preset or file with the task")
    cli.add_overrides(parser, "as for electra_jax.train")
    args = parser.parse_args(argv)
    config = load_config(args.config, args.overrides)
    rankers = {name: task for name, task in config.finetune.tasks.items() if task.kind == "ranking"}
    if len(rankers) != 1:
        raise UserError(f"{args.config} has {len(rankers)} tasks of kind ranking, and one is wanted")
    ((name, section),) = rankers.items()
    splits: Any = load_examples(name, section, tfds_data_dir=None, needs=["train", "dev"], notes=[])
    vector = vectoriser([example.candidates[example.relevant[0]] for example in splits["train"]])
    for split in ("dev", "test"):
        if examples := splits.get(split):
            found = [
                (scores_of(vector, example.context, example.candidates), example.relevant)
                for example in examples
            ]
            measures = ranking_measures(found, ["hits@1", "recall@5", "recall@10", "mrr", "ndcg"])
            every = np.arange(len(found))
            figures = {metric: measure(every) for metric, measure in measures.items()}
            print(json.dumps({"split": split, "examples": len(found), **figures}), flush=True)
    return 0


def vectoriser(texts: Sequence[str]) -> Callable[[str], Vector]:
    """Return what makes TF-IDF vectors of length 1, its frequencies out of these texts."""
    count = Counter(word for text in texts for word in set(_words(text)))

    def vector(text: str) -> Vector:
        found = {
            word: times * (math.log((1 + len(texts)) / (1 + count[word])) + 1)
            for word, times in Counter(_words(text)).items()
        }
        length = math.sqrt(sum(value * value for value in found.values())) or 1.0
        return {word: value / length for word, value in found.items()}

    return vector


def scores_of(vector: Callable[[str], Vector], context: str, candidates: Sequence[str]) -> np.ndarray:
    """Return the cosine of each candidate with the context, float64 ``[candidates]``."""
    weights = vector(context)
    return np.array(
        [sum(value * weights.get(word, 0.0) for word, value in vector(text).items()) for text in candidates]
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


if __name__ == "__main__":
    cli.run(main)
