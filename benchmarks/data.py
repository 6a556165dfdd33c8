"""Throughput of preparing tokens, of reading batches and of the step: `python -m benchmarks.data [--config FILE]`.

Each measurement is a function of a configuration and returns `Measurement`s, which make the table. The last
line sets the loader against the step: how many times faster batches come than training consumes them.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

from electra_jax import cli
from electra_jax.config import Config, load_config
from electra_jax.data.batches import train_batches
from electra_jax.data.prepare import Prepared, prepare
from electra_jax.data.prepared_rows import RowsJob, prepare_rows
from electra_jax.data.sources import TextSource, open_source
from electra_jax.data.token_rows import TokenRows
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program

_PRESET = Path(__file__).resolve().parents[1] / "configs" / "pretrain" / "tiny.yaml"
_SAMPLE_CHARACTERS = 16_000_000
_LOADER_TOKENS = 8_000_000
_WARM_UP_STEPS = 3
_STEP_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Rates of several runs of one thing."""

    name: str
    unit: str
    rates: tuple[float, ...]

    def row(self) -> str:
        """One line of the table."""
        middle, low, high = statistics.median(self.rates), min(self.rates), max(self.rates)
        return f"{self.name:<12} {middle:>12,.3f} {low:>12,.3f} {high:>12,.3f}  {self.unit}"


def measure_prepare(config: Config, prepared: Prepared, runs: int) -> list[Measurement]:
    """Text to rows on disk: reading, tokenising, packing and writing the beginning of data.source."""
    sample = Sample(open_source(config.data.source, config.data))
    megabytes = sum(len(text.encode()) for text in sample.documents()) / 1e6
    seconds, num_tokens = [], 0
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            job = RowsJob(config.data, 0.0, prepared.tokenizer, Path(directory), progress=False)
            start = time.perf_counter()
            num_tokens = prepare_rows(job, sample, ("all",))["all"].num_tokens
            seconds.append(time.perf_counter() - start)
    return [
        Measurement("prepare", "M tokens/s", tuple(num_tokens / s / 1e6 for s in seconds)),
        Measurement("prepare", "MB of text/s", tuple(megabytes / s for s in seconds)),
    ]


def measure_loader(config: Config, prepared: Prepared, runs: int) -> list[Measurement]:
    """Rows on disk to batches in memory, in the order of training, with nothing decoded at the start."""
    batch_tokens = config.train.batch_size * config.data.sequence_length
    batches = -(-_LOADER_TOKENS // batch_tokens)

    def read() -> None:
        iterator = train_batches(
            TokenRows.open(prepared.train.directory),
            batch_size=config.train.batch_size,
            seed=config.seed,
            start_step=0,
            prefetch=config.data.prefetch_batches,
        )
        for _ in itertools.islice(iterator, batches):
            pass

    wall, cpu = zip(*(_seconds(read) for _ in range(runs)))
    tokens = batches * batch_tokens / 1e6
    return [
        Measurement("loader", "M tokens/s", tuple(tokens / s for s in wall)),
        Measurement("loader", "M tokens/CPU s", tuple(tokens / s for s in cpu)),
    ]


def measure_step(config: Config, prepared: Prepared, runs: int) -> list[Measurement]:
    """Measure the whole update of both networks on this machine's devices, on batches that are already there."""
    program = build_program(config, prepared.tokenizer, make_mesh(config.mesh))
    batches = train_batches(
        prepared.train, batch_size=config.train.batch_size, seed=config.seed, start_step=0, prefetch=1
    )
    rates = []
    with program.on_mesh():
        batch = program.to_global_batch(next(batches))
        state = program.init()

        def steps(number: int) -> float:
            nonlocal state
            start = time.perf_counter()
            for _ in range(number):
                state, report = program.train_step(state, batch)
            jax.block_until_ready(report)
            return time.perf_counter() - start

        steps(_WARM_UP_STEPS)  # compiles
        number = max(1, round(_STEP_SECONDS / steps(1)))
        tokens = number * config.train.batch_size * config.data.sequence_length / 1e6
        rates = [tokens / steps(number) for _ in range(runs)]
    return [Measurement("step", "M tokens/s", tuple(rates))]


class Sample:
    """The first documents of a source, as a source."""

    def __init__(self, source: TextSource) -> None:
        self._source = source
        self.name, self.fingerprint, self.num_documents = source.name, source.fingerprint, None

    def documents(self) -> Iterator[str]:
        """Yield documents until there is enough text."""
        return (text for _, text in self.divided(0.0))

    def divided(self, fraction: float) -> Iterator[tuple[bool, str]]:
        """Yield documents with which of them are held out, until there is enough text; see `TextSource.divided`."""
        characters = 0
        for held_out, text in self._source.divided(fraction):
            yield held_out, text
            characters += len(text)
            if characters >= _SAMPLE_CHARACTERS:
                return


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of the measurements."""
    parser = cli.bare_parser("benchmarks.data", "Measure prepare, the loader and the step.")
    parser.add_argument("--config", type=Path, default=_PRESET, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="of which the median is shown")
    cli.add_overrides(parser, "settings over the file's, such as train.batch_size=8")
    args = parser.parse_args(argv)
    config = load_config(args.config, args.overrides)
    prepared = prepare(config.data, config.tokenizer)
    print(f"{'':<12} {'median':>12} {'lowest':>12} {'highest':>12}")
    medians: dict[str, float] = {}
    for measure in (measure_prepare, measure_loader, measure_step):
        for measurement in measure(config, prepared, args.runs):
            print(measurement.row(), flush=True)
            if measurement.unit == "M tokens/s":
                medians[measurement.name] = statistics.median(measurement.rates)
    print(f"the loader is {medians['loader'] / medians['step']:,.0f} times as fast as the step")
    return 0


def _seconds(action: Callable[[], None]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    cli.run(main)
