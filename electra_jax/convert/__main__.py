"""Conversion of checkpoints: ``python -m electra_jax.convert SRC DST [--to FORMAT]``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax

from electra_jax import cli
from electra_jax.convert.destination import check_destination, new_destination
from electra_jax.convert.format_detection import DetectedFormat, detect_format
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.names import scopes
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.sentence_transformers_writing import write_sentence_transformers
from electra_jax.convert.tensorflow_format import read_tensorflow, write_tensorflow
from electra_jax.convert.weights import Weights, non_finite_parameters
from electra_jax.errors import UserError, listed, one_line

FORMATS = ("electra_jax", "huggingface", "tensorflow", "sentence_transformers")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = cli.bare_parser(
        "electra_jax.convert",
        "Converts a checkpoint of ELECTRA or ModernBERT, without loss, between electra_jax, Hugging Face and the "
        "original TensorFlow code (TensorFlow and PyTorch need not be installed).\n\n"
        "SRC is recognised: a work directory or one of its checkpoints; a Hugging Face folder, or a folder with the "
        "folders discriminator and generator; the prefix of a TensorFlow checkpoint, or its directory. DST is a "
        "directory that appears whole or not at all: a work directory to start from (init_from=DST); the folders "
        "discriminator and generator, each for transformers' from_pretrained; a TensorFlow checkpoint; or the encoder "
        "alone, for SentenceTransformer(DST).\n\n"
        "The configuration is derived from the source. Whatever is missing, left over or of another shape is an "
        "error that lists it.",
        epilog="examples:\n"
        "  python -m electra_jax.convert electra-small-discriminator ours --generator electra-small-generator\n"
        "  python -m electra_jax.convert electra_small/electra_small ours\n"
        "  python -m electra_jax.convert runs/mine exported --to huggingface\n"
        "  python -m electra_jax.convert runs/vectors exported --to sentence_transformers\n",
    )
    parser.add_argument("source", type=cli.path, metavar="SRC", help="the checkpoint to convert")
    parser.add_argument("destination", type=cli.path, metavar="DST", help="the directory to write")
    parser.add_argument(
        "--to",
        choices=FORMATS,
        help="format of DST (default: huggingface where SRC is of electra_jax, else electra_jax)",
    )
    parser.add_argument(
        "--generator",
        type=cli.path,
        metavar="DIR",
        help="Hugging Face folder of the generator that belongs to SRC",
    )
    parser.add_argument(
        "--vocab",
        type=cli.path,
        metavar="FILE",
        help="vocab.txt of the checkpoint, where it is not beside it",
    )
    parser.add_argument(
        "--step", type=int, metavar="N", help="which checkpoint of a run (default: the newest)"
    )
    parser.add_argument(
        "--optimizer",
        action="store_true",
        help="carry Adam's moments along, between electra_jax and tensorflow, so that a run can go on",
    )
    parser.add_argument(
        "--allow-missing",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names of tensors (with * and ?) that may be missing, or that nothing reads; repeatable",
    )
    parser.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="with --to sentence_transformers, the last layer that is written (default: all are)",
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "first"),
        help="with --to sentence_transformers, what stands for a text (default: what was trained, else mean)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
    cli.add_overrides(parser, "settings that win over what is derived, such as model.num_heads=2")
    args = parser.parse_args(argv)

    found = detect_format(args.source)
    target = args.to or ("huggingface" if found.format == "electra_jax" else "electra_jax")
    sources = [args.source, *([args.generator] if args.generator else [])]
    check_destination(args.destination, overwrite=args.overwrite, sources=sources)
    _check_options(args, found, target)
    jax.config.update("jax_platforms", "cpu")  # no accelerator is needed, and one may be busy
    weights = _read(args, found)
    with new_destination(args.destination) as directory:
        notes = _write(args, weights, target, directory)
    if strange := non_finite_parameters(weights.parameters):
        notes.append(f"not every number is finite in {listed(strange)}: training cannot start from it")
    for line in [*weights.notes, *notes]:
        cli.note(line)
    print(one_line(_summary(weights, found, target, args.destination)))
    return 0


def _check_options(args: argparse.Namespace, found: DetectedFormat, target: str) -> None:
    if args.generator is not None and (found.format != "huggingface" or len(found.paths) != 1):
        raise UserError(
            f"--generator goes with the Hugging Face folder of a discriminator, which {args.source} is not"
        )
    if args.step is not None and found.format != "electra_jax":
        raise UserError(
            f"--step chooses among the checkpoints of a run, and {args.source} is none: leave it out"
        )
    if args.optimizer and {"huggingface", "sentence_transformers"} & {found.format, target}:
        raise UserError("--optimizer: Hugging Face's folders hold no optimizer state, so leave it out")
    if target != "sentence_transformers" and (args.layer is not None or args.pooling is not None):
        what = "--pooling" if args.layer is None else "--layer"
        raise UserError(f"{what} says how to write --to sentence_transformers, which is missing")
    if args.vocab is not None and found.format == "electra_jax":
        raise UserError(f"--vocab: {args.source} has its own tokenizer, so leave it out")
    if args.allow_missing and found.format == "electra_jax":
        raise UserError(
            f"--allow-missing is for foreign checkpoints, and {args.source} is ours: leave it out"
        )


def _read(args: argparse.Namespace, found: DetectedFormat) -> Weights:
    if found.format == "electra_jax":
        return read_native(found.paths[0], step=args.step, overrides=args.overrides, optimizer=args.optimizer)
    shared = {"overrides": args.overrides, "vocab": args.vocab, "allow_missing": args.allow_missing}
    if found.format == "tensorflow":
        return read_tensorflow(found.paths[0], optimizer=args.optimizer, **shared)
    folders = [*found.paths, *([args.generator] if args.generator else [])]
    return read_huggingface(folders, **shared)


def _write(args: argparse.Namespace, weights: Weights, target: str, directory: Path) -> list[str]:
    if weights.config.model.block == "modern" and target == "tensorflow":
        raise UserError(
            "the model has model.block=modern, and the original TensorFlow code has no such layers: convert it to "
            "huggingface"
        )
    if target == "electra_jax":
        return write_native(weights, directory, args.destination)
    if target == "huggingface":
        return write_huggingface(weights, directory)
    if target == "sentence_transformers":
        return write_sentence_transformers(weights, directory, args.layer, args.pooling)
    return write_tensorflow(weights, directory)


def _summary(weights: Weights, found: DetectedFormat, target: str, destination: Path) -> str:
    numbers = sum(array.size for array in weights.parameters.values())
    parts = ", ".join(sorted(scopes(weights.parameters)))
    return (
        f"{found.format} -> {target}: {numbers:,} parameters ({parts}) of step {weights.step}: {destination}"
    )


if __name__ == "__main__":
    cli.run(main)
