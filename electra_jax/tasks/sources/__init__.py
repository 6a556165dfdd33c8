"""Examples to fine-tune on: benchmarks' official files, TFDS datasets and one's own files, checked."""

from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Benchmark
from electra_jax.tasks.sources.checks import collect_labels, example_warnings, examples_fingerprint
from electra_jax.tasks.sources.load import load_examples

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "collect_labels",
    "example_warnings",
    "examples_fingerprint",
    "load_examples",
]
