"""Texts that a trained model writes: ``python -m electra_jax.generate --workdir DIR --prompt TEXT``."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

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
from electra_jax.config import Config
from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.loading import with_overrides
from electra_jax.errors import UserError
from electra_jax.files.new_files import check_output
from electra_jax.generation.settings import resolve_method, texts_per_prompt
from electra_jax.inference.conversations import said_text
from electra_jax.inference.model import Model
from electra_jax.inference.reading import TrainingFileFormat, read_records, training_file_format
from electra_jax.inference.records import Record, begun, chunk_records
from electra_jax.inference.refining import check_is_pair, refine_texts
from electra_jax.inference.reranker_file import check_models, load_reranker, read_judges
from electra_jax.inference.reranking import RerankingWriter, check_several
from electra_jax.inference.source_writer import SourceWriter, writing_tasks
from electra_jax.inference.trained import trained_tasks
from electra_jax.inference.writing import build_writer, check_can_write, not_written
from electra_jax.objectives.kinds import abilities
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.tasks.seq2seq import prediction_of

# Prompts that are sorted by length together, and answered before the next ones are read.
_CHUNK = 1024
# What refining reads of the section generation.
_REFINING = ("generation.refine.", "generation.seed=", "generation.method=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = cli.bare_parser(
        "electra_jax.generate",
        "Writes on from a prompt, or from each line of a file, with a causal language model "
        "(objective.kind=causal_lm). With a fine-tuned task that writes (kind: seq2seq) each line is a source, for "
        "which its translation or summary is written. An ELECTRA pair fills the gaps of a text instead, ___ or [MASK], "
        "by turns of generator and discriminator (generation.method=refine); a text without a gap is a draft, which it "
        "may rewrite.\n\n"
        "With --prompt the text is printed as it is. With --input there is one JSON object a line: id, text, score "
        "(log p, or what beams are ranked by) and finish (end, stop or length); of several texts, others holds those "
        "after the first; filled gaps have trace, the scores after each pass, in place of finish. "
        "Sources longer than the model reads have truncated and source_tokens_cut, and reranked texts scores, those of "
        "each judge. "
        "Files are read as electra_jax.predict reads them: a prompt a line, or objects and tables "
        "with text or prompt, or with the column that the task was trained on.\n\n"
        "What is written follows from the prompt, its number in the file and generation.seed, on any number of "
        "devices. A line that cannot be read ends the command; with --on-error skip it is left out, and the status "
        f"is {SKIPPED}.",
        epilog="examples:\n"
        "  python -m electra_jax.generate --workdir runs/shakespeare --prompt 'ROMEO:' --stream generation.top_p=0.95\n"
        "  python -m electra_jax.generate --workdir runs/lm --input prompts.txt --n 3 generation.temperature=0.8\n"
        "  python -m electra_jax.generate --workdir runs/lm --input prompts.jsonl generation.beams=4 > out.jsonl\n"
        "  echo 'The ___ is open.' | python -m electra_jax.generate --workdir runs/small --input -\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--prompt", metavar="TEXT", help="what to write on from; '' is the beginning of a document"
    )
    what.add_argument(
        "--input", type=cli.input_file, metavar="FILE", help="a prompt a line; - is standard input"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where several of the model's write")
    parser.add_argument(
        "--stream", action="store_true", help="with --prompt: print the text as it is written"
    )
    parser.add_argument("--n", type=int, metavar="N", help="draw N texts for each prompt: generation.n=N")
    parser.add_argument(
        "--rerank",
        metavar="WHAT",
        help="put the best of several texts for a source first: a file that electra_jax.rerank wrote, or one judge, "
        "such as rtd=DIR or decoder (docs/generation.md)",
    )
    cli.add_output(parser)
    cli.add_on_error(parser)
    cli.add_overrides(parser, "settings of the section generation that win over those of the run")
    args = parser.parse_args(argv)
    _check(args)
    keep_freed_memory()
    one_device_per_core()
    source = None if args.input is None else open_source(args.input)
    if args.output is not None:
        check_output(args.output, source)
    args.judges = None if args.rerank is None else read_judges(args.rerank)
    known = trained_tasks(args.workdir)
    if known is not None:  # what the settings alone can refuse
        _settings(known[0], args)
        check_models(args.judges or {}, known[0])
    if source is None:
        return _write_one(load_with_notes(args.workdir), args)
    file_format = TrainingFileFormat() if known is None else _file_format(known[0], args.task)
    read = begun(chunk_records(read_records(source, file_format), most=_CHUNK), args.on_error)
    return _write_all(load_with_notes(args.workdir), args, read)


def _check(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and settings of other sections.

    Raises:
        UserError: it says which.
    """
    if args.stream and (args.prompt is None or args.output is not None):
        raise UserError(
            "--stream shows one text as it is written: it goes with --prompt, and not with --output"
        )
    if others := [setting for setting in args.overrides if not setting.startswith("generation.")]:
        raise UserError(
            f"{others[0]} is no setting of generation, and no other can change here: leave it out"
        )
    if args.n is not None:
        args.overrides = [*args.overrides, f"generation.n={args.n}"]


