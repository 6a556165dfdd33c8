"""What fine-tuning starts from: sizes and vocabulary of a checkpoint, or of the configuration alone."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.text import TokenizerConfig
from electra_jax.config.yaml_format import show
from electra_jax.errors import UserError
from electra_jax.model.sizes import decoder_sizes, network_sizes
from electra_jax.objectives.kinds import is_causal
from electra_jax.tasks.head_transfer import name_there
from electra_jax.tasks.sources import load_examples
from electra_jax.tasks.sources.parallel_texts import training_texts
from electra_jax.tokenizers import Tokenizer, load_tokenizer, vocabulary_notes, with_cleaning
from electra_jax.tokenizers.build import build_tokenizer
from electra_jax.training.checkpoints import saved_shapes
from electra_jax.training.initialisation import (
    InitialCheckpoint,
    check_initial_checkpoint,
    find_initial_checkpoint,
)


def starting_point(
    config: Config, saved_tokenizer: Path | None = None
) -> tuple[Config, Tokenizer, list[str]]:
    """Return the configuration with model and vocabulary of ``init_from``, the tokenizer, and lines to print.

    Settings given in the section ``model`` take precedence over the checkpoint's (dropout, for instance); sizes that
    differ are refused when its parameters are read. Without a checkpoint and a vocabulary, tasks that write have one
    trained on their texts, sources and targets together.

    Args:
        config: the configuration.
        saved_tokenizer: where this run's own is, if it was begun before.

    Raises:
        UserError: no checkpoint, a checkpoint without a vocabulary, or no vocabulary at all.
    """
    if config.init_from is None:
        _check_without_checkpoint(config)
        config = config.model_copy(update={"tokenizer": with_cleaning(config.tokenizer)})
        tokenizer, notes = _own_vocabulary(config, saved_tokenizer)
        return config, tokenizer, notes + [f"note: {note}" for note in vocabulary_notes(tokenizer)]
    origin = find_initial_checkpoint(config.init_from)
    if not origin.tokenizer.is_dir():
        raise UserError(
            f"init_from {config.init_from} came without a vocabulary, so no text can be encoded: convert it again with "
            "--vocab FILE"
        )
    tokenizer = load_tokenizer(origin.tokenizer)
    _check_vocabulary(config.tokenizer, config.init_from, origin)
    values = config.model_dump()
    given = {name: values["model"][name] for name in config.model.model_fields_set}
    values["model"] = {**origin.config.model.model_dump(), **given}
    notes = _take_first_layers(config, values["model"], origin)
    values["tokenizer"] = origin.config.tokenizer.model_dump()
    values["data"]["sequence_length"] = min(config.data.sequence_length, values["model"]["max_positions"])
    if values["data"]["sequence_length"] < config.data.sequence_length:
        notes.append(
            f"data.sequence_length is {values['data']['sequence_length']}, the most that {origin.path} can read"
        )
    if is_causal(origin.config.objective) and not config.finetune.from_scratch:
        notes.append(
            f"note: {origin.path} learned to see only what is before a token; fine-tuning lets it see both sides"
        )
    if config.finetune.from_scratch:
        _check_encoder_rate(config)
        notes.append(f"from scratch: sizes and vocabulary of {origin.path}, parameters at random")
        values["init_from"] = None
    _resolve_decoders(values, origin)
    resolved = validate(values, config.init_from)
    if resolved.init_from is not None:
        check_initial_checkpoint(resolved, resolved.init_from)
    return resolved, tokenizer, notes


def _take_first_layers(config: Config, model: dict[str, Any], origin: InitialCheckpoint) -> list[str]:
    """Set the number of layers to those that are taken from a checkpoint, and return a line that says so.

    Raises:
        UserError: it has fewer, or another number is set.
    """
    first, there = config.finetune.first_layers, origin.config.model.num_layers
    if first is None:
        return []
    if first > there:
        raise UserError(f"finetune.first_layers is {first}, but {origin.path} has {there} layers: lower it")
    if "num_layers" in config.model.model_fields_set and config.model.num_layers != first:
        raise UserError(
            f"finetune.first_layers is {first}, but model.num_layers is {config.model.num_layers}: leave one out"
        )
    model["num_layers"] = first
    return [f"layers: the first {first} of {there} of {origin.path}"]


def _own_vocabulary(config: Config, saved: Path | None) -> tuple[Tokenizer, list[str]]:
    """Return the vocabulary of a run without a checkpoint: its file's, this run's own so far, or one trained now."""
    if config.tokenizer.vocab_file is not None:
        return build_tokenizer(config.tokenizer, lambda: iter(())), []
    writers = {name: task for name, task in config.finetune.tasks.items() if isinstance(task, Seq2SeqConfig)}
    if not writers:
        raise UserError(
            "fine-tuning starts from a checkpoint: init_from=WORKDIR (or from nothing, with "
            "tokenizer.vocab_file and the sizes in model.*)"
        )
    if saved is not None and saved.is_dir():
        return load_tokenizer(saved), []
    examples: list[Any] = []
    for name, task in writers.items():
        found = load_examples(
            name,
            task,
            tfds_data_dir=config.data.tfds_data_dir,
            needs=("train",),
            sequence_length=config.data.sequence_length,
        )
        examples += found["train"]
    try:
        tokenizer = build_tokenizer(config.tokenizer, training_texts(examples))
    except UserError as error:
        # It names where text comes from in pre-training.
        raise UserError(str(error).replace("data.source", f"finetune.tasks ({', '.join(writers)})")) from None
    trained = f"trained a vocabulary of {tokenizer.vocab_size:,} on the texts of {', '.join(writers)}"
    return tokenizer, [f"{trained}, sources and targets together"]


def _check_encoder_rate(config: Config) -> None:
    """Refuse BERTSUM's kind of rate, for an encoder that was pre-trained, where the encoder starts at random.

    Raises:
        UserError: it would hardly learn.
    """
    rate = config.optimizer.groups.encoder.rate
    if rate < 1.0:
        raise UserError(
            f"optimizer.groups.encoder.rate is {show(rate)}, the rate of an encoder that was pre-trained, but here it "
            "starts at random and would hardly learn: name a checkpoint with init_from, without finetune.from_scratch, "
            "or set the rate to 1"
        )


def _check_without_checkpoint(config: Config) -> None:
    """Refuse decoders that start from a checkpoint, and rates of a pre-trained encoder, where there is none.

    Raises:
        UserError: it names the task, or the rate.
    """
    _check_encoder_rate(config)
    if config.finetune.first_layers is not None:
        raise UserError(
            f"finetune.first_layers is {config.finetune.first_layers}, but there is no checkpoint with layers: name "
            "one with init_from, or set model.num_layers"
        )
    for name, task in config.finetune.tasks.items():
        if isinstance(task, Seq2SeqConfig) and task.decoder.init != "random":
            raise UserError(
                f"finetune.tasks.{name}.decoder.init is {task.decoder.init}, but there is no checkpoint to start from: "
                "name one with init_from, or set it to random"
            )


def _resolve_decoders(values: Mapping[str, Any], origin: InitialCheckpoint) -> None:
    """Set the sizes of decoders that are taken over from a checkpoint, or start from its generator.

    Raises:
        UserError: it has no generator, one with a vocabulary of its own, or one of other sizes.
    """
    kinds = {name: task["kind"] for name, task in values["finetune"]["tasks"].items()}
    for name, task in values["finetune"]["tasks"].items():
        if task["kind"] != "seq2seq":
            continue
        there = name_there(name, kinds, origin.config.finetune.tasks)
        if there is not None and _has_sizes_of(task["decoder"], origin.config, there):
            continue
        if task["decoder"]["init"] != "generator":
            continue
        where = f"finetune.tasks.{name}.decoder.init=generator"
        if "generator_encoder/layers/output/kernel" not in saved_shapes(origin.directory, origin.step):
            raise UserError(
                f"{where}: {origin.path} has no generator of its own to start from: use a pre-trained ELECTRA whose "
                "generator.sharing is embeddings, or set init to encoder or random"
            )
        sizes = network_sizes(origin.config.model, origin.config.generator, vocab_size=1)
        if (sharing := origin.config.generator.sharing) in ("none", "gdes"):
            raise UserError(
                f"{where}: the generator of {origin.path} has embeddings of its own (generator.sharing={sharing}), and "
                "the decoder has the encoder's: set init to encoder or random"
            )
        for key, value in asdict(sizes.generator).items():
            if task["decoder"][key] not in (None, value):
                raise UserError(
                    f"{where}: decoder.{key} is {task['decoder'][key]}, but {origin.path} has a generator with "
                    f"{value}: leave it out"
                )
            task["decoder"][key] = value


def _has_sizes_of(decoder: dict[str, Any], origin: Config, name: str) -> bool:
    """Give a decoder the sizes of a task's in a checkpoint where they do not differ; return whether it has them."""
    task = origin.finetune.tasks[name]
    # One that starts from the encoder has its sizes.
    if not isinstance(task, Seq2SeqConfig) or decoder["init"] == "encoder":
        return False
    sizes = asdict(decoder_sizes(origin.model, task.decoder))
    if decoder["sharing"] != task.decoder.sharing or any(
        decoder[key] not in (None, value) for key, value in sizes.items()
    ):
        return False
    decoder.update(sizes)
    return True


def _check_vocabulary(config: TokenizerConfig, init_from: str, origin: InitialCheckpoint) -> None:
    """Refuse tokenizer settings that differ from those of the checkpoint's vocabulary, which is used."""
    used = origin.config.tokenizer
    for name in sorted(config.model_fields_set):
        given, there = getattr(config, name), getattr(used, name)
        if given not in (None, there) and given != TokenizerConfig.model_fields[name].default:
            raise UserError(
                f"tokenizer.{name} is {show(given)}, but fine-tuning uses the vocabulary of init_from "
                f"{init_from}, which has {show(there)}: leave it out"
            )
