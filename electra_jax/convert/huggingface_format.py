"""Models of Hugging Face `transformers`, with one network per folder: reading them as one model, and writing."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.loading import validate, with_overrides
from electra_jax.convert.encoder_decoder_format import KIND as WRITING_KIND
from electra_jax.convert.encoder_decoder_format import read_encoder_decoder
from electra_jax.convert.encoder_decoder_writing import check_writable, write_encoder_decoder
from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.generation_config import FILE as GENERATION_CONFIG
from electra_jax.convert.generation_config import generation_config_json, read_generation_config
from electra_jax.convert.huggingface_config import (
    ARCHITECTURES,
    CAUSAL_ARCHITECTURE,
    ENCODER_ARCHITECTURE,
    config_json,
    model_section,
)
from electra_jax.convert.huggingface_folder import (
    CONFIG,
    StoredNetwork,
    is_encoder_decoder,
    is_huggingface_folder,
    read_networks,
)
from electra_jax.convert.huggingface_heads import ARCHITECTURES as HEAD_ARCHITECTURES
from electra_jax.convert.huggingface_heads import (
    Head,
    check_exportable,
    detect_head,
    head_config_json,
    heads_from_settings,
    on_label_scale,
    task_sections,
    with_hidden_layer,
)
from electra_jax.convert.huggingface_tensors import to_flat_names, write_folder
from electra_jax.convert.names import NameTable, Network, huggingface_encoder_table, huggingface_table, scopes
from electra_jax.convert.state_dicts import TIED
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
from electra_jax.errors import UserError, listed
from electra_jax.files.file_names import subfolder
from electra_jax.model.sizes import EncoderSizes, network_sizes
from electra_jax.objectives.kinds import is_causal
from electra_jax.tasks.settings import FILE
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
    networks, notes = _stored_networks(folders)
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
    is_encoder_only = (
        head is None and "discriminator" in networks and _is_encoder_only(networks["discriminator"])
    )
    tables = {network: _table(network, head, alone=len(networks) == 1) for network in networks}
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
    if _is_causal(main):
        values["generation"], generation_notes = read_generation_config(folders[0], tokenizer)
        notes += generation_notes
    derived, config = validate(values, where), with_overrides(values, overrides, where)
    tokenizer = apply_tokenizer_overrides(tokenizer, config.tokenizer, derived.tokenizer, where)

    check_num_layers(
        where, parameters, network_sizes(config.model, config.generator, main.settings["vocab_size"])
    )
    expected = expected_shapes(config, main.settings["vocab_size"])
    if "generator" not in networks:
        expected = {n: s for n, s in expected.items() if n.partition("/")[0] in _DISCRIMINATOR_PARTS}
    if head is not None or is_encoder_only:
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


def _stored_networks(folders: Sequence[Path]) -> tuple[dict[Network, StoredNetwork], list[str]]:
    """Return the networks in the folders, at most one of each kind, and notes on how they were read."""
    networks: dict[Network, StoredNetwork] = {}
    notes: list[str] = []
    for source in folders:
        stored, network_notes = read_networks(source)
        notes += network_notes
        for one in stored:
            network: Network = "generator" if one.network.is_generator else "discriminator"
            if network in networks:
                raise UserError(
                    f"{networks[network].where} and {source} are both a {network}: give one of each"
                )
            networks[network] = one
            notes += _check_declared_class(one)
    for one in networks.values():
        if _is_causal(one) and (len(networks) == 2 or not one.network.is_generator):
            raise UserError(
                f"{one.config}: is_decoder is true, which is supported in an {CAUSAL_ARCHITECTURE} alone: give that "
                "folder by itself"
            )
    if len(networks) == 2:
        _check_pair(networks["discriminator"], networks["generator"])
    return networks, notes


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


def _is_causal(one: StoredNetwork) -> bool:
    """Return whether a token sees only what is before it."""
    return bool(one.settings.get("is_decoder"))


def _is_encoder_only(one: StoredNetwork) -> bool:
    """Return whether it is an encoder without a head, and not said to have one."""
    return _declared_class(one) in (None, ENCODER_ARCHITECTURE) and not one.network.is_discriminator


def _declared_class(one: StoredNetwork) -> str | None:
    """Return the class that config.json names."""
    named = one.settings.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def _check_declared_class(one: StoredNetwork) -> list[str]:
    """Return notes where the tensors do not fit the class that config.json names, or nothing says which head there is.

    Raises:
        UserError: a head that is not there, or an untied output table of the generator that is missing.
    """
    named, names = _declared_class(one), one.network.tensors
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


def _table(network: Network, head: Head | None, *, alone: bool) -> NameTable:
    if head is not None:
        return _table_with_head(head)
    if network == "discriminator" or alone:
        return huggingface_table(network)
    return huggingface_table(network, embeddings="generator_embeddings", encoder="generator_encoder")


def _table_with_head(head: Head) -> NameTable:
    """Return the names of the encoder with a head of fine-tuning, in place of the pre-training head."""
    encoder = [
        r for r in huggingface_table("discriminator").rows if not r.ours.startswith("discriminator_head/")
    ]
    return NameTable((*encoder, *head.rows))


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


def _check_pair(discriminator: StoredNetwork, generator: StoredNetwork) -> None:
    """Refuse two networks that cannot read the same rows.

    Raises:
        UserError: they cannot.
    """
    for key in ("vocab_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps"):
        ours, theirs = discriminator.settings[key], generator.settings[key]
        if ours != theirs:
            raise UserError(
                f"{generator.where} does not belong to {discriminator.where}: its {key} is {theirs}, there {ours}; "
                "give the generator trained with it"
            )


def _derive_config(networks: Mapping[Network, StoredNetwork], sharing: str) -> dict[str, Any]:
    """Return the settings of model, generator and objective, from config.json."""
    main = (networks.get("discriminator") or networks["generator"]).settings
    positions = main["max_position_embeddings"]
    values: dict[str, Any] = {
        # A model that writes reads as far as it has positions; others are fine-tuned or trained on, on short rows.
        "data": {"sequence_length": positions if main.get("is_decoder") else min(128, positions)},
        "model": model_section(main),
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


def write_huggingface(weights: Weights, directory: Path) -> list[str]:
    """Write the folders ``discriminator`` and ``generator``, of those the model has; of a fine-tuned one, its tasks'.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: parameters that Hugging Face's models have no place for; then nothing is written.
        OSError: the disk is full, or something else prevents writing.
    """
    if weights.tasks:
        return _write_finetuned(weights, directory)
    parts = scopes(weights.parameters)
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    if parts == {"embeddings", "encoder"}:
        description = config_json(weights, ENCODER_ARCHITECTURE, sizes.discriminator, sizes.embedding_size)
        folder = directory / "discriminator"
        return write_folder(weights, folder, huggingface_encoder_table(), weights.parameters, description)
    own = "generator_embeddings" in parts
    tower = "generator_encoder" in parts
    networks_to_write: dict[Network, tuple[NameTable, EncoderSizes, int]] = {}
    if "discriminator_head" in parts or "generator_head" not in parts:
        networks_to_write["discriminator"] = (
            huggingface_table("discriminator"),
            sizes.discriminator,
            sizes.embedding_size,
        )
    if "generator_head" in parts:
        table = huggingface_table(
            "generator",
            embeddings="generator_embeddings" if own else "embeddings",
            encoder="generator_encoder" if tower else "encoder",
        )
        small = sizes.generator if tower else sizes.discriminator
        networks_to_write["generator"] = (
            table,
            small,
            sizes.generator_embedding_size if own else sizes.embedding_size,
        )

    unplaced = {
        n
        for n in weights.parameters
        if not any(table.to_foreign(n) for table, _, _ in networks_to_write.values())
    }
    if unplaced:
        raise UserError(
            f"Hugging Face's ELECTRA has no place for {', '.join(sorted(scopes(unplaced)))}: it cannot be exported"
        )
    if is_causal(weights.config.objective):
        return _write_causal(weights, directory / "generator", *networks_to_write["generator"])
    notes: list[str] = []
    for network, (table, encoder, embedding_size) in networks_to_write.items():
        description = config_json(weights, ARCHITECTURES[network], encoder, embedding_size)
        notes = write_folder(weights, directory / network, table, weights.parameters, description)
    return notes


def _write_causal(
    weights: Weights, folder: Path, table: NameTable, encoder: EncoderSizes, embedding_size: int
) -> list[str]:
    """Write a causal language model, and how it writes."""
    tokenizer = weights.tokenizer
    description = config_json(weights, CAUSAL_ARCHITECTURE, encoder, embedding_size)
    description |= {"is_decoder": True, "add_cross_attention": False}
    if tokenizer is not None:
        description |= {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    notes = write_folder(weights, folder, table, weights.parameters, description, as_prompts=True)
    if tokenizer is not None:
        content, generation_notes = generation_config_json(weights.config.generation, tokenizer)
        (folder / GENERATION_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        notes += generation_notes
    return notes


def _write_finetuned(weights: Weights, directory: Path) -> list[str]:
    """Write a folder for each task, named after it: the encoder with its head, which may be a decoder."""
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    writers = [name for name, task in weights.tasks.items() if task.kind == WRITING_KIND]
    heads = heads_from_settings({n: task for n, task in weights.tasks.items() if n not in writers})
    for name in weights.tasks:
        subfolder(directory, name)
    for name in writers:
        check_writable(weights, name)
    for head in heads:
        check_exportable(weights.config.finetune.head_style, weights.config.model.hidden_size, head)
    exported = {
        head.task: with_hidden_layer(head, on_label_scale(head, weights.parameters)) for head in heads
    }
    for head in heads:
        _check_nothing_is_left_out(head, exported[head.task])
    notes: dict[str, None] = {}  # those on the tokenizer are the same for every task
    for head in heads:
        parameters = exported[head.task]
        architecture = HEAD_ARCHITECTURES[head.settings.kind]
        description = config_json(weights, architecture, sizes.discriminator, sizes.embedding_size)
        description |= head_config_json(weights.config.finetune.head_dropout, head)
        folder = subfolder(directory, head.task)
        notes |= dict.fromkeys(write_folder(weights, folder, _table_with_head(head), parameters, description))
    for name in writers:
        notes |= dict.fromkeys(write_encoder_decoder(weights, subfolder(directory, name), name))
    return list(notes)


def _check_nothing_is_left_out(head: Head, parameters: FlatParams) -> None:
    """Refuse a head with more parameters than heads of its kind have: it would not compute what was trained.

    Raises:
        UserError: it has more.
    """
    own, table = f"heads/{head.task}/", _table_with_head(head)
    if left := [name for name in parameters if name.startswith(own) and table.to_foreign(name) is None]:
        raise UserError(
            f"{head.task} is said to be of kind {head.settings.kind}, whose head has no {listed(left)}: "
            f"restore {FILE} from a copy"
        )
