"""What ways of decoding make of replies: ``python -m benchmarks.replies --workdir DIR --input test.jsonl``.

A model with a task of kind seq2seq that was trained on conversations writes the first replies of a file: greedily,
drawn, with beams, and with what Blender (Roller et al. 2020, 2004.13637) adds to beams, one after the other. A line of
JSON for each way has the metrics of docs/finetuning.md, words a reply, and the seconds of a turn: of one reply at a
time, when all is compiled, the median. The first line is of the replies that people gave, with the bits a byte that the
model gives them. With what was retrieved in the file, as ``electra_jax.retrieve`` writes it, ``copy_rate`` is the share
of pairs of words out of that.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax import cli
from electra_jax.errors import UserError
from electra_jax.inference.load import load
from electra_jax.inference.model import Model
from electra_jax.inference.source_scorer import score_for_sources
from electra_jax.inference.source_writer import named_task, retrieved_for, source_of
from electra_jax.inference.writing import writer_of
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.tasks.protocol import Seq2SeqExample
from electra_jax.tasks.sources import load_examples
from electra_jax.tasks.text_metrics import text_scores

PLAIN = {
    **{"beams": 1, "min_new_tokens": 0, "no_repeat_ngram": 0, "no_repeat_source_ngram": 0},
    "max_new_tokens": 64,
}
_BLENDER = ({"beams": 10}, {"min_new_tokens": 20}, {"no_repeat_ngram": 3}, {"no_repeat_source_ngram": 3})
WAYS: Mapping[str, Mapping[str, Any]] = {
    "greedy": PLAIN,
    "top_p 0.9": {**PLAIN, "method": "sample", "top_p": 0.9},
    **{
        ", ".join(f"{key} {value}" for step in _BLENDER[: count + 1] for key, value in step.items()): {
            **PLAIN,
            **{key: value for step in _BLENDER[: count + 1] for key, value in step.items()},
        }
        for count in range(len(_BLENDER))
    },
}
METRICS = ("word_f1", "distinct_1", "distinct_2", "repetition", "length_ratio")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line of JSON for people, and one for each way of decoding."""
    parser = cli.bare_parser("benchmarks.replies", __doc__ or "")
    parser.add_argument("--workdir", type=cli.path, required=True, help="of a model that writes")
    parser.add_argument("--input", type=cli.path, required=True, help="conversations")
    parser.add_argument("--limit", type=int, default=500, help="replies")
    parser.add_argument("--turns", type=int, default=20, help="of which the seconds are taken one by one")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], metavar="WAY")
    args = parser.parse_args(argv)
    one_device_per_core()
    model = load(args.workdir)
    examples = read_examples(model, str(args.input))[: args.limit]
    print(json.dumps(of_people(model, examples)), flush=True)
    for way in args.ways:
        print(json.dumps({"way": way, **of_way(model, examples, WAYS[way], args.turns)}), flush=True)
    return 0


def read_examples(model: Model, path: str) -> list[Seq2SeqExample]:
    """Return the examples of a file, which the task reads as it reads its test file.

    Raises:
        UserError: a task that knows no conversations, or a file that cannot be read.
    """
    task = named_task(model, None)
    if task.config.conversations is None:
        raise UserError(f"the task {task.name} was not trained on conversations")
    section = task.config.model_copy(update={"train": None, "dev": None, "test": path})
    found: list[Any] = load_examples(task.name, section, tfds_data_dir=None, needs=["test"], notes=[])["test"]
    return found


def of_people(model: Model, examples: Sequence[Seq2SeqExample]) -> dict[str, Any]:
    """Return the figures of the replies that are right, and the bits a byte that the model gives them."""
    right = [(example.targets or ("",))[0] for example in examples]
    pairs = [(source_of(example), text) for example, text in zip(examples, right, strict=True)]
    nats = -sum(float(scores.sum()) for scores in score_for_sources(model, pairs))
    bits = nats / math.log(2) / sum(len(text.encode()) for text in right)
    return {"way": "people", "replies": len(right), "bits_per_byte": bits, **_figures(examples, right)}


def of_way(
    model: Model, examples: Sequence[Seq2SeqExample], settings: Mapping[str, Any], turns: int
) -> dict[str, Any]:
    """Return the figures of the replies that are written, and the median of the seconds of ``turns`` of them."""
    writer = writer_of(model, settings)
    sources = [source_of(example) for example in examples]
    texts = [found[0].text for found in writer.write(sources)]
    seconds = []
    for source in sources[:turns]:
        for _ in range(2):  # the first may compile
            start = time.perf_counter()
            writer.write([source], most_rows=1)
            taken = time.perf_counter() - start
        seconds.append(taken)
    return {**_figures(examples, texts), "seconds_a_turn": statistics.median(seconds)}


def _figures(examples: Sequence[Seq2SeqExample], texts: Sequence[str]) -> dict[str, Any]:
    references = [example.targets or ("",) for example in examples]
    found = [retrieved_for(example) for example in examples]
    figures = text_scores(texts, references, [example.source for example in examples], METRICS)
    words: float = sum(len(text.split()) for text in texts) / len(texts)
    if any(found):
        figures |= text_scores(texts, references, [one or "" for one in found], ["copy_rate"])
    return {**figures, "words": words}


if __name__ == "__main__":
    cli.run(main)
