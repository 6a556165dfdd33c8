"""How fast an index is searched: ``python -m benchmarks.search [--candidates 1000000] [--width 256]``.

Vectors of random numbers are written as an index has them, memory-mapped, and the best of them found for one context
and for many: the time that goes by, and processor time, which other programs on the machine disturb less. Beside it the
products alone in NumPy, and faiss's exact index where ``faiss-cpu`` is installed. All are asked with the same vectors,
and must find the same. Rounds alternate; times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax import cli
from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.retrieval.nearest import NearestVectors
from electra_jax.runtime.cpu_devices import one_device_per_core

_WRITTEN_AT_ONCE = 1 << 14

Finder = Callable[[np.ndarray], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line of JSON for each number of contexts."""
    parser = cli.bare_parser("benchmarks.search", __doc__ or "")
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--codes", type=int, default=1, help="vectors of a context: those of a poly-encoder")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1, 32], help="asked at once")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    one_device_per_core()
    with tempfile.TemporaryDirectory() as folder:
        vectors = write_vectors(Path(folder) / "vectors.npy", args.candidates, args.width)
        for line in measure(vectors, args):
            print(json.dumps(line), flush=True)
    return 0


def write_vectors(path: Path, count: int, width: int) -> np.ndarray:
    """Write vectors of length 1, and return them memory-mapped."""
    rng = np.random.default_rng(0)
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, width))
    for start in range(0, count, _WRITTEN_AT_ONCE):
        some = rng.standard_normal(written[start : start + _WRITTEN_AT_ONCE].shape, np.float32)
        written[start : start + _WRITTEN_AT_ONCE] = some / np.linalg.norm(some, axis=1, keepdims=True)
    written.flush()
    return np.load(path, mmap_mode="r")


def measure(vectors: np.ndarray, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return seconds of each way to search, for each number of contexts."""
    rng = np.random.default_rng(1)
    finders = _finders(vectors, args)
    found = []
    for count in args.contexts:
        contexts = rng.standard_normal((count, args.codes, vectors.shape[1]), np.float32)
        answers = {name: find(contexts) for name, find in finders.items()}  # which compiles
        seconds: dict[str, list[float]] = {name: [] for name in finders}
        processor: dict[str, list[float]] = {name: [] for name in finders}
        for _ in range(args.rounds):
            for name, find in finders.items():
                start, of_processor = time.perf_counter(), time.process_time()
                find(contexts)
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - of_processor)
        found.append(
            {
                "candidates": len(vectors),
                "width": vectors.shape[1],
                "codes": args.codes,
                "contexts": count,
                "seconds": {name: round(statistics.median(times), 4) for name, times in seconds.items()},
                "processor_seconds": {
                    name: round(statistics.median(times), 4) for name, times in processor.items()
                },
                "same": {
                    name: round(float(np.mean(numbers == answers["ours"])), 4)
                    for name, numbers in answers.items()
                    if name != "ours"
                },
            }
        )
        print(found[-1], file=sys.stderr)
    return found


def _finders(vectors: np.ndarray, args: argparse.Namespace) -> dict[str, Finder]:
    """Return, by name, what finds the numbers of the best of each context."""
    nearest = NearestVectors(vectors, args.codes, make_mesh(MeshConfig()))
    finders: dict[str, Finder] = {"ours": lambda contexts: nearest.search(contexts, args.k)[1]}
    if args.codes > 1:
        return finders

    def in_numpy(contexts: np.ndarray) -> np.ndarray:
        scores = contexts[:, 0] @ vectors.T
        some = np.argpartition(-scores, args.k, axis=1)[:, : args.k]
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1)
        return np.take_along_axis(some, order, axis=1)

    finders["numpy"] = in_numpy
    try:
        import faiss
    except ImportError:
        return finders
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    finders["faiss"] = lambda contexts: index.search(np.ascontiguousarray(contexts[:, 0]), args.k)[1]
    return finders


if __name__ == "__main__":
    cli.run(main)
