"""Predictions of a fine-tuned model: ``python -m electra_jax.predict --workdir DIR --input FILE|-``."""

import argparse
from collections.abc import Collection, Sequence

from electra_jax import cli
from electra_jax.answering import (
    SKIPPED,
    LineCounts,
    Output,
    Predictor,
    load_with_notes,
    open_source,
    predict_chunk,
)
from electra_jax.config.objectives import Objective
from electra_jax.errors import UserError
from electra_jax.files.new_files import check_output
from electra_jax.inference import predictions
from electra_jax.inference.filling import check_generator, check_k
from electra_jax.inference.model import Model
from electra_jax.inference.predictions import text_with_gaps
from electra_jax.inference.prompts import check_labels_fit, check_prompter, check_prompts
from electra_jax.inference.reading import TrainingFileFormat, read_records, training_file_format
from electra_jax.inference.records import Record, begun, chunk_records
from electra_jax.inference.reranker_file import judges_of_task, load_reranker
from electra_jax.inference.reviewing import check_reviewer, check_threshold, readable_review
from electra_jax.inference.source_writer import SourceWriter
from electra_jax.inference.trained import trained_tasks
from electra_jax.inference.vectors import check_layer
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.scoring.methods import SCORES, choose_method
from electra_jax.tasks.seq2seq import prediction_of

