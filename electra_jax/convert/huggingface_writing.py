"""Writing models as folders of Hugging Face `transformers`, with one network per folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from electra_jax.convert.encoder_decoder_format import KIND as WRITING_KIND
from electra_jax.convert.encoder_decoder_writing import check_writable, write_encoder_decoder
from electra_jax.convert.generation_config import FILE as GENERATION_CONFIG
from electra_jax.convert.generation_config import generation_config_json
from electra_jax.convert.huggingface_config import (
    ARCHITECTURES,
    CAUSAL_ARCHITECTURE,
    ENCODER_ARCHITECTURE,
    config_json,
)
from electra_jax.convert.huggingface_heads import (
    Head,
    check_exportable,
    head_config_json,
    heads_from_settings,
    on_label_scale,
    with_hidden_layer,
)
from electra_jax.convert.huggingface_tensors import table_with_head, write_folder
from electra_jax.convert.modernbert_config import ARCHITECTURES as MODERN_ARCHITECTURES
from electra_jax.convert.modernbert_config import ENCODER_ARCHITECTURE as MODERN_ENCODER
from electra_jax.convert.modernbert_config import modernbert_config_json
from electra_jax.convert.names import NameTable, Network, huggingface_encoder_table, huggingface_table, scopes
from electra_jax.convert.weights import FlatParams, Weights
from electra_jax.errors import UserError, listed
from electra_jax.files.file_names import subfolder
from electra_jax.model.sizes import EncoderSizes, NetworkSizes, network_sizes
from electra_jax.objectives.kinds import is_causal
from electra_jax.tasks.settings import FILE


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
    if weights.config.model.block == "modern":
        return _write_modern(weights, directory)
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    if scopes(weights.parameters) == {"embeddings", "encoder"}:
        return write_encoder(weights, directory / "discriminator")
    networks = _networks_to_write(weights, sizes)
    _check_nothing_is_unplaced("ELECTRA", weights.parameters, [table for table, _, _ in networks.values()])
    if is_causal(weights.config.objective):
        return _write_causal(weights, directory / "generator", *networks["generator"])
    notes: list[str] = []
    for network, (table, encoder, embedding_size) in networks.items():
        description = config_json(weights, ARCHITECTURES[network], encoder, embedding_size)
        notes = write_folder(weights, directory / network, table, weights.parameters, description)
    return notes


def write_encoder(weights: Weights, folder: Path) -> list[str]:
    """Write a folder of an encoder without a head, whose parameters are all there are; return notes."""
    model = weights.config.model
    sizes = network_sizes(model, weights.config.generator, weights.vocab_size)
    description = (
        modernbert_config_json(weights, MODERN_ENCODER, sizes.discriminator)
        if model.block == "modern"
        else config_json(weights, ENCODER_ARCHITECTURE, sizes.discriminator, sizes.embedding_size)
    )
    return write_folder(
        weights, folder, huggingface_encoder_table(model.block), weights.parameters, description
    )


def _networks_to_write(
    weights: Weights, sizes: NetworkSizes
) -> dict[Network, tuple[NameTable, EncoderSizes, int]]:
    """Return names, sizes and embedding size of each network that the model has."""
    parts, block = scopes(weights.parameters), weights.config.model.block
    own = "generator_embeddings" in parts
    tower = "generator_encoder" in parts
    networks_to_write: dict[Network, tuple[NameTable, EncoderSizes, int]] = {}
    if "discriminator_head" in parts or "generator_head" not in parts:
        networks_to_write["discriminator"] = (
            huggingface_table("discriminator", block=block),
            sizes.discriminator,
            sizes.embedding_size,
        )
    if "generator_head" in parts:
        table = huggingface_table(
            "generator",
            block=block,
            embeddings="generator_embeddings" if own else "embeddings",
            encoder="generator_encoder" if tower else "encoder",
        )
        small = sizes.generator if tower else sizes.discriminator
        networks_to_write["generator"] = (
            table,
            small,
            sizes.generator_embedding_size if own else sizes.embedding_size,
        )
    return networks_to_write


def _check_nothing_is_unplaced(what: str, parameters: FlatParams, tables: Sequence[NameTable]) -> None:
    """Refuse parameters that are in no table.

    Raises:
        UserError: there are some.
    """
    unplaced = {name for name in parameters if not any(table.to_foreign(name) for table in tables)}
    if unplaced:
        raise UserError(
            f"Hugging Face's {what} has no place for {', '.join(sorted(scopes(unplaced)))}: it cannot be exported"
        )


def _write_modern(weights: Weights, directory: Path) -> list[str]:
    """Write the folders of a model with ``model.block=modern``."""
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    if scopes(weights.parameters) == {"embeddings", "encoder"}:
        return write_encoder(weights, directory / "discriminator")
    networks, parameters = _networks_to_write(weights, sizes), weights.parameters
    notes: dict[str, None] = {}
    if "discriminator" in networks and "generator_encoder/embeddings_project/kernel" in parameters:
        del networks["generator"]
        parameters = {name: array for name, array in parameters.items() if not name.startswith("generator_")}
        notes = {
            f"the generator is {sizes.generator.hidden_size} wide and its embeddings {sizes.embedding_size}, which "
            "Hugging Face's ModernBERT cannot be: the discriminator alone is written": None
        }
    _check_nothing_is_unplaced("ModernBERT", parameters, [table for table, _, _ in networks.values()])
    for network, (table, encoder, _) in networks.items():
        description = modernbert_config_json(weights, MODERN_ARCHITECTURES[network], encoder)
        written = write_folder(weights, directory / network, table, parameters, description)
        notes |= dict.fromkeys(written)
    return list(notes)


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
    block = weights.config.model.block
    sizes = network_sizes(weights.config.model, weights.config.generator, weights.vocab_size)
    writers = [name for name, task in weights.tasks.items() if task.kind == WRITING_KIND]
    heads = heads_from_settings({n: task for n, task in weights.tasks.items() if n not in writers}, block)
    for name in weights.tasks:
        subfolder(directory, name)
    for name in writers:
        check_writable(weights, name)
    for head in heads:
        check_exportable(weights.config, head)
    exported = {
        head.task: with_hidden_layer(head, on_label_scale(head, weights.parameters)) for head in heads
    }
    for head in heads:
        _check_head_is_whole(head, exported[head.task])
    notes: dict[str, None] = {}  # those on the tokenizer are the same for every task
    for head in heads:
        parameters = exported[head.task]
        description = (
            modernbert_config_json(weights, head.architecture, sizes.discriminator)
            if block == "modern"
            else config_json(weights, head.architecture, sizes.discriminator, sizes.embedding_size)
        )
        description |= head_config_json(weights.config, head)
        folder = subfolder(directory, head.task)
        notes |= dict.fromkeys(write_folder(weights, folder, table_with_head(head), parameters, description))
    for name in writers:
        notes |= dict.fromkeys(write_encoder_decoder(weights, subfolder(directory, name), name))
    return list(notes)


def _check_head_is_whole(head: Head, parameters: FlatParams) -> None:
    """Refuse a head with more or fewer parameters than heads of its kind: it would not compute what was trained.

    Raises:
        UserError: it has others.
    """
    own, table = f"heads/{head.task}/", table_with_head(head)
    if left := [name for name in parameters if name.startswith(own) and table.to_foreign(name) is None]:
        raise UserError(
            f"{head.task} is said to be of kind {head.settings.kind}, whose head has no {listed(left)}: "
            f"restore {FILE} from a copy"
        )
    if lacking := [row.ours for row in head.rows if row.ours not in parameters]:
        raise UserError(
            f"the head of {head.task} has no {listed(lacking)}, which such heads of Hugging Face have: it was trained "
            "with another finetune.head_style"
        )
