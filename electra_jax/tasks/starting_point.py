"""What fine-tuning starts from: sizes and vocabulary of a checkpoint, or of the configuration alone."""

from electra_jax.config.loading import validate
from electra_jax.config.schema import Config, TokenizerConfig
from electra_jax.config.yaml_format import show
from electra_jax.errors import UserError
from electra_jax.objectives.kinds import is_causal
from electra_jax.tokenizers import Tokenizer, load_tokenizer, vocabulary_notes, with_cleaning
from electra_jax.tokenizers.build import build_tokenizer
from electra_jax.training.initialisation import (
    InitialCheckpoint,
    check_initial_checkpoint,
    find_initial_checkpoint,
)


def starting_point(config: Config) -> tuple[Config, Tokenizer, list[str]]:
    """Return the configuration with model and vocabulary of ``init_from``, the tokenizer, and lines to print.

    Settings given in the section ``model`` take precedence over the checkpoint's (dropout, for instance); sizes that
    differ are refused when its parameters are read.

    Raises:
        UserError: no checkpoint, a checkpoint without a vocabulary, or no vocabulary at all.
    """
    if config.init_from is None:
        if config.tokenizer.vocab_file is None:
            raise UserError(
                "fine-tuning starts from a checkpoint: init_from=WORKDIR (or from nothing, with "
                "tokenizer.vocab_file and the sizes in model.*)"
            )
        config = config.model_copy(update={"tokenizer": with_cleaning(config.tokenizer)})
        tokenizer = build_tokenizer(config.tokenizer, lambda: iter(()))
        return config, tokenizer, [f"note: {note}" for note in vocabulary_notes(tokenizer)]
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
    values["tokenizer"] = origin.config.tokenizer.model_dump()
    values["data"]["sequence_length"] = min(config.data.sequence_length, values["model"]["max_positions"])
    notes = []
    if values["data"]["sequence_length"] < config.data.sequence_length:
        notes.append(
            f"data.sequence_length is {values['data']['sequence_length']}, the most that {origin.path} can read"
        )
    if is_causal(origin.config.objective) and not config.finetune.from_scratch:
        notes.append(
            f"note: {origin.path} learned to see only what is before a token; fine-tuning lets it see both sides"
        )
    if config.finetune.from_scratch:
        notes.append(f"from scratch: sizes and vocabulary of {origin.path}, parameters at random")
        values["init_from"] = None
    resolved = validate(values, config.init_from)
    if resolved.init_from is not None:
        check_initial_checkpoint(resolved, resolved.init_from)
    return resolved, tokenizer, notes


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
