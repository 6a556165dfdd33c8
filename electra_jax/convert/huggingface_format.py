"""Models of Hugging Face `transformers`, with one network per folder, read as one model."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.loading import validate, with_overrides
from electra_jax.convert.encoder_decoder_format import read_encoder_decoder
from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.generation_config import read_generation_config
from electra_jax.convert.huggingface_config import ARCHITECTURES, model_section
from electra_jax.convert.huggingface_folder import (
    CONFIG,
    StoredNetwork,
    is_encoder_decoder,
    is_huggingface_folder,
    is_modern,
)
from electra_jax.convert.huggingface_heads import Head, detect_head, task_sections
from electra_jax.convert.huggingface_networks import is_causal, is_encoder_only, stored_networks
from electra_jax.convert.huggingface_tensors import table_with_head, to_flat_names
from electra_jax.convert.modernbert_config import modern_section
from electra_jax.convert.names import NameTable, Network, huggingface_table
from electra_jax.convert.vocabulary import (
    apply_tokenizer_overrides,
    check_same_vocabulary,
    find_tokenizer,
    pad_vocabulary,
    tokenizer_settings,
)
from electra_jax.convert.weights import (
    FlatParams,
    Weights,
    check_complete,
    check_num_layers,
    check_patterns_used,
    check_vocabulary,
)
from electra_jax.errors import UserError
from electra_jax.model.block import BlockKind
from electra_jax.model.sizes import network_sizes
from electra_jax.tokenizers import Tokenizer


def network_folders(path: Path) -> dict[Network, Path]:
    """Return the folders ``discriminator`` and ``generator`` in ``path``, of those that exist."""
    return {network: path / network for network in ARCHITECTURES if is_huggingface_folder(path / network)}


def read_huggingface(
    folders: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    vocab: Path | None = None,
    allow_missing: Collection[str] = (),
) -> Weights:
    """Read one network or both; their tensors tell which is which.

    A generator whose embeddings equal the discriminator's shares them, as in the released models; a generator that
    equals the discriminator altogether is tied to it. A generator alone becomes a masked language model, or if its
    config.json says ``is_decoder`` a causal one. An encoder with a decoder is a folder of its own kind, see
    `encoder_decoder_format`.

    Args:
        folders: one or two, or files of tensors; one may hold both networks.
        overrides: ``key.path=value``, which take precedence over what is derived.
        vocab: the vocabulary; None: that of the first folder which has one.
        allow_missing: patterns of names that may be missing, or are left out.

    Raises:
        UserError: another architecture, incomplete or damaged files, two networks that do not belong together.
    """
    whole = [folder for folder in folders if is_encoder_decoder(folder)]
    if whole and len(folders) > 1:
        raise UserError(f"{whole[0]} is an encoder with a decoder, and belongs to no pair: give it by itself")
    if whole:
        return read_encoder_decoder(whole[0], overrides=overrides, vocab=vocab, allow_missing=allow_missing)
    networks, notes = stored_networks(folders)
    notes += _note_assumed_num_heads(networks, overrides)
    main = networks.get("discriminator") or networks["generator"]
    parameters: dict[str, np.ndarray] = {}
    unexpected: dict[str, list[str]] = {}
    head = None
    if list(networks) == ["discriminator"]:
        head = detect_head(main.settings, main.network.tensors, str(main.config or main.where))
        if head is not None and main.config is None:
            notes.append(
                f"{main.where}: nothing says what the outputs of its head mean, "
                f"{_ASSUMED_OUTPUTS[head.settings.kind]} is assumed: put its {CONFIG} beside it if that is wrong"
            )
    encoder_only = head is None and "discriminator" in networks and is_encoder_only(networks["discriminator"])
    tables = {
        network: _table(network, head, one.settings["block"], alone=len(networks) == 1)
        for network, one in networks.items()
    }
    for network, one in networks.items():
        found, unexpected[network] = to_flat_names(one.where, one.network.tensors, tables[network])
        parameters |= found
    sharing = _detect_sharing(parameters, {one.settings["num_attention_heads"] for one in networks.values()})
    values = _derive_config(networks, sharing)
    if sharing in ("embeddings", "all"):
        parameters = {n: a for n, a in parameters.items() if not n.startswith("generator_embeddings/")}
    if sharing == "all":
        parameters = {n: a for n, a in parameters.items() if not n.startswith("generator_encoder/")}

    if head is not None:
        values |= task_sections(head, main.settings)
        values["data"] = {"sequence_length": main.settings["max_position_embeddings"]}

    words = parameters.get("embeddings/word/embedding")
    rows = main.settings["vocab_size"] if words is None or not words.ndim else words.shape[0]
    tokenizer, tokenizer_notes = _tokenizer(folders, vocab)
    if tokenizer is not None:
        tokenizer, row_notes = pad_vocabulary(tokenizer, rows)
        tokenizer_notes = (*tokenizer_notes, *row_notes)
        check_vocabulary(str(main.where), tokenizer, rows)
    where = " and ".join(str(folder) for folder in folders)
    values["tokenizer"] = tokenizer_settings(tokenizer, rows)
    if is_causal(main):
        beside = folders[0].parent if folders[0].is_file() else folders[0]
        values["generation"], generation_notes = read_generation_config(beside, tokenizer)
        notes += generation_notes
    derived, config = validate(values, where), with_overrides(values, overrides, where)
    tokenizer = apply_tokenizer_overrides(tokenizer, config.tokenizer, derived.tokenizer, where)

    check_num_layers(
        where, parameters, network_sizes(config.model, config.generator, main.settings["vocab_size"])
    )
    expected = expected_shapes(config, main.settings["vocab_size"])
    if "generator" not in networks:
        expected = {n: s for n, s in expected.items() if n.partition("/")[0] in _DISCRIMINATOR_PARTS}
    if head is not None or encoder_only:
        expected = {n: s for n, s in expected.items() if n.partition("/")[0] != "discriminator_head"}
        expected |= {} if head is None else head.shapes(main.settings["hidden_size"])
    spellings: set[str] = set()
    for network in networks:
        spellings |= {*unexpected[network], *expected, *parameters}
        spellings |= {tables[network].foreign_or_same(name).foreign for name in (*expected, *parameters)}
    check_patterns_used(where, spellings, allow_missing)
    for network, one in networks.items():
        of_this = {name: shape for name, shape in expected.items() if _is_read_from(name, network, networks)}
        found = {name: array for name, array in parameters.items() if _is_read_from(name, network, networks)}
        foreign_or_same = tables[network].foreign_or_same
        check_complete(str(one.where), found, of_this, unexpected[network], foreign_or_same, allow_missing)
    return Weights(
        config=config,
        parameters={name: parameters[name] for name in expected if name in parameters},
        vocab_size=rows,
        tokenizer=tokenizer,
        notes=(*notes, *(() if head is None else head.notes), *tokenizer_notes),
        tasks={} if head is None else {head.task: head.settings},
    )


# What a head's outputs are taken for where there are only tensors.
_ASSUMED_OUTPUTS = {
    "classification": "one label a text",
    "regression": "a number",
    "tagging": "a tag for each word",
    "question_answering": "an answer in a context",
    "multiple_choice": "one of several options",
}
_DISCRIMINATOR_PARTS = ("embeddings", "encoder", "discriminator_head")


def _is_read_from(name: str, network: Network, networks: Collection[Network]) -> bool:
    """Return whether a parameter is to be in the folder of this network, of a pair."""
    if len(networks) == 1:
        return True
    return (name.partition("/")[0] in _DISCRIMINATOR_PARTS) == (network == "discriminator")


def _note_assumed_num_heads(networks: Mapping[Network, StoredNetwork], overrides: Sequence[str]) -> list[str]:
    """Return a note for each network whose number of heads neither a config.json nor an override gives."""
    sections = {
        network: "generator" if network == "generator" and len(networks) > 1 else "model"
        for network in networks
    }
    return [
        f"{one.where}: sizes of the {network} follow from its tensors, and heads of 64 are assumed, as in every size "
        f"of the original ({sections[network]}.num_heads=N)"
        for network, one in networks.items()
        if not one.num_heads_known
        and not any(override.startswith(f"{sections[network]}.num_heads=") for override in overrides)
    ]


def _table(network: Network, head: Head | None, block: BlockKind, *, alone: bool) -> NameTable:
    if head is not None:
        return table_with_head(head)
    if network == "discriminator" or alone:
        return huggingface_table(network, block=block)
    return huggingface_table(
        network, block=block, embeddings="generator_embeddings", encoder="generator_encoder"
    )


def _tokenizer(folders: Sequence[Path], vocab: Path | None) -> tuple[Tokenizer | None, tuple[str, ...]]:
    """Return the tokenizer of the first folder (or folder of a file) that has one, and notes on how it was read.

    Raises:
        UserError: it cannot be read, or two folders have different ones.
    """
    folders = [source.parent if source.is_file() else source for source in folders]
    found = [find_tokenizer(folder, vocab) for folder in (folders if vocab is None else folders[:1])]
    there = [(folder, one, notes) for folder, (one, notes) in zip(folders, found) if one is not None]
    if not there:
        return found[0]
    for folder, other, _ in there[1:]:
        check_same_vocabulary(there[0][1], other, str(there[0][0]), str(folder))
    return there[0][1:]


def _detect_sharing(parameters: FlatParams, heads: Collection[int]) -> str:
    """Return what two networks share, by comparing them bit for bit.

    Args:
        parameters: of both.
        heads: their numbers of attention heads.
    """

    def same(ours: str, theirs: str) -> bool:
        a = {n.removeprefix(ours): x for n, x in parameters.items() if n.startswith(ours)}
        b = {n.removeprefix(theirs): x for n, x in parameters.items() if n.startswith(theirs)}
        return a.keys() == b.keys() and not any(first_difference(a[n], b[n]) for n in a)

    if not same("embeddings/", "generator_embeddings/"):
        return "none"
    return "all" if len(heads) == 1 and same("encoder/", "generator_encoder/") else "embeddings"


def _derive_config(networks: Mapping[Network, StoredNetwork], sharing: str) -> dict[str, Any]:
    """Return the settings of model, generator and objective, from config.json."""
    main = (networks.get("discriminator") or networks["generator"]).settings
    positions = main["max_position_embeddings"]
    # Rows are short for fine-tuning and training on, but no shorter than a window.
    short = max(min(128, positions), main.get("window") or 0)
    values: dict[str, Any] = {
        # A model that writes reads as far as it has positions.
        "data": {"sequence_length": positions if main.get("is_decoder") else short},
        "model": {**model_section(main), **(modern_section(main) if is_modern(main) else {})},
    }
    if "discriminator" not in networks:
        values["objective"] = {"kind": "causal_lm" if main.get("is_decoder") else "masked_lm"}
    elif "generator" in networks:
        small = networks["generator"].settings
        values["generator"] = {
            "sharing": sharing,
            **(
                {"size_fraction": 1.0}
                if sharing == "all"
                else {
                    "hidden_size": small["hidden_size"],
                    "num_layers": small["num_hidden_layers"],
                    "num_heads": small["num_attention_heads"],
                    "intermediate_size": small["intermediate_size"],
                    **({"embedding_size": small["embedding_size"]} if sharing == "none" else {}),
                }
            ),
        }
    return values
