"""Does the discriminator help to fill gaps? `python -m benchmarks.refine --workdir PAIR --text FILE`.

Tokens of held-out rows are taken out at random and written again by the generator, in so many passes, each of which
keeps more of them: those that the discriminator doubts least, those that the generator is surest of (Mask-Predict),
or random ones. What is counted is how many are the original again. Every way has the same gaps and the same number of
passes; generator and discriminator both run in each, though only the first way needs the second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from electra_jax import cli
from electra_jax.config.generation import RefineConfig
from electra_jax.data.sources import open_source
from electra_jax.errors import UserError
from electra_jax.inference.load import load
from electra_jax.inference.model import Model
from electra_jax.inference.refining import GappedRows, check_is_pair, refine_rows


@dataclass(frozen=True)
class Way:
    """A way of refining, by its name in the table."""

    name: str
    settings: RefineConfig


def ways(steps: Sequence[int], temperatures: Sequence[float]) -> list[Way]:
    """Return all that are compared; but for one, every row has all passes."""
    found = [Way("once", RefineConfig(steps=1, temperature=temperature)) for temperature in temperatures]
    for number, temperature in itertools.product(steps, temperatures):
        shared: dict[str, Any] = {"steps": number, "temperature": temperature}
        found += [
            Way("discriminator", RefineConfig(keep="discriminator", **shared)),
            Way("discriminator > .5", RefineConfig(keep="discriminator", threshold=0.5, **shared)),
            Way("confidence", RefineConfig(keep="confidence", **shared)),
            Way("random", RefineConfig(keep="random", **shared)),
        ]
    return found


def held_out_rows(model: Model, text: str, count: int, length: int) -> np.ndarray:
    """Return the first rows ``[CLS] tokens [SEP]`` that documents of a text fill, int32 ``[rows, length]``.

    Raises:
        UserError: there are none.
    """
    data, tokenizer = model.config.data, model.tokenizer
    rows: list[list[int]] = []
    for document in open_source(f"text:{text}", data).documents():
        ids = tokenizer.encode(document)
        for start in range(0, len(ids) - (length - 2) + 1, length - 2):
            rows.append([tokenizer.cls_id, *ids[start : start + length - 2], tokenizer.sep_id])
        if len(rows) >= count:
            break
    if not rows:
        raise UserError(
            f"{text} has no document of {length - 2} tokens: use another text, or a smaller --length"
        )
    return np.array(rows[:count], np.int32)


def with_gaps(rows: np.ndarray, share: float, mask_id: int, seed: int) -> GappedRows:
    """Take out a share of the tokens of each row, as many of each."""
    draws = np.random.default_rng(seed).random((len(rows), rows.shape[1] - 2))
    number = max(1, round(share * draws.shape[1]))
    chosen = np.zeros(rows.shape, bool)
    np.put_along_axis(chosen, 1 + draws.argsort(axis=1)[:, :number], True, axis=1)
    ids = np.where(chosen, mask_id, rows).astype(np.int32)
    return GappedRows(list(ids), list(chosen), np.arange(len(rows), dtype=np.int32))


def measure(
    model: Model, rows: np.ndarray, gapped: GappedRows, way: Way, seed: int, judge: Model | None
) -> dict[str, float]:
    """Refine the rows and compare them with the original ones.

    Returns:
        ``recovered``, the share of taken-out tokens that are the original again; ``entropy`` of the tokens that were
        written, in bits; ``original``, exp of the mean of log(1 − p replaced), the
        discriminator's own opinion; with a judge ``bits_per_byte``; ``seconds``.
    """
    started = time.perf_counter()
    found = refine_rows(model, gapped, way.settings, seed=seed, draft=False)
    seconds = time.perf_counter() - started
    ids = np.stack([row.ids for row in found])
    where = np.stack(gapped.may_change)
    figures = {
        "recovered": float((ids == rows)[where].mean()),
        "entropy": entropy(ids[where]),
        "original": float(np.exp(np.mean([row.trace[-1] for row in found]))),
        "seconds": seconds,
    }
    if judge is not None:
        figures["bits_per_byte"] = bits_per_byte(model, judge, ids)
    return figures


def entropy(ids: np.ndarray) -> float:
    """Return the entropy of the ids' frequencies in bits: what is bland has little."""
    shares = np.unique(ids, return_counts=True)[1] / ids.size
    return float(-(shares * np.log2(shares)).sum())


