"""Searching many candidates: ``python -m electra_jax.search build|ask --workdir DIR --index DIR``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from tqdm import tqdm

from electra_jax import cli
from electra_jax.config.tasks import RankingConfig
from electra_jax.errors import UserError
from electra_jax.inference.candidate_files import read_candidates
from electra_jax.inference.load import trained_tasks
from electra_jax.inference.reading import read_records
from electra_jax.inference.records import Record, chunk_records
from electra_jax.inference.searching import Searcher, build_index, check_k, searching_task
from electra_jax.predict import (
    LineCounts,
    Output,
    Predictor,
    check_output,
    load_with_notes,
    open_source,
    predict_chunk,
)
from electra_jax.retrieval.index import check_new, read_description
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory

_USUAL_K = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, or one of its actions."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in _ACTIONS:
        return _ACTIONS[given[0]](given[1:])
    parser = cli.bare_parser(
        "electra_jax.search",
        "Finds the candidates that score best after a text: replies to a dialogue, passages for a question, sentences "
        "alike. build makes the vectors of all candidates once and keeps them; ask compares a text with every one of "
        "them. Both need a model that was fine-tuned on a task of kind ranking, encoder bi or poly (docs/search.md)."
        "\n\nEach action has --help of its own.",
        epilog="examples:\n"
        "  python -m electra_jax.search build --workdir runs/ranker --candidates replies.txt --index replies.index\n"
        "  python -m electra_jax.search ask --workdir runs/ranker --index replies.index --query 'Who wrote Hamlet?'\n"
        "  python -m electra_jax.search ask --workdir runs/ranker --index replies.index --input asked.jsonl --k 100\n",
    )
    parser.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=", ".join(_ACTIONS))
    parser.parse_args(given)
    raise UserError(f"the action comes first, one of {', '.join(_ACTIONS)}, and then its arguments")


def build(argv: Sequence[str]) -> int:
    """Make an index."""
    parser = cli.bare_parser(
        "electra_jax.search build",
        "Makes the vectors of all candidates of a file and keeps them in a directory, which ask searches.\n\n"
        "The file has a text a line; or JSON objects, or a table with named columns, with text (or candidate, or "
        "response) and perhaps an id. It may be compressed. Of equal texts the first is kept.",
    )
    _add_model(parser)
    parser.add_argument(
        "--candidates", type=cli.input_file, required=True, metavar="FILE", help="- is standard input"
    )
    parser.add_argument("--index", type=cli.path, required=True, metavar="DIR", help="a new directory")
    args = parser.parse_args(argv)
    _prepare()
    check_new(args.index)
    source = open_source(args.candidates)
    _check_model(args)
    candidates, twice = read_candidates(source)
    model = load_with_notes(args.workdir)
    cut: list[bool] = []
    with tqdm(total=len(candidates), unit=" candidates", disable=not sys.stderr.isatty(), leave=False) as bar:
        index = build_index(model, candidates, args.index, args.task, cut=cut, progress=bar.update)
    if twice:
        cli.note(f"{twice:,} candidates were there already and are kept once")
    if any(cut):
        cli.note(f"{sum(cut):,} of {len(cut):,} candidates are longer than the task reads and were cut")
    print(f"{len(index):,} candidates, vectors of {index.description.width}: {args.index}")
    return 0


def ask(argv: Sequence[str]) -> int:
    """Search an index."""
    parser = cli.bare_parser(
        "electra_jax.search ask",
        "Finds the candidates of an index that score best after a text; every candidate is compared.\n\n"
        "With --query there is a line for each, the best first: its score, a tab, its text. With --input there is one "
        "JSON object for each line of the file: id, and answers, a list of candidate, id, number (its place in the "
        "index) and score. The file has a text a line; or JSON objects, or a table with named columns, with context "
        "(or the column that the task was trained on) or text.",
    )
    _add_model(parser)
    parser.add_argument(
        "--index", type=cli.path, required=True, metavar="DIR", help="directory that build wrote"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--query", metavar="TEXT", help="what to search for")
    what.add_argument("--input", type=cli.input_file, metavar="FILE", help="- is standard input")
    parser.add_argument(
        "--k", type=int, default=_USUAL_K, metavar="N", help=f"how many to find (default: {_USUAL_K})"
    )
    parser.add_argument(
        "--output", type=cli.path, metavar="FILE", help="where to write (default: standard output)"
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do at a line that cannot be read",
    )
    args = parser.parse_args(argv)
    check_k(args.k)
    _prepare()
    read_description(args.index)
    source = None if args.input is None else open_source(args.input)
    if args.output is not None:
        check_output(args.output, source)
    _check_model(args)
    if source is None:
        searcher = Searcher(load_with_notes(args.workdir), args.index, args.task)
        (answers,) = searcher.search([args.query], args.k)
        with Output(args.output) as output:
            output.write([f"{one['score']:.4f}\t{' '.join(one['candidate'].split())}" for one in answers])
        return 0
    read = chunk_records(read_records(source))
    first = next(read, [])
    if args.on_error == "stop" and first and isinstance(first[0], UserError):
        raise first[0]
    searcher = Searcher(load_with_notes(args.workdir), args.index, args.task)
    column = _context_column(searcher)
    predictor = Predictor(
        lambda record: _context_of(record, column), lambda texts: _answers(searcher, texts, args.k)
    )
    counts = LineCounts()
    with Output(args.output) as output:
        for chunk in chain([first], read):
            predict_chunk(chunk, predictor, args.on_error, output, counts)
    return counts.status()


_ACTIONS: Mapping[str, Callable[[Sequence[str]], int]] = {"build": build, "ask": ask}


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where several of the model's rank")


def _prepare() -> None:
    keep_freed_memory()
    one_device_per_core()


def _check_model(args: argparse.Namespace) -> None:
    """Refuse a model that makes no vectors of candidates; of most it is known before their parameters are read.

    Raises:
        UserError: it has no task that does.
    """
    known = trained_tasks(args.workdir)
    if known is not None:
        searching_task(*known, args.task)


def _context_column(searcher: Searcher) -> str:
    section = searcher.model.config.finetune.tasks[searcher.task]
    return (section.context if isinstance(section, RankingConfig) else None) or "context"


def _context_of(record: Record, column: str) -> str:
    return record.text(column if column in record.fields else "text")


def _answers(searcher: Searcher, texts: list[str], k: int) -> list[dict[str, Any]]:
    cut: list[bool] = []
    found = searcher.search(texts, k, cut)
    return [
        {"answers": answers} | ({"truncated": True} if is_cut else {})
        for answers, is_cut in zip(found, cut, strict=True)
    ]


if __name__ == "__main__":
    cli.run(main)
