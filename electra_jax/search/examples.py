"""Scoring a search by examples, and mining negatives for them: ``python -m electra_jax.search score|mine``."""

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from tqdm import tqdm

from electra_jax import cli
from electra_jax.answering import Output, load_with_notes, open_source
from electra_jax.errors import UserError
from electra_jax.files.new_files import check_output
from electra_jax.inference.indexing import build_index
from electra_jax.inference.search_examples import (
    METRICS,
    candidates_of_examples,
    mined,
    read_examples,
    search_scores,
)
from electra_jax.inference.searching import Searcher
from electra_jax.retrieval.index import read_description
from electra_jax.search.model import add_model, check_model, prepare

_USUAL_NEGATIVES = 15


def score(argv: Sequence[str]) -> int:
    """Say how often what is right is found in an index."""
    parser = cli.bare_parser(
        "electra_jax.search score",
        "Looks for what is right in each example of a file among all candidates of an index, and prints metrics in "
        f"percent as JSON: {', '.join(METRICS)}. The file is read as those of the task are (docs/ranking.md); every "
        "right candidate must be in the index.",
    )
    add_model(parser)
    parser.add_argument(
        "--index", type=cli.path, required=True, metavar="DIR", help="directory that build wrote"
    )
    parser.add_argument("--input", type=cli.path, required=True, metavar="FILE", help="examples")
    args = parser.parse_args(argv)
    prepare()
    read_description(args.index)
    open_source(str(args.input))
    name, section, length = check_model(args)
    examples = read_examples(args.input, section, name, length)
    searcher = Searcher(load_with_notes(args.workdir), args.index, args.task)
    with _bar(len(examples)) as bar:
        print(json.dumps({"examples": len(examples), **search_scores(searcher, examples, bar.update)}))
    return 0


def mine(argv: Sequence[str]) -> int:
    """Write examples whose negatives are the model's own best wrong answers."""
    parser = cli.bare_parser(
        "electra_jax.search mine",
        "Writes the examples of a file again as JSON lines, their negatives the candidates that the model scores best "
        "and that are not right; a ranker learns more from them than from others' candidates. The candidates are "
        "those of an index, or all of the file's own. The file is read as those of the task are, and so is what is "
        "written: train on it with finetune.tasks.NAME.train=FILE, any encoder (docs/search.md).",
    )
    add_model(parser)
    parser.add_argument("--input", type=cli.path, required=True, metavar="FILE", help="examples to train on")
    parser.add_argument(
        "--output", type=cli.path, required=True, metavar="FILE", help="where to write: .jsonl"
    )
    parser.add_argument(
        "--index", type=cli.path, metavar="DIR", help="what build wrote (default: the candidates of --input)"
    )
    parser.add_argument(
        "--negatives",
        type=int,
        default=_USUAL_NEGATIVES,
        metavar="N",
        help=f"of each example, at most (default: {_USUAL_NEGATIVES})",
    )
    parser.add_argument(
        "--skip",
        type=int,
        default=0,
        metavar="N",
        help="leave out the N best, which may be right though the file does not say so (default: 0)",
    )
    args = parser.parse_args(argv)
    if args.negatives < 1 or args.skip < 0:
        raise UserError("--negatives is a number from 1 on, and --skip one from 0 on")
    prepare()
    if args.index is not None:
        read_description(args.index)
    open_source(str(args.input))
    check_output(args.output, str(args.input))
    if args.output.suffix != ".jsonl":
        raise UserError(
            f"--output {args.output} is JSON lines, and read as such by its name: call it FILE.jsonl"
        )
    name, section, length = check_model(args)
    examples = read_examples(args.input, section, name, length)
    model = load_with_notes(args.workdir)
    with _bar(len(examples)) as bar:
        index = args.index or build_index(model, candidates_of_examples(examples), None, name, cut=[])
        searcher = Searcher(model, index, name)
        without = 0
        with Output(args.output) as output:
            for example in mined(searcher, examples, args.negatives, args.skip, bar.update):
                without += not example[section.negatives or "negatives"]
                output.write([example])
    if without:
        cli.note(f"{without:,} examples have no negatives: there are too few candidates that are not right")
    return 0


def _bar(count: int) -> "tqdm[NoReturn]":
    return tqdm(total=count, unit=" examples", disable=not sys.stderr.isatty(), leave=False)