def bits_per_byte(model: Model, judge: Model, rows: np.ndarray) -> float:
    """Return the bits that a causal language model needs for a byte of the rows' text."""
    texts = [model.tokenizer.detokenize([int(id) for id in row[1:-1]]) for row in rows]
    nats = -sum(judge.score(texts, "lm"))
    return float(nats / np.log(2) / sum(len(text.encode()) for text in texts))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table, and as the last line what it was made of as JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.refine",
        description="Compare what is kept from pass to pass when gaps are filled: what the discriminator doubts "
        "least, what the generator is surest of, or random tokens.",
    )
    parser.add_argument("--workdir", type=cli.path, required=True, metavar="DIR", help="the pair")
    parser.add_argument("--text", required=True, metavar="FILE", help="held-out text")
    parser.add_argument(
        "--judge", type=cli.path, metavar="DIR", help="a causal language model, for bits per byte"
    )
    parser.add_argument("--rows", type=int, default=256, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--length", type=int, metavar="N", help="tokens of a row (default: those of training)"
    )
    parser.add_argument("--gaps", type=float, default=0.3, metavar="SHARE", help="default: %(default)s")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[4, 10], metavar="N", help="passes (default: 4 10)"
    )
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[0.0, 1.0], metavar="T", help="default: 0 1"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of gaps and draws, whose median is shown")
    args = parser.parse_args(argv)
    model = load(args.workdir)
    check_is_pair(model)
    length = args.length or model.config.data.sequence_length
    if not 3 <= length <= model.max_length or not 0.0 < args.gaps <= 1.0 or args.rows < 1 or args.seeds < 1:
        raise UserError(
            f"--length must be from 3 to {model.max_length}, --gaps above 0 and at most 1, --rows and --seeds at "
            "least 1"
        )
    judge = load(args.judge) if args.judge else None
    rows = held_out_rows(model, args.text, args.rows, length)
    taken_out = [with_gaps(rows, args.gaps, model.tokenizer.mask_id, seed) for seed in range(args.seeds)]
    print(
        f"{len(rows)} rows of {length} tokens, {int(taken_out[0].may_change[0].sum())} taken out of each, "
        f"{args.seeds} seeds: median (lowest to highest)"
    )
    original = entropy(np.concatenate([rows[np.stack(some.may_change)] for some in taken_out]))
    print(f"entropy of the tokens taken out: {original:.2f} bits")
    if judge is not None:
        print(f"bits per byte of the original text: {bits_per_byte(model, judge, rows):.4f}")
    print(
        f"{'kept':<20}{'passes':>7}{'temperature':>12}  {'recovered':<24}{'entropy':>8}{'original':>9}  bits/byte"
    )
    table = []
    for way in ways(args.steps, args.temperatures):
        runs = [measure(model, rows, some, way, seed, judge) for seed, some in enumerate(taken_out)]
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        shares = [run["recovered"] for run in runs]
        steps, temperature = way.settings.steps, way.settings.temperature
        table.append({"kept": way.name, "passes": steps, "temperature": temperature, **medians, "runs": runs})
        recovered = f"{medians['recovered']:.4f} ({min(shares):.4f} to {max(shares):.4f})"
        bits = f"{medians['bits_per_byte']:.4f}" if judge is not None else "-"
        print(
            f"{way.name:<20}{steps:>7}{temperature:>12g}  {recovered:<24}{medians['entropy']:>8.2f}"
            f"{medians['original']:>9.4f}  {bits}",
            flush=True,
        )
    print(json.dumps({"rows": len(rows), "length": length, "gaps": args.gaps, "ways": table}))
    return 0


if __name__ == "__main__":
    cli.run(main)