_DEFAULT_SCORE = "auto"
_SUGGESTIONS, _THRESHOLD = 3, 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parse(argv)
    keep_freed_memory()
    one_device_per_core()
    source = open_source(args.input)
    if args.output is not None:
        check_output(args.output, source)
    # If possible the first lines are read before the parameters, so that their errors come at once.
    known = trained_tasks(args.workdir)
    model = load_with_notes(args.workdir) if known is None else None
    file_format = TrainingFileFormat()
    if _needs_no_task(args):
        if known is not None:  # what the kind alone can refuse
            _check_heads(args, known[0].objective, None)
            check_layer(args.layer, known[0].model.num_layers)
    else:
        config, tasks = known or (model.config, model.tasks)  # type: ignore[union-attr]
        name = _task_name(tasks, args)
        file_format = training_file_format(name, config.finetune.tasks[name], tasks[name].labels)
        args.judges = None if args.rerank is None else judges_of_task(args.rerank, config, name)
    read = begun(chunk_records(read_records(source, file_format)), args.on_error)
    model = model or load_with_notes(args.workdir)
    counts = LineCounts()
    predictor = _make_predictor(model, args, file_format, counts)
    try:
        with Output(args.output) as output:
            for chunk in read:
                predict_chunk(chunk, predictor, args.on_error, output, counts)
    except UserError as error:
        if not counts.answered:
            raise
        where = "standard output" if args.output is None else str(args.output)
        raise UserError(
            f"{str(error).rstrip('.')}; the {counts.answered:,} before it are answered in {where}"
        ) from error
    return counts.status()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments.

    Raises:
        UserError: they do not go together.
    """
    parser = cli.bare_parser(
        "electra_jax.predict",
        "Reads lines, plain text or JSON objects, or a table, and writes one JSON object a line: label and "
        "probabilities, tags and entities, an answer, or a text that is written, as the task of the model has "
        "it; lines are batched by length.\n\n"
        "Plain text is one text (or words to tag) a line. Objects, and the named columns of .csv and .tsv, have text "
        "and, for pairs, pair; words; question and context; context and options or candidates; an id is passed on. "
        "Files like those that the task was trained on are read as they were. Files may be compressed. --detect "
        "says of each token how likely it was replaced, and --encode writes a vector; both take pre-trained models "
        "too. --review proof-reads: the words that look wrong, the worst first, with what the generator would write "
        "there (docs/review.md). --labels with --template classifies by prompts, without fine-tuning "
        "(docs/zero_shot.md). --score writes a number for each text, the larger the likelier, and --fill the "
        'likeliest tokens at its gaps, [MASK] or ___ (docs/scoring.md). What did not fit the model has "truncated": '
        "true.\n\n"
        "A line that cannot be read ends the command with status 2, behind the answers to the lines before it. With "
        f"--on-error skip it is left out, reported and counted; the status then is {SKIPPED}.",
        epilog="examples:\n"
        "  python -m electra_jax.predict --workdir runs/cola --input sentences.txt > labels.jsonl\n"
        '  echo \'{"question": "Who?", "context": "Ann did it."}\' | \\\n'
        "      python -m electra_jax.predict --workdir runs/squad2 --input -\n"
        "  python -m electra_jax.predict --workdir runs/tiny --input text.txt --detect\n"
        "  echo 'The ___ is open.' | python -m electra_jax.predict --workdir runs/tiny --input - --fill 3\n",
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
    cli.add_output(parser)
    parser.add_argument("--task", metavar="NAME", help="which task, where the model has several")
    cli.add_on_error(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detect", action="store_true", help="which tokens look replaced")
    what.add_argument(
        "--encode", choices=("mean", "first"), help="a vector for each text, mean- or [CLS]-pooled"
    )
    parser.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="with --encode, the layer whose states are pooled; 0: the embeddings (default: the last)",
    )
    what.add_argument(
        "--rerank",
        metavar="WHAT",
        help="with a task that writes, rank the candidates of each line by a judge or a file of weighted judges, as "
        "electra_jax.generate takes them (docs/generation.md)",
    )
    what.add_argument(
        "--score",
        nargs="?",
        const=_DEFAULT_SCORE,
        choices=(*SCORES, _DEFAULT_SCORE),
        metavar="METHOD",
        help=f"how likely each text is: {', '.join(SCORES)} (default: the objective's own)",
    )
    what.add_argument(
        "--fill",
        nargs="?",
        const=5,
        type=int,
        metavar="K",
        help="the K likeliest tokens at each gap (default: 5)",
    )
    what.add_argument(
        "--review",
        nargs="?",
        const=_SUGGESTIONS,
        type=int,
        metavar="K",
        help=f"the words that look wrong, with K suggestions each (default: {_SUGGESTIONS})",
    )
    what.add_argument(
        "--labels",
        metavar="A,B",
        help="zero-shot: words, with commas between them, of which the likeliest in --template is given",
    )
    parser.add_argument(
        "--template", metavar="PROMPT", help="with --labels, such as '{text} It was {label}.'"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help=f"with --review, the words that were replaced with probability P or more (default: {_THRESHOLD})",
    )
    parser.add_argument(
        "--readable", action="store_true", help="with --review, lines for people and not JSON"
    )
    parser.add_argument("--per-token", action="store_true", help="with --score, that of each token, too")
    parser.add_argument("--end", action="store_true", help="with --score lm, score that a text ends, too")
    args = parser.parse_args(argv)
    if (args.per_token or args.end) and args.score is None:
        raise UserError(
            f"{'--per-token' if args.per_token else '--end'} says how to --score, which is missing"
        )
    if (args.readable or args.threshold is not None) and args.review is None:
        raise UserError(
            f"{'--readable' if args.readable else '--threshold'} says how to --review, which is missing"
        )
    if args.layer is not None and args.encode is None:
        raise UserError("--layer says how to --encode, which is missing")
    if (args.labels is None) != (args.template is None):
        raise UserError("--labels and --template go together: what is missing is the other one")
    if args.labels is not None:
        args.labels = check_prompts(args.labels.split(","), args.template)
    if args.threshold is None:
        args.threshold = _THRESHOLD
    check_threshold(args.threshold)
    return args


def _needs_no_task(args: argparse.Namespace) -> bool:
    """Return whether what is asked for is none of a task's predictions."""
    given = (args.encode, args.score, args.fill, args.review, args.labels)
    return args.detect or any(what is not None for what in given)


