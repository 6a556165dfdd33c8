"""Which networks the folders of Hugging Face that are given hold, and whether they belong together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from electra_jax.convert.huggingface_config import (
    ARCHITECTURES,
    CAUSAL_ARCHITECTURE,
    ENCODER_ARCHITECTURE,
    declared_class,
)
from electra_jax.convert.huggingface_folder import CONFIG, StoredNetwork, is_modern, read_networks
from electra_jax.convert.huggingface_heads import ARCHITECTURES as HEAD_ARCHITECTURES
from electra_jax.convert.modernbert_config import ATTENTION_KEYS, check_modernbert_class, is_fine_tuned
from electra_jax.convert.modernbert_config import ENCODER_ARCHITECTURE as MODERN_ENCODER
from electra_jax.convert.names import Network
from electra_jax.convert.state_dicts import TIED
from electra_jax.errors import UserError


def stored_networks(folders: Sequence[Path]) -> tuple[dict[Network, StoredNetwork], list[str]]:
    """Return the networks in the folders, at most one of each kind, and notes on how they were read."""
    networks: dict[Network, StoredNetwork] = {}
    notes: list[str] = []
    for source in folders:
        stored, network_notes = read_networks(source)
        notes += network_notes
        for one in stored:
            first = networks.get("generator")
            if (
                first is not None
                and one.network.is_generator
                and len(folders) == 2
                and is_modern(first.settings)
            ):
                networks = {"discriminator": _without_generator_head(first)}
                notes.append(
                    f"{first.where}: its head over the vocabulary is left, since {source} is the generator"
                )
            network: Network = "generator" if one.network.is_generator else "discriminator"
            if network in networks:
                raise UserError(
                    f"{networks[network].where} and {source} are both a {network}: give one of each"
                )
            networks[network] = one
            notes += _check_declared_class(one)
    for one in networks.values():
        if is_causal(one) and (len(networks) == 2 or not one.network.is_generator):
            raise UserError(
                f"{one.config}: is_decoder is true, which is supported in an {CAUSAL_ARCHITECTURE} alone: give that "
                "folder by itself"
            )
    if len(networks) == 2:
        _check_pair(networks["discriminator"], networks["generator"])
    return networks, notes


def _check_pair(discriminator: StoredNetwork, generator: StoredNetwork) -> None:
    """Refuse two networks that cannot read the same rows, and a fine-tuned one, which has no generator.

    Raises:
        UserError: they cannot, or it is one.
    """
    named = declared_class(discriminator.settings)
    if is_modern(discriminator.settings) and is_fine_tuned(named, discriminator.network.tensors):
        raise UserError(
            f"{discriminator.where} is a {named} with a head of fine-tuning, and belongs to no pair: give it by itself"
        )
    for key in (
        "block",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        *ATTENTION_KEYS,
    ):
        ours, theirs = discriminator.settings.get(key), generator.settings.get(key)
        if ours != theirs:
            raise UserError(
                f"{generator.where} does not belong to {discriminator.where}: its {key} is {theirs}, there {ours}; "
                "give the generator trained with it"
            )


def _without_generator_head(one: StoredNetwork) -> StoredNetwork:
    """Return a ModernBERT that was trained on masked words as an encoder alone."""
    tensors = {
        n: array for n, array in one.network.tensors.items() if not n.startswith(("head.", "decoder."))
    }
    settings = {**one.settings, "architectures": [MODERN_ENCODER]}
    return replace(one, settings=settings, network=replace(one.network, tensors=tensors, tied=False))


def is_causal(one: StoredNetwork) -> bool:
    """Return whether a token sees only what is before it."""
    return bool(one.settings.get("is_decoder"))


def is_encoder_only(one: StoredNetwork) -> bool:
    """Return whether it is an encoder without a head, and not said to have one."""
    return (
        declared_class(one.settings) in (None, ENCODER_ARCHITECTURE, MODERN_ENCODER)
        and not one.network.is_discriminator
    )


def _check_declared_class(one: StoredNetwork) -> list[str]:
    """Return notes where the tensors do not fit the class that config.json names, or nothing says which head there is.

    Raises:
        UserError: a head that is not there, or an untied output table of the generator that is missing.
    """
    named, names = declared_class(one.settings), one.network.tensors
    if is_modern(one.settings):
        return check_modernbert_class(str(one.where), named, names)
    if one.network.is_generator and one.settings.get("tie_word_embeddings") is False and not one.network.tied:
        raise UserError(
            f"{one.where}: tie_word_embeddings is false, but {TIED} is missing: set it to true in {CONFIG} if the "
            "word table is meant"
        )
    there = next((name for name, is_there in _HEADS.items() if any(map(is_there, names))), None)
    if there is None and named in HEAD_ARCHITECTURES.values():
        raise UserError(
            f"{one.config or one.where} says {named}, but {one.where} has no such head: give its weights, or say "
            f"{ENCODER_ARCHITECTURE} if the encoder alone is meant"
        )
    if named == HEAD_ARCHITECTURES["multiple_choice"] != there:
        raise UserError(
            f"{one.config or one.where} says {named}, but there is no sequence_summary.summary.weight, a layer that "
            "such a head has here: fine-tune the encoder here instead"
        )
    if there is None and named is None:
        return [f"{one.where}: there is no head, it is taken as an {ENCODER_ARCHITECTURE}"]
    if there is None or named is None or named in (there, *_SAME_CLASS.get(there, ())):
        return []
    return [
        f"{one.config or one.where} says {named}, but its tensors are those of an {there}, as which it is taken"
    ]


# Each class is recognised by the name of a tensor; the first that fits.
_HEADS = {
    ARCHITECTURES["generator"]: lambda name: name.startswith("generator_"),
    ARCHITECTURES["discriminator"]: lambda name: name.startswith("discriminator_predictions."),
    HEAD_ARCHITECTURES["question_answering"]: lambda name: name == "qa_outputs.weight",
    HEAD_ARCHITECTURES["multiple_choice"]: lambda name: name == "sequence_summary.summary.weight",
    HEAD_ARCHITECTURES["tagging"]: lambda name: name == "classifier.weight",
    HEAD_ARCHITECTURES["classification"]: lambda name: name == "classifier.out_proj.weight",
}
# Classes that have the same tensors; is_decoder says which of them computes.
_SAME_CLASS = {ARCHITECTURES["generator"]: (CAUSAL_ARCHITECTURE,)}
