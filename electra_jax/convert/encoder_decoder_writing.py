"""Writing a task that writes as Hugging Face's `EncoderDecoderModel` of an `ElectraModel` and an `ElectraForCausalLM`.

What the decoder shares with the encoder is written twice: the embeddings, and with ``decoder.sharing=all`` the layers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.convert.encoder_decoder_format import KIND, START
from electra_jax.convert.generation_config import FILE as GENERATION_CONFIG
from electra_jax.convert.generation_config import generation_config_json
from electra_jax.convert.huggingface_config import CAUSAL_ARCHITECTURE, ENCODER_ARCHITECTURE, config_json
from electra_jax.convert.huggingface_folder import CONFIG, ENCODER_DECODER
from electra_jax.convert.huggingface_tensors import write_folder
from electra_jax.convert.names import huggingface_encoder_decoder_table
from electra_jax.convert.weights import Weights
from electra_jax.errors import UserError
from electra_jax.model.sizes import decoder_sizes, network_sizes
from electra_jax.tasks.settings import FILE

ARCHITECTURE = "EncoderDecoderModel"


def write_encoder_decoder(weights: Weights, folder: Path, task: str) -> list[str]:
    """Write the encoder with the decoder of a task.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: parameters that Hugging Face's model has no place for; then nothing is written.
        OSError: the disk is full, or something else prevents writing.
    """
    check_writable(weights, task)
    section = weights.config.finetune.tasks[task]
    assert isinstance(section, Seq2SeqConfig)
    model, tokenizer = weights.config.model, weights.tokenizer
    sizes = network_sizes(model, weights.config.generator, weights.vocab_size)
    ids: dict[str, Any] = {}
    if tokenizer is not None:
        ids = {
            "bos_token_id": tokenizer.cls_id,
            "eos_token_id": tokenizer.sep_id,
            "pad_token_id": tokenizer.pad_id,
        }
    decoder = config_json(
        weights, CAUSAL_ARCHITECTURE, decoder_sizes(model, section.decoder), sizes.embedding_size
    )
    decoder |= {"is_decoder": True, "add_cross_attention": True, "cross_attention_hidden_size": None, **ids}
    encoder = config_json(weights, ENCODER_ARCHITECTURE, sizes.discriminator, sizes.embedding_size)
    description = {
        "architectures": [ARCHITECTURE],
        "model_type": ENCODER_DECODER,
        "is_encoder_decoder": True,
        "encoder": {**encoder, "is_decoder": False, "add_cross_attention": False},
        "decoder": decoder,
        **ids,
        **({} if tokenizer is None else {START: tokenizer.cls_id}),
        **({"prefix": section.prefix} if section.prefix else {}),
        "finetuning_task": task,
        "dtype": "float32",
    }
    table = huggingface_encoder_decoder_table(task)
    notes = write_folder(weights, folder, table, _untied(weights, task), description)
    if tokenizer is not None:
        # Positions end where texts do here; elsewhere generation would fail.
        most = min(weights.config.generation.max_new_tokens, model.max_positions - 1)
        settings = weights.config.generation.model_copy(update={"max_new_tokens": most})
        content, more = generation_config_json(settings, tokenizer)
        content = {**content, START: tokenizer.cls_id}
        (folder / GENERATION_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        notes += more
    longest = weights.config.data.sequence_length
    if longest < model.max_positions:
        notes.append(
            f"{task}: sources are cut at {longest} tokens here (data.sequence_length); transformers' tokenizer does so "
            f"with truncation=True, max_length={longest}"
        )
    return [*notes, *_notes(task, section)]


def check_writable(weights: Weights, task: str) -> None:
    """Refuse a decoder with parameters that Hugging Face's model has no place for.

    Raises:
        UserError: it has some, or the configuration has no such task.
    """
    section = weights.config.finetune.tasks.get(task)
    if not isinstance(section, Seq2SeqConfig):
        raise UserError(
            f"{task} is said to be of kind {KIND}, but the model was not trained for such a task: restore {FILE} from "
            "a copy"
        )
    if weights.config.model.block == "modern":
        raise UserError(
            f"the decoder of {task} has modern blocks, of which Hugging Face has no decoder with a source: it cannot "
            "be exported"
        )
    if section.decoder.copy_mechanism:
        raise UserError(
            f"{task} was trained with decoder.copy_mechanism, which Hugging Face's decoder has not: it cannot be "
            "exported"
        )
    table, own = huggingface_encoder_decoder_table(task), f"heads/{task}/"
    left = [name for name in weights.parameters if name.startswith(own) and table.to_foreign(name) is None]
    if left:
        raise UserError(f"Hugging Face's decoder has no place for {left[0]}: {task} cannot be exported")


def _untied(weights: Weights, task: str) -> dict[str, np.ndarray]:
    """Return the parameters with copies for the decoder of what it shares with the encoder."""
    section = weights.config.finetune.tasks[task]
    assert isinstance(section, Seq2SeqConfig)
    shared = {"embeddings/": "embeddings/"}
    if section.decoder.sharing == "all":
        shared["encoder/"] = "decoder/"
    copies = {
        f"heads/{task}/{ours}{name.removeprefix(scope)}": array
        for scope, ours in shared.items()
        for name, array in weights.parameters.items()
        if name.startswith(scope)
    }
    return {**copies, **weights.parameters}


def _notes(task: str, section: Seq2SeqConfig) -> list[str]:
    shared = "embeddings"
    if section.decoder.sharing == "all":
        shared = "embeddings and layers (decoder.sharing=all)"
    notes = [
        f"{task}: the {shared} that the decoder shares with the encoder are written twice; transformers would train "
        "them apart"
    ]
    if section.prefix:
        notes.append(
            f"{task}: prefix {section.prefix!r:.60} is kept in {CONFIG}, but transformers does not put it before a text"
        )
    if section.long == "chunks":
        notes.append(f"{task}: transformers reads no source in chunks (long=chunks)")
    return notes
