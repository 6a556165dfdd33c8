"""Predictions of a fine-tuned model: ``python -m electra_jax.predict --workdir DIR --input FILE|-``."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from electra_jax import cli
from electra_jax.errors import UserError
from electra_jax.host_devices import one_device_a_core
from electra_jax.host_memory import keep_freed_memory
from electra_jax.inference.load import Model, load

# Lines read before they are sorted by length and answered.
CHUNK = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = cli.bare_parser(
        "electra_jax.predict",
        "Reads lines, plain text or JSON objects, and writes one JSON object a line: label and probabilities, tags and "
        "entities, or an answer, as the task of the model has it; lines are batched by length.\n\n"
        "Plain text is one text (or words to tag) a line. Objects have text and, for pairs, pair; words; or question "
        "and context; an id is passed on. --detect says of each token how likely it was replaced, and --encode writes "
        "a vector; both take pre-trained models too.",
        epilog="examples:\n"
        "  python -m electra_jax.predict --workdir runs/cola --input sentences.txt > labels.jsonl\n"
        '  echo \'{"question": "Who?", "context": "Ann did it."}\' | \\\n'
        "      python -m electra_jax.predict --workdir runs/squad2 --input -\n"
        "  python -m electra_jax.predict --workdir runs/tiny --input text.txt --detect\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    parser.add_argument(
        "--input",
        type=cli.input_file,
        required=True,
        metavar="FILE",
        help="lines to read; - is standard input",
    )
    parser.add_argument(
        "--output", type=cli.path, metavar="FILE", help="where to write (default: standard output)"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where the model has several")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detect", action="store_true", help="which tokens look replaced")
    what.add_argument("--encode", choices=("mean", "first"), help="a vector for each text, so pooled")
    args = parser.parse_args(argv)
    keep_freed_memory()
    one_device_a_core()
    if args.input != "-" and not Path(args.input).is_file():
        raise UserError(f"--input {args.input} is not a file")
    model = load(args.workdir)
    answer = _answerer(model, args)
    with contextlib.ExitStack() as stack:
        source = (
            sys.stdin if args.input == "-" else stack.enter_context(Path(args.input).open(encoding="utf-8"))
        )
        target = (
            sys.stdout
            if args.output is None
            else stack.enter_context(args.output.open("w", encoding="utf-8"))
        )
        records = _records(source, args.input)
        while chunk := list(islice(records, CHUNK)):
            for record, result in zip(chunk, answer(chunk), strict=True):
                line = {
                    "id": record.get("id", str(record[_LINE])),
                    **{k: v for k, v in result.items() if k != "id"},
                }
                print(json.dumps(line, ensure_ascii=False), file=target)
            target.flush()
    return 0


_LINE = "line number"


def _records(source: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """A dictionary a line that is not empty, with its number.

    Raises:
        UserError: a line that begins as a JSON object and is none.
    """
    for number, line in enumerate(source, start=1):
        line = line.strip()
        if not line:
            continue
        record: Any = {"text": line}
        if line.startswith("{"):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"--input {name}, line {number}: not valid JSON ({error.msg})") from None
        yield {**record, _LINE: number}


def _answerer(
    model: Model, args: argparse.Namespace
) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """What is asked of the model for a list of records.

    Raises:
        UserError: the model has no task, or several and none is named; a record without what the task reads.
    """

    def field(record: dict[str, Any], name: str) -> Any:
        if name not in record:
            there = ", ".join(sorted(set(record) - {_LINE}))
            raise UserError(
                f"--input {args.input}, line {record[_LINE]}: no {name!r}, which is needed; there is: {there}"
            )
        return record[name]

    if args.detect:
        return lambda records: [
            {"tokens": [asdict(token) for token in tokens]}
            for tokens in model.detect([field(record, "text") for record in records])
        ]
    if args.encode:
        return lambda records: [
            {"vector": vector.tolist()}
            for vector in model.encode([field(record, "text") for record in records], args.encode)
        ]
    task = args.task or (next(iter(model.tasks)) if len(model.tasks) == 1 else None)
    if task not in model.tasks:
        there = ", ".join(model.tasks) or "none (it is not fine-tuned; --detect and --encode work)"
        raise UserError(f"--task {args.task or 'is missing'}: the tasks of {args.workdir} are: {there}")
    kind = model.tasks[task].kind
    if kind == "question_answering":
        return lambda records: model.answer_all(
            [(field(record, "question"), field(record, "context")) for record in records], task
        )
    if kind == "tagging":
        return lambda records: model.tag(
            [record.get("words") or field(record, "text") for record in records], task
        )
    return lambda records: model.classify(
        [
            (field(record, "text"), record["pair"])
            if record.get("pair") is not None
            else field(record, "text")
            for record in records
        ],
        task,
    )


if __name__ == "__main__":
    cli.run(main)
