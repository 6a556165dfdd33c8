"""A generator that was trained by another run and stays as it is (``generator.frozen_from``).

Dong et al. 2024, "Fast-ELECTRA for Efficient Pre-training" (ICLR, 2310.07347).
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.config.yaml_format import show
from electra_jax.distributed.agreement import broadcast_from_host_0
from electra_jax.errors import UserError
from electra_jax.model.disentangled import is_disentangled
from electra_jax.model.sizes import EncoderSizes, network_sizes
from electra_jax.objectives.kinds import is_causal
from electra_jax.optim.groups import network_group
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.checkpoints import saved_shapes
from electra_jax.training.initialisation import (
    Adaptation,
    InitialCheckpoint,
    check_vocabulary,
    find_initial_checkpoint,
    initial_params,
)
from electra_jax.training.program import Program

KEY = "generator.frozen_from"


def check_frozen_generator(config: Config) -> None:
    """Refuse, without the devices, a run that has no generator, one of other sizes, or of another kind of vocabulary.

    And one to whose tables those of ``init_from`` are not the differences.

    Raises:
        UserError: it names the key to set.
    """
    if config.generator.frozen_from is None:
        return
    origin = _find(config.generator.frozen_from)
    modules = _modules(origin)
    _check_vocabulary_settings(config, origin)
    ours, theirs = (network_sizes(c.model, c.generator, vocab_size=1) for c in (config, origin.config))
    alone = modules["generator_encoder"] == "encoder"
    there = theirs.discriminator if alone else theirs.generator
    width = (
        theirs.embedding_size
        if modules["generator_embeddings"] == "embeddings"
        else theirs.generator_embedding_size
    )
    own = "generator" if config.generator.sharing == "none" else "model"
    wanted = {
        **{
            f"generator.{of.name}": (getattr(ours.generator, of.name), getattr(there, of.name))
            for of in _SIZES
        },
        f"{own}.embedding_size": (ours.generator_embedding_size, width),
        **{
            f"model.{key}": (attrgetter(key)(config.model), attrgetter(key)(origin.config.model))
            for key in _SAME
        },
        **_positions(config, origin.config),
    }
    different = [f"{key}={show(there)}" for key, (here, there) in wanted.items() if here != there]
    if different:
        raise UserError(
            f"{KEY} {config.generator.frozen_from}: its generator is another, so set {', '.join(different)}"
        )
    if is_disentangled(config) and config.init_from is not None:
        start = find_initial_checkpoint(config.init_from)
        if start.path.resolve() != origin.path.resolve():
            raise UserError(
                f"init_from {config.init_from}: its discriminator's tables are the differences to those of its own "
                f"generator, not of {KEY} {config.generator.frozen_from}: name one checkpoint in both, or start from "
                "a run with generator.sharing=none"
            )


_SIZES = fields(EncoderSizes)
# Keys of the section model that decide what both networks compute.
_SAME = (
    *("block", "type_vocab_size", "layer_norm_epsilon", "rope_theta", "rope_theta_global"),
    *("local_attention.window", "local_attention.global_every"),
)


def _positions(config: Config, origin: Config) -> dict[str, tuple[int, int]]:
    """Return by key what the run reads of learned positions and how many there are, where these are too few."""
    known = origin.model.max_positions
    wanted = {
        "model.max_positions": config.model.max_positions,
        "data.sequence_length": config.data.sequence_length,
    }
    learned = config.model.block == "bert"
    return {key: (here, known) for key, here in wanted.items() if learned and here > known}


def _check_vocabulary_settings(config: Config, origin: InitialCheckpoint) -> None:
    """Refuse a vocabulary that would be trained otherwise than the generator's was, before it is trained.

    Raises:
        UserError: it names the keys.
    """
    ours, theirs = config.tokenizer, origin.config.tokenizer
    if ours.vocab_file is not None or theirs.vocab_file is not None:
        return
    values = {key: (getattr(ours, key), getattr(theirs, key)) for key in type(ours).model_fields}
    # strip_accents null is settled when the vocabulary is made.
    different = [
        f"tokenizer.{key}={show(there)}"
        for key, (here, there) in values.items()
        if here != there and not (key == "strip_accents" and here is None)
    ]
    if different:
        raise UserError(
            f"{KEY} {config.generator.frozen_from}: its vocabulary is another, so set tokenizer.vocab_file to the one "
            f"in {origin.tokenizer} and tokenizer.vocab_size=null, or to train it anew from the same text "
            f"{', '.join(different)}"
        )


def check_frozen_vocabulary(frozen_from: str | None, tokenizer: Tokenizer) -> None:
    """Refuse a generator whose ids do not mean what they mean in this run.

    Raises:
        UserError: it was trained with another vocabulary.
    """
    if frozen_from is None:
        return
    origin = _find(frozen_from)
    try:
        known = check_vocabulary(str(origin.path), tokenizer)
    except UserError:
        known = -1
    if known != tokenizer.vocab_size:
        raise UserError(
            f"{KEY} {frozen_from}: it was trained with another vocabulary, whose tokens it would put in: use the "
            f"one in {origin.tokenizer} (tokenizer.vocab_file and the other settings of its config.yaml)"
        )


def with_frozen_generator(
    config: Config, tokenizer: Tokenizer, program: Program[Any], params: Any
) -> tuple[Any, list[str]]:
    """Put the generator of ``generator.frozen_from`` in the place of the one there is.

    Args:
        config: Of the run.
        tokenizer: Of the run.
        program: Of the run, for layouts.
        params: Of the run, before its first step.

    Returns:
        The parameters, and lines about where the generator comes from.

    Raises:
        UserError: Parameters that cannot be read.
    """
    frozen_from = config.generator.frozen_from
    if frozen_from is None:
        return params, []
    path = broadcast_from_host_0(KEY, lambda: str(_find(frozen_from).path))

    def adapt(
        origin: InitialCheckpoint, saved: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
    ) -> Adaptation:
        modules = _modules(origin)
        sources = {
            name: re.sub(r"^[^/]+", lambda scope: modules[scope[0]], name)
            for name in wanted
            if network_group(name) == "generator"
        }
        if missing := sorted(source for source in sources.values() if source not in saved):
            raise UserError(f"{KEY} {frozen_from}: its generator is another network: {missing[0]} is missing")
        return Adaptation(frozenset(wanted) - sources.keys(), sources)

    found, _ = initial_params(config.objective, path, tokenizer, program, params, adapt)
    return found, [f"the generator is that of {path}, and is not trained"]


def _find(frozen_from: str) -> InitialCheckpoint:
    try:
        return find_initial_checkpoint(frozen_from)
    except UserError as error:
        raise UserError(str(error).replace("init_from", KEY, 1)) from None


def _modules(origin: InitialCheckpoint) -> dict[str, str]:
    """Return, by module of our generator, the module of the checkpoint that it is.

    Raises:
        UserError: it has none.
    """
    saved = {name.partition("/")[0] for name in saved_shapes(origin.directory, origin.step)}
    if "generator_head" not in saved or is_causal(origin.config.objective):
        raise UserError(
            f"{KEY}: {origin.path} has no generator: name a run of objective.kind masked_lm or electra"
        )
    modules = {"generator_encoder": "encoder", "generator_embeddings": "embeddings"}
    return {"generator_head": "generator_head"} | {
        ours: ours if ours in saved else shared for ours, shared in modules.items()
    }
