"""Weights of judges that rerank texts: ``python -m electra_jax.rerank --workdir DIR --judge NAME … --output FILE``."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from electra_jax import cli
from electra_jax.answering import load_with_notes
from electra_jax.config import Config
from electra_jax.config.loading import with_overrides
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.errors import UserError
from electra_jax.files.new_files import check_output
from electra_jax.generation.settings import resolve_method, texts_per_prompt
from electra_jax.generation.written import Generation
from electra_jax.inference.judges import JUDGES
from electra_jax.inference.model import Model
from electra_jax.inference.rerank_tuning import JudgedTexts, judge_texts
from electra_jax.inference.reranker_file import (
    JudgeSetting,
    check_models,
    load_reranker,
    parse_judge,
    write_judges,
)
from electra_jax.inference.reranking import Reranker, check_several
from electra_jax.inference.source_writer import SourceWriter, retrieved_for, writing_tasks
from electra_jax.inference.trained import trained_tasks
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.tasks.protocol import Seq2SeqExample
from electra_jax.tasks.sources.load import load_examples
from electra_jax.tasks.text_metrics import check_selecting, check_text_metrics, signatures

# Sources for which texts are written before the progress line moves.
_AT_ONCE = 256
_MAY_CHANGE = re.compile(r"generation\.|finetune\.tasks\.[^.=]+\.(train|dev|test|language)=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = cli.bare_parser(
        "electra_jax.rerank",
        "Tunes how much judges count when the best of several texts for a source is chosen: a translation, a summary, "
        "a reply. The model in --workdir, with a task of kind seq2seq, writes several texts for each dev example of "
        "the task, each judge scores them, and weights are searched with which the chosen texts have the best metric. "
        "--output is what electra_jax.generate takes as --rerank.\n\n"
        "Judges are given as NAME=DIR; without a directory it is the model that writes. decoder: log p of the text by "
        "a task that writes; channel: log p of the source by a task that writes sources for texts; ranker: a task of "
        "kind ranking, such as a cross-encoder; rtd, electric, pll, lm: how likely the text is by itself "
        "(docs/scoring.md), with _in_context behind its source; length: how long it is.\n\n"
        "Prints as JSON the metric of the first text as it was written, of one drawn blindly, of the best one there is "
        "(oracle), of what each judge chooses alone, and of the mixture.",
        epilog="example:\n"
        "  python -m electra_jax.rerank --workdir runs/deen --judge decoder --judge channel=runs/ende \\\n"
        "      --judge rtd=runs/mine --output judges.json generation.beams=10 generation.n_best=10\n"
        "  python -m electra_jax.generate --workdir runs/deen --input more.de --rerank judges.json \\\n"
        "      generation.beams=10 generation.n_best=10\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model that writes"
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        metavar="NAME[=DIR]",
        help=f"one of {', '.join(JUDGES)}; once for each",
    )
    parser.add_argument(
        "--output", type=cli.path, required=True, metavar="FILE", help="where the weights are written"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where several of the model's write")
    parser.add_argument("--metric", metavar="NAME", help="what is to be best (default: the task's)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N examples")
    parser.add_argument(
        "--test", action="store_true", help="also print what the weights reach on the task's test examples"
    )
    cli.add_overrides(
        parser, "settings of the section generation, and finetune.tasks.NAME.train, dev, test or language"
    )
    args = parser.parse_args(argv)
    judges = _judges(args)
    check_output(args.output, None)
    keep_freed_memory()
    one_device_per_core()
    known = trained_tasks(args.workdir)
    model = load_with_notes(args.workdir) if known is None else None
    config = _settings(known[0] if model is None else model.config, args)  # type: ignore[index]
    name = _task(config, args)
    metric = args.metric or config.finetune.tasks[name].metric
    check_models(judges, config)
    examples = _examples(config, name, ("dev", "test") if args.test else ("dev",), args.limit)
    model = model or load_with_notes(args.workdir)
    metric = metric or model.tasks[name].metric
    check_text_metrics(name, [metric])
    check_selecting(name, metric)
    return _tune(model, config, name, metric, judges, examples, args)


def _judges(args: argparse.Namespace) -> dict[str, JudgeSetting]:
    """Return the judges that are named.

    Raises:
        UserError: one that there is not, or one twice.
    """
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit} must be at least 1")
    found: dict[str, JudgeSetting] = {}
    for name, setting in map(parse_judge, args.judge):
        if name in found:
            raise UserError(f"--judge {name} is given twice: leave one out")
        found[name] = setting
    return found


def _settings(config: Config, args: argparse.Namespace) -> Config:
    """Return the configuration with the settings that are given.

    Raises:
        UserError: a setting that does not fit, or that can only be trained.
    """
    if others := [setting for setting in args.overrides if not _MAY_CHANGE.match(setting)]:
        raise UserError(
            f"{others[0]} cannot change here, but generation.* and finetune.tasks.NAME.train, dev, test and "
            "language can: leave it out"
        )
    if not writing_tasks(config):
        raise UserError(
            f"this model ({config.kind_of_run}) has no task of kind seq2seq, whose texts could be reranked: name "
            "another --workdir"
        )
    found = with_overrides(config.model_dump(exclude_unset=True), args.overrides, str(args.workdir))
    check_several(texts_per_prompt(found.generation, resolve_method(found.generation, is_pair=False)))
    return found


def _task(config: Config, args: argparse.Namespace) -> str:
    there = writing_tasks(config)
    name: str | None = args.task or (there[0] if len(there) == 1 else None)
    if name not in there:
        raise UserError(
            f"--task {name or 'is missing'}: the tasks of {args.workdir} that write are: {', '.join(there)}"
        )
    return name


def _examples(
    config: Config, name: str, splits: Sequence[str], limit: int | None
) -> dict[str, list[Seq2SeqExample]]:
    """Return the examples of these splits.

    Raises:
        UserError: they are not there, cannot be read, or have no references.
    """
    section = config.finetune.tasks[name]
    if section.data is None:
        where = f"finetune.tasks.{name}"
        if missing := [split for split in splits if getattr(section, split) is None]:
            raise UserError(f"{where} has no {missing[0]} examples: name them, {where}.{missing[0]}=FILE")
        # Conversations of train are taken out of the others.
        conversations = getattr(section, "conversations", None)
        takes_out = conversations is not None and not conversations.keep_repeated
        read = {*splits, "train"} if takes_out else {*splits}
        section = section.model_copy(update=dict.fromkeys({"train", "dev", "test"} - read))
    notes: list[str] = []
    found: dict[str, Any] = load_examples(
        name,
        section,
        tfds_data_dir=config.data.tfds_data_dir,
        needs=splits,
        notes=notes,
        sequence_length=config.data.sequence_length,
    )
    for line in notes:
        cli.note(line.removeprefix("note: "))
    for split in splits:
        if not found[split] or any(example.hidden for example in found[split]):
            raise UserError(f"the {split} examples of {name} have no references to compare with")
    return {split: found[split][:limit] for split in splits}


def _tune(
    model: Model,
    config: Config,
    name: str,
    metric: str,
    judges: dict[str, JudgeSetting],
    examples: dict[str, list[Seq2SeqExample]],
    args: argparse.Namespace,
) -> int:
    notes: list[str] = []
    reranker = load_reranker(judges, model, notes)
    for line in notes:
        cli.note(line)
    writer = SourceWriter(model, config.generation, name)
    section = config.finetune.tasks[name]
    assert isinstance(section, Seq2SeqConfig)
    language = section.language
    weights: dict[str, float] = {}
    report: dict[str, Any] = {"metric": metric}
    references = [example.targets or () for some in examples.values() for example in some]
    if metric in (signed := signatures([metric], references, language)):
        report["signature"] = signed[metric]
    report["generation"] = config.generation.model_dump(exclude_defaults=True)
    for split, some in examples.items():
        judged = _judged(writer, reranker, some, metric, language, split)
        weights = weights or judged.tuned()
        report |= {"weights": weights, split: {"sources": len(some), **judged.figures(weights)}}
    tuned = {name: JudgeSetting(weights[name], setting.model) for name, setting in judges.items()}
    # Before the file, which a full disk may refuse.
    print(json.dumps(report, indent=2, ensure_ascii=False), flush=True)
    write_judges(args.output, tuned, report)
    if not any(weights.values()):
        cli.note(
            "no judge helps on dev: all weights are 0, which leaves texts in the order they are written in"
        )
    return 0


def _judged(
    writer: SourceWriter,
    reranker: Reranker,
    examples: Sequence[Seq2SeqExample],
    metric: str,
    language: str,
    split: str,
) -> JudgedTexts:
    texts: list[list[Generation]] = []
    with tqdm(total=len(examples), unit=f" {split}", file=sys.stderr, disable=None, leave=False) as bar:
        for start in range(0, len(examples), _AT_ONCE):
            some = examples[start : start + _AT_ONCE]
            sources = [
                writer.prompt(example.source, f"the {split} example {example.id}", retrieved_for(example))
                for example in some
            ]
            texts += writer.write(sources, range(start, start + len(some)), bar.update)
    return judge_texts(reranker, examples, texts, metric, language)


if __name__ == "__main__":
    cli.run(main)
