"""One exam for several pre-trained runs: ``python -m electra_jax.benchmark RUN … --data FILE [--suite small]``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from electra_jax import __version__, cli
from electra_jax.benchmark.costs import costs_of
from electra_jax.benchmark.detection import corrupt_by_generator, detection_auc, errors_auc
from electra_jax.benchmark.exam import Corrupted, by_frequency, by_the_word_before, corrupt, read_exam
from electra_jax.benchmark.finetunings import finetune_and_measure
from electra_jax.benchmark.measured import Measured
from electra_jax.benchmark.minimal_pairs import first_of_each_group, pairs_accuracies
from electra_jax.benchmark.probes import probe, read_probe
from electra_jax.benchmark.report import Examined, as_json, as_table
from electra_jax.benchmark.suite import SUITES, ExamData, Suite, chosen_parts, read_exam_data
from electra_jax.benchmark.tasks_of_data import read_task
from electra_jax.convert.format_detection import detect_format
from electra_jax.errors import UserError
from electra_jax.files.json_files import write_json
from electra_jax.files.local_paths import check_folder, short_names
from electra_jax.files.new_files import check_output
from electra_jax.inference.error_detection import MarkedSentence, read_marked_sentences
from electra_jax.inference.load import load
from electra_jax.inference.model import Model
from electra_jax.inference.pairs import Pair
from electra_jax.inference.trained import trained_tasks
from electra_jax.objectives.kinds import is_causal
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.scoring.methods import usable_methods
from electra_jax.training.checkpoints import find_checkpoint

_DETECTION = ("exam", "errors")


@dataclass(frozen=True)
class Questions:
    """What every run is asked.

    Attributes:
        suite: how much.
        data: the files.
        parts: those that are asked.
        corruptions: sentences of the exam by the kind of corruption.
        errors: sentences of words marked right or wrong, by name.
        pairs: minimal pairs by name.
        workdir: of the fine-tunings.
    """

    suite: Suite
    data: ExamData
    parts: Sequence[str]
    corruptions: Mapping[str, Sequence[Corrupted]]
    errors: Mapping[str, Sequence[MarkedSentence]]
    pairs: Mapping[str, Sequence[Pair]]
    workdir: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    args = _parser().parse_args(argv)
    suite, data = SUITES[args.suite], read_exam_data(args.data)
    parts = chosen_parts(args.only, data)
    if args.out is not None:
        check_output(args.out, str(args.data), "--out")
    if "finetune" in parts:
        check_folder(args.workdir, "--workdir")
    steps = {run: _checked(run) for run in dict.fromkeys(args.runs)}
    if args.generator is not None and "exam" not in parts:
        raise UserError("--generator writes wrong words for the exam, which is not asked: leave it out")
    if (ours := next((run for run, step in steps.items() if step is not None), None)) is not None:
        _check_tasks(ours, data, parts)
    keep_freed_memory()
    questions = _questions(args, suite, data, parts)
    for part in (part for part in data.missing() if args.only is None):
        cli.note(f"skipped {part}: {args.data} names nothing for it")
    labels = short_names(list(steps))
    examined = [
        _examine(run, step, label, questions)
        for (run, step), label in zip(steps.items(), labels, strict=True)
    ]
    results = {
        "suite": args.suite,
        **asdict(suite),
        "generator": None if args.generator is None else str(args.generator),
        "version": __version__,
        **as_json(examined, suite.samples),
    }
    print(as_table(results), flush=True)  # before the file, which a full disk may refuse
    if args.out is not None:
        write_json(args.out, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = cli.bare_parser(
        "electra_jax.benchmark",
        "Gives several pre-trained runs one exam, the same whatever their recipe and vocabulary, and prints a table, "
        "with what each cost: words replaced by a procedure that depends on no run, words that people got wrong, "
        "minimal pairs by every score a model has, logistic regression on frozen layers, and fine-tunings with paired "
        "seeds. Every run is compared with the first by a paired bootstrap (docs/benchmark.md).\n\n"
        "Nothing is downloaded: --data is a YAML file that names your files by the keys exam, errors, pairs, probes, "
        "finetune and settings; what it does not name is skipped.",
        epilog="examples:\n"
        "  python -m electra_jax.benchmark runs/classic runs/modern --data benchmark.yaml --out result.json\n"
        "  python -m electra_jax.benchmark runs/mine --data benchmark.yaml --only exam,pairs\n",
    )
    parser.add_argument("runs", nargs="+", type=cli.path, metavar="RUN", help="a pre-trained model")
    parser.add_argument(
        "--data",
        type=cli.path,
        required=True,
        metavar="FILE",
        help="the YAML file that names the data, or its directory",
    )
    parser.add_argument(
        "--suite", choices=(*SUITES,), default="small", help="how much is asked (default: small)"
    )
    parser.add_argument(
        "--only", metavar="PART,PART", help="of exam, errors, pairs, probes, finetune (default: all)"
    )
    parser.add_argument(
        "--generator",
        type=cli.path,
        metavar="RUN",
        help="a frozen generator that replaces words in the exam, too; the same for all runs",
    )
    parser.add_argument("--out", type=cli.path, metavar="FILE", help="a new file for everything as JSON")
    parser.add_argument(
        "--workdir",
        type=cli.path,
        default=Path("runs/benchmark"),
        metavar="DIR",
        help="where fine-tunings are kept; finished ones are not done again (default: runs/benchmark)",
    )
    return parser


def _checked(run: Path) -> int | None:
    """Return the step of a run's checkpoint, None of a foreign one.

    Raises:
        UserError: there is none, or it was fine-tuned.
    """
    is_ours = detect_format(run).format == "electra_jax"
    if (known := trained_tasks(run)) is not None and known[0].finetuning:
        raise UserError(f"{run} was fine-tuned: name the pre-trained run that it began from")
    return find_checkpoint(run)[0] if is_ours else None


def _check_tasks(run: Path, data: ExamData, parts: Sequence[str]) -> None:
    """Refuse tasks that cannot be read, before the first hours are spent."""
    for name, section in data.probes.items() if "probes" in parts else ():
        read_probe(run, name, section)
    for name, section in data.finetune.items() if "finetune" in parts else ():
        read_task(run, name, section, data.settings)


def _questions(args: argparse.Namespace, suite: Suite, data: ExamData, parts: Sequence[str]) -> Questions:
    corruptions: dict[str, list[Corrupted]] = {}
    if "exam" in parts:
        assert data.exam is not None
        exam = read_exam(data.exam, suite.sentences, suite.replaced_share)
        corruptions["any word"] = corrupt(exam, by_frequency(exam))
        corruptions["a word that follows"] = corrupt(exam, by_the_word_before(exam))
        if args.generator is not None:
            corruptions["a generator's word"] = corrupt_by_generator(exam, _load(args.generator))
    marked = data.errors if "errors" in parts else {}
    errors = {name: read_marked_sentences(file) for name, file in marked.items()}
    pair_files = data.pairs if "pairs" in parts else {}
    pairs = {name: first_of_each_group(file, suite.pairs) for name, file in pair_files.items()}
    return Questions(suite, data, parts, corruptions, errors, pairs, args.workdir)


def _load(run: Path) -> Model:
    notes: list[str] = []
    model = load(run, notes=notes)
    for line in notes:
        cli.note(line)
    return model


def _examine(run: Path, step: int | None, label: str, asked: Questions) -> Examined:
    """Ask a run everything."""
    model = _load(run)
    costs = costs_of(model, run, step)
    methods = usable_methods(model.config.objective, model._params)
    measured: list[Measured] = []
    skipped: dict[str, str] = {}

    def progress(what: str) -> None:
        print(f"{label}: {what} …", file=sys.stderr, flush=True)

    if "rtd" not in methods:
        skipped |= {
            part: "it has no discriminator with its head" for part in _DETECTION if part in asked.parts
        }
    else:
        for kind, sentences in asked.corruptions.items():
            progress(f"exam, {kind}")
            measured.append(detection_auc(model, kind, sentences))
        for name, marked in asked.errors.items():
            progress(f"errors, {name}")
            measured.append(errors_auc(model, name, marked))
    for name, pairs in asked.pairs.items():
        progress(name)
        measured += pairs_accuracies(model, name, pairs)
    if asked.pairs and not methods:
        skipped["pairs"] = "it has no head that scores text"
    for part, sections in (("probes", asked.data.probes), ("finetune", asked.data.finetune)):
        if part not in asked.parts:
            continue
        if step is None:
            skipped[part] = "it is no work directory: electra_jax.convert makes it one"
            continue
        if part == "probes" and is_causal(model.config.objective):
            skipped[part] = "a causal language model has no vectors of texts"
            continue
        for name, section in sections.items():
            progress(f"{part}, {name}")
            measured += _task_figures(part, model, run, step, name, section, asked)
    return Examined(str(run), label, step, costs, measured, skipped)


def _task_figures(
    part: str, model: Model, run: Path, step: int, name: str, section: Mapping[str, Any], asked: Questions
) -> list[Measured]:
    suite = asked.suite
    if part == "probes":
        return probe(model, run, name, section, suite.layers, suite.probe_examples)
    settings = asked.data.settings
    return [finetune_and_measure(run, step, name, section, settings, suite.seeds, asked.workdir)]


if __name__ == "__main__":
    cli.run(main)