def _check_heads(args: argparse.Namespace, settings: Objective, parts: Collection[str] | None) -> None:
    """Refuse what a model of this section ``objective`` with these parameters has not the heads for.

    Raises:
        UserError: it lacks what is needed.
    """
    if args.score:
        choose_method(None if args.score == _DEFAULT_SCORE else args.score, settings, parts, end=args.end)
    if args.fill is not None:
        check_generator(settings, parts)
    if args.review is not None:
        check_reviewer(settings, parts, args.review)
    if args.labels is not None:
        check_prompter(settings, parts)


def _task_name(tasks: Collection[str], args: argparse.Namespace) -> str:
    """Return the task to predict.

    Raises:
        UserError: the model has no task, or several and none is named.
    """
    task = args.task or (next(iter(tasks)) if len(tasks) == 1 else None)
    if task not in tasks:
        there = (
            ", ".join(tasks)
            or "none (it is not fine-tuned: try --encode, --score, --fill, --review or --detect)"
        )
        raise UserError(f"--task {args.task or 'is missing'}: the tasks of {args.workdir} are: {there}")
    return str(task)


def _make_predictor(
    model: Model, args: argparse.Namespace, file_format: TrainingFileFormat, counts: LineCounts
) -> Predictor:
    """Return how the model predicts each record; ``counts`` says which are asked."""
    if args.detect:
        return Predictor(lambda record: record.text("text"), lambda texts: predictions.detected(model, texts))
    if args.encode:
        return Predictor(
            lambda record: record.text("text"),
            lambda texts: predictions.encoded(model, texts, args.encode, args.layer),
        )
    if _needs_no_task(args):
        _check_heads(args, model.config.objective, model._params)
    if args.review is not None:
        return Predictor(
            lambda record: record.text("text"),
            lambda texts: predictions.reviewed(model, texts, args.threshold, args.review),
            (lambda name, text, line: readable_review(name, text, line["words"])) if args.readable else None,
        )
    if args.labels is not None:
        check_labels_fit(model, args.labels, args.template)
        return Predictor(
            lambda record: record.text("text"),
            lambda texts: model.classify_zero_shot(texts, args.labels, args.template),
        )
    if args.score:
        method = None if args.score == _DEFAULT_SCORE else args.score
        return Predictor(
            lambda record: record.text("text"),
            lambda texts: predictions.scored(model, texts, method, per_token=args.per_token, end=args.end),
        )
    if args.fill is not None:
        check_k(model.tokenizer, args.fill)
        return Predictor(text_with_gaps, lambda texts: predictions.filled(model, texts, args.fill))
    task = _task_name(model.tasks, args)
    match file_format.kind:
        case "question_answering":
            return Predictor(
                lambda record: (record.text("question"), record.text("context")),
                lambda questions: model.answer_all(questions, task),
            )
        case "seq2seq" if args.judges is not None:
            reranker = load_reranker(args.judges, model)
            reader = SourceWriter(model, model.config.generation, task)
            return Predictor(
                lambda record: predictions.source_with_candidates(reader, record),
                lambda lists: predictions.reranked(reranker, lists),
            )
        case "seq2seq":
            writer = SourceWriter(model, model.config.generation, task)
            return Predictor(
                lambda record: writer.prompt_of(record, record.text("text")),
                lambda texts: list(map(prediction_of, writer.write(texts, counts.asked))),
            )
        case "multiple_choice":
            return Predictor(_choice, lambda choices: model.choose_all(choices, task))
        case "ranking":
            return Predictor(
                lambda record: (record.text("context"), record.fields["candidates"]),
                lambda contexts: model.rank_all(contexts, task),
            )
        case "tagging":
            return Predictor(Record.words, lambda sentences: model.tag(sentences, task))
    # A column that training did not read is not read here, either.
    extract = Record.text_or_pair if file_format.takes_pairs else lambda record: record.text("text")
    return Predictor(extract, lambda texts: model.classify(texts, task))


def _choice(record: Record) -> tuple[str, list[str], str]:
    return record.text("context"), record.fields["options"], record.text("question")


if __name__ == "__main__":
    cli.run(main)
