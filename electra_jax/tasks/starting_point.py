"""What fine-tuning starts from: sizes and vocabulary of a checkpoint, or of the configuration alone."""

from electra_jax.config.loading import validate
from electra_jax.config.schema import Config, TokenizerConfig
from electra_jax.config.yaml_format import show
from electra_jax.errors import UserError
from electra_jax.tokenizers import Tokenizer, load_tokenizer, vocabulary_notes, with_cleaning
from electra_jax.tokenizers.build import build_tokenizer
from electra_jax.training.initialisation import Origin, check_origin, find_origin


def starting_point(config: Config) -> tuple[Config, Tokenizer, list[str]]:
    """The configuration with the model and the vocabulary of ``init_from``, that tokenizer, and lines to show.

    Settings of the section ``model`` that are given win over those of the checkpoint (dropout, for instance); sizes
    that differ are refused when its parameters are read.

    Raises:
        UserError: no checkpoint, or one without a vocabulary, or no vocabulary at all.
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
    origin = find_origin(config.init_from)
    if not origin.tokenizer.is_dir():
        raise UserError(
            f"init_from {config.init_from} came without a vocabulary, so no text can be encoded: convert it again with "
            "--vocab FILE"
        )
    tokenizer = load_tokenizer(origin.tokenizer)
    _check_vocabulary(config, origin)
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
    if config.finetune.from_scratch:
        notes.append(f"from scratch: sizes and vocabulary of {origin.path}, parameters at random")
        values["init_from"] = None
    resolved = validate(values, config.init_from)
    if resolved.init_from is not None:
        check_origin(resolved, resolved.init_from)
    return resolved, tokenizer, notes


def _check_vocabulary(config: Config, origin: Origin) -> None:
    """Refuses settings of a tokenizer that are not those of the vocabulary that is used, the checkpoint's."""
    used = origin.config.tokenizer
    for name in sorted(config.tokenizer.model_fields_set):
        given, there = getattr(config.tokenizer, name), getattr(used, name)
        if given not in (None, there) and given != TokenizerConfig.model_fields[name].default:
            raise UserError(
                f"tokenizer.{name} is {show(given)}, but fine-tuning uses the vocabulary of init_from "
                f"{config.init_from}, which has {show(there)}: leave it out"
            )
