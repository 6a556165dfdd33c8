"""Examples to fine-tune on: benchmarks' official files, TFDS datasets and one's own files, checked."""

from electra_jax.tasks.sources.benchmarks import BENCHMARKS, Benchmark
from electra_jax.tasks.sources.checks import fingerprint_of, labels_of, warnings_of
from electra_jax.tasks.sources.load import load_examples

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "fingerprint_of",
    "labels_of",
    "load_examples",
    "warnings_of",
]
