"""Building an index of candidates, and asking it: ``python -m electra_jax.search build|ask``."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from electra_jax import cli
from electra_jax.answering import LineCounts, Output, Predictor, load_with_notes, open_source, predict_chunk
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.errors import UserError, visible
from electra_jax.files.new_files import check_output
from electra_jax.inference.candidate_files import read_candidates
from electra_jax.inference.conversations import said_text
from electra_jax.inference.indexing import build_index
from electra_jax.inference.reading import TrainingFileFormat, read_records, training_file_format
from electra_jax.inference.records import Record, begun, chunk_records
from electra_jax.inference.searching import Searcher, check_k
from electra_jax.retrieval.index import check_new, read_description
from electra_jax.search.model import add_model, check_model, prepare

_USUAL_K = 10


def build(argv: Sequence[str]) -> int:
    """Make an index."""
    parser = cli.bare_parser(
        "electra_jax.search build",
        "Makes the vectors of all candidates of a file and keeps them in a directory, which ask searches.\n\n"
        "The file has a text a line; or JSON objects, or a table with named columns, with text (or candidate, or "
        "response) and perhaps an id. It may be compressed. Of equal texts the first is kept.",
    )
    add_model(parser)
    parser.add_argument(
        "--candidates", type=cli.input_file, required=True, metavar="FILE", help="- is standard input"
    )
    parser.add_argument("--index", type=cli.path, required=True, metavar="DIR", help="a new directory")
    args = parser.parse_args(argv)
    prepare()
    check_new(args.index)
    source = open_source(args.candidates)
    check_model(args)
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
        "(or the column that the task was trained on) or text. For a task on conversations objects may have their "
        "turns, and a text is all that was said.",
    )
    add_model(parser)
    parser.add_argument(
        "--index", type=cli.path, required=True, metavar="DIR", help="directory that build wrote"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--query", metavar="TEXT", help="what to search for")
    what.add_argument("--input", type=cli.input_file, metavar="FILE", help="- is standard input")
    parser.add_argument(
        "--k", type=int, default=_USUAL_K, metavar="N", help=f"how many to find (default: {_USUAL_K})"
    )
    cli.add_output(parser)
    cli.add_on_error(parser)
    args = parser.parse_args(argv)
    check_k(args.k)
    if args.query is not None and not args.query.strip():
        raise UserError("--query is empty: give the text to search for")
    prepare()
    read_description(args.index)
    source = None if args.input is None else open_source(args.input)
    if args.output is not None:
        check_output(args.output, source)
    name, section, _ = check_model(args)
    if source is None:
        searcher = Searcher(load_with_notes(args.workdir), args.index, args.task)
        asked = args.query if section.conversations is None else said_text(args.query, section.conversations)
        cut: list[bool] = []
        (answers,) = searcher.search([asked], args.k, cut)
        if any(cut):
            cli.note("--query is longer than the task reads and was cut")
        with Output(args.output) as output:
            output.write([_shown(one) for one in answers])
        return 0
    read = begun(chunk_records(read_records(source, _asked_format(name, section))), args.on_error)
    searcher = Searcher(load_with_notes(args.workdir), args.index, args.task)
    column = section.context or "context"
    predictor = Predictor(
        lambda record: _context_of(record, column), lambda texts: _answers(searcher, texts, args.k)
    )
    counts = LineCounts()
    with Output(args.output) as output:
        for chunk in read:
            predict_chunk(chunk, predictor, args.on_error, output, counts)
    return counts.status()


def _asked_format(name: str, section: RankingConfig) -> TrainingFileFormat:
    """Return how --input is read: turns as the task reads them, but without candidates."""
    if section.conversations is None:
        return TrainingFileFormat()
    return replace(training_file_format(name, section, ()), choices=None)


def _shown(answer: dict[str, Any]) -> str:
    return f"{answer['score']:.4f}\t{visible(' '.join(answer['candidate'].split()))}"


def _context_of(record: Record, column: str) -> str:
    return record.text(column if column in record.fields else "text")


def _answers(searcher: Searcher, texts: list[str], k: int) -> list[dict[str, Any]]:
    cut: list[bool] = []
    found = searcher.search(texts, k, cut)
    return [
        {"answers": answers} | ({"truncated": True} if is_cut else {})
        for answers, is_cut in zip(found, cut, strict=True)
    ]