def _settings(config: Config, args: argparse.Namespace) -> Config:
    """Return the configuration with the settings that are given.

    Raises:
        UserError: a setting that does not fit, or a model that cannot write so.
    """
    values = config.model_dump(exclude_unset=True)
    is_pair = "refine" in abilities(config.objective)
    if not is_pair:
        check_can_write(config)
    settings = with_overrides(values, args.overrides, str(args.workdir))
    if is_pair and resolve_method(settings.generation, is_pair=True) != "refine":
        check_can_write(config)
    if is_pair and (args.stream or settings.generation.n > 1):
        raise UserError("generation.method=refine gives one text, as a whole: leave --stream and --n out")
    if is_pair and (unread := [setting for setting in args.overrides if not setting.startswith(_REFINING)]):
        raise UserError(
            f"{unread[0]} is not read by generation.method=refine, which reads generation.refine.* and "
            "generation.seed: leave it out"
        )
    if args.judges is not None:
        if not config.finetuning:
            raise UserError(
                f"--rerank chooses among texts for a source, and this model ({config.kind_of_run}) has no task of kind "
                "seq2seq: leave it out"
            )
        check_several(
            texts_per_prompt(settings.generation, resolve_method(settings.generation, is_pair=False))
        )
    return settings


def _file_format(config: Config, name: str | None) -> TrainingFileFormat:
    """Return what the task that writes was trained on, whose columns are read; of a language model nothing."""
    there = writing_tasks(config)
    if name is None and len(there) == 1:
        name = there[0]
    if name is None or name not in there:
        return TrainingFileFormat()
    return training_file_format(name, config.finetune.tasks[name], ())


def _conversations(config: Config, name: str | None) -> ConversationsConfig | None:
    reader = _file_format(config, name).conversations
    return None if reader is None else reader.config


def _said(config: Config, args: argparse.Namespace) -> str:
    """Return --prompt as the task that writes reads it."""
    section = _conversations(config, args.task)
    return args.prompt if section is None else said_text(args.prompt, section)


def _write_one(model: Model, args: argparse.Namespace) -> int:
    """Write on from --prompt, as plain text."""
    settings = _settings(model.config, args)
    if "refine" in abilities(model.config.objective):
        texts = [line["text"] for line in _refine(model, args, [args.prompt], [0])]
    else:
        writer = _writer(model, settings, args)
        prompt = writer.prompt(_said(model.config, args), "--prompt")
        if model.tokenizer.unk_id in (prompt if isinstance(prompt, list) else model.tokenizer.encode(prompt)):
            cli.note(
                "--prompt has characters or words that the vocabulary does not have: the model reads [UNK] there"
            )
        if args.stream:
            for piece in writer.stream(prompt):
                print(piece, end="", flush=True)
            print()
            return 0
        written = writer.write([prompt])[0]
        if cut := written[0].source_tokens_cut:
            which = "last" if _conversations(model.config, args.task) is None else "first"
            cli.note(f"--prompt is longer than the model reads: its {which} {cut:,} tokens are not read")
        texts = [found.text for found in written]
    text = "\n\n".join(texts)
    if args.output is None:
        print(text)
    else:
        args.output.write_text(f"{text}\n", encoding="utf-8")
    return 0


def _write_all(model: Model, args: argparse.Namespace, chunks: Iterator[list[Any]]) -> int:
    """Write on from each line of --input, as JSON lines."""
    settings = _settings(model.config, args)
    counts = LineCounts()
    with tqdm(unit=" prompts", disable=not sys.stderr.isatty(), leave=False) as bar:
        if "refine" in abilities(model.config.objective):
            predictor = Predictor(_prompt_of, lambda texts: _refine(model, args, texts, counts.asked))
        else:
            writer = _writer(model, settings, args)
            predictor = Predictor(
                lambda record: _prompt_for(writer, record),
                lambda prompts: list(map(prediction_of, writer.write(prompts, counts.asked, bar.update))),
            )
        try:
            with Output(args.output) as output:
                for chunk in chunks:
                    predict_chunk(chunk, predictor, args.on_error, output, counts)
        except UserError as error:
            if not counts.answered:
                raise
            where: str | Path = "standard output" if args.output is None else args.output
            raise UserError(
                f"{str(error).rstrip('.')}; the {counts.answered:,} before it are answered in {where}"
            ) from error
    return counts.status()


def _writer(model: Model, settings: Config, args: argparse.Namespace) -> Any:
    # What a vocabulary does to the targets of a task was said when it was trained.
    if not model.config.finetuning and (note := not_written(model.tokenizer)):
        cli.note(note)
    writer = build_writer(model, settings.generation, args.task)
    if args.judges is None:
        return writer
    notes: list[str] = []
    reranker = load_reranker(args.judges, model, notes)
    for line in notes:
        cli.note(line)
    return RerankingWriter(writer, reranker)


def _prompt_of(record: Record) -> str:
    is_prompt = "prompt" in record.fields and record.names.get("text") not in record.fields
    return record.text("prompt" if is_prompt else "text")


def _prompt_for(writer: Any, record: Record) -> Any:
    text = _prompt_of(record)
    return (
        writer.prompt_of(record, text)
        if isinstance(writer, SourceWriter | RerankingWriter)
        else writer.prompt(text, record.where)
    )


def _refine(
    model: Model, args: argparse.Namespace, texts: list[str], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """Fill the gaps of texts, or rewrite those without.

    The score is the discriminator's mean log(1 - p replaced), the last of the trace of passes.
    """
    check_is_pair(model)
    section = _settings(model.config, args).generation
    given = {**section.refine.model_dump(), "seed": section.seed}
    cut: list[bool] = []
    found = refine_texts(model, texts, True, given, cut, numbers)
    return [
        {"text": one.text, "score": one.trace[-1], "trace": one.trace}
        | ({"truncated": True} if is_cut else {})
        for one, is_cut in zip(found, cut, strict=True)
    ]


if __name__ == "__main__":
    cli.run(main)
