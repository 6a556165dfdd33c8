"""Reading Hugging Face's `EncoderDecoderModel` of an `ElectraModel` and an `ElectraForCausalLM`: a task that writes.

Its decoder has embeddings of its own, where ours has the encoder's: both must be the same. Layers may be the same, too,
and are read as what the folder holds: two stacks.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from electra_jax.config.loading import validate, with_overrides
from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.flat_parameters import expected_decoder_shapes, expected_shapes
from electra_jax.convert.generation_config import FILE as GENERATION_CONFIG
from electra_jax.convert.generation_config import generation_section
from electra_jax.convert.huggingface_config import model_section
from electra_jax.convert.huggingface_folder import CONFIG, read_settings_of_two
from electra_jax.convert.huggingface_tensors import to_flat_names
from electra_jax.convert.names import huggingface_encoder_decoder_table
from electra_jax.convert.state_dicts import split_encoder_decoder
from electra_jax.convert.vocabulary import (
    apply_tokenizer_overrides,
    find_tokenizer,
    pad_vocabulary,
    tokenizer_settings,
)
from electra_jax.convert.weight_files import is_weight_file, read_file, read_folder
from electra_jax.convert.weights import (
    FlatParams,
    Weights,
    check_complete,
    check_layers_of,
    check_num_layers,
    check_patterns_used,
    check_vocabulary,
)
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object
from electra_jax.model.sizes import network_sizes
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tokenizers import Tokenizer

KIND: Final = "seq2seq"
TASK = KIND  # what a task that was read is called
START = "decoder_start_token_id"
# What encoder and decoder must have in common, since their embeddings are the same.
_SHARED_SIZES = (
    *("vocab_size", "embedding_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps"),
)
# What is the encoder's here; in training alone it matters.
_IN_TRAINING = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
# What earlier versions of `transformers` put into config.json, where there is no generation_config.json.
_GENERATION_KEYS = (
    *("max_length", "min_length", "max_new_tokens", "min_new_tokens", "num_beams", "length_penalty"),
    *("repetition_penalty", "no_repeat_ngram_size", "early_stopping", "num_return_sequences", "do_sample"),
    *("temperature", "top_k", "top_p", "eos_token_id", "bad_words_ids", "encoder_no_repeat_ngram_size"),
)


def read_encoder_decoder(
    source: Path,
    *,
    overrides: Sequence[str] = (),
    vocab: Path | None = None,
    allow_missing: Collection[str] = (),
) -> Weights:
    """Read an encoder with a decoder as a fine-tuned model with one task, called ``seq2seq``.

    Args:
        source: the folder, or its file of tensors.
        overrides: ``key.path=value``, which take precedence over what is derived.
        vocab: the vocabulary; None: that of the folder.
        allow_missing: patterns of names that may be missing, or are left out.

    Raises:
        UserError: other networks than two ELECTRAs, a decoder whose embeddings are not the encoder's or that does not
            start with [CLS], incomplete or damaged files.
    """
    where = str(source)
    folder = source.parent if is_weight_file(source) else source
    whole, encoder, decoder = read_settings_of_two(folder)
    notes = _compare(str(folder / CONFIG), encoder, decoder)
    stored = read_folder(source) if folder is source else read_file(source)
    tensors, more = split_encoder_decoder(where, stored.tensors, stored.others)
    notes += [*stored.notes, *more]
    table = huggingface_encoder_decoder_table(TASK)
    found, unexpected = to_flat_names(source, tensors, table)

    words = found.get("embeddings/word/embedding")
    rows = encoder["vocab_size"] if words is None or not words.ndim else words.shape[0]
    tokenizer, tokenizer_notes = find_tokenizer(folder, vocab)
    if tokenizer is not None:
        tokenizer, row_notes = pad_vocabulary(tokenizer, rows)
        tokenizer_notes = (*tokenizer_notes, *row_notes)
        check_vocabulary(where, tokenizer, rows)
    generation, generation_notes = _generation(folder, whole, tokenizer)
    values = {
        "data": {"sequence_length": encoder["max_position_embeddings"]},
        "model": model_section(encoder),
        "objective": {"kind": "finetune"},
        "finetune": {"tasks": {TASK: _task_section(str(folder / CONFIG), whole, decoder)}},
        "generation": generation,
        "tokenizer": tokenizer_settings(tokenizer, rows),
    }
    derived, config = validate(values, where), with_overrides(values, overrides, where)
    tokenizer = apply_tokenizer_overrides(tokenizer, config.tokenizer, derived.tokenizer, where)

    check_num_layers(where, found, network_sizes(config.model, config.generator, encoder["vocab_size"]))
    layers = decoder["num_hidden_layers"]
    check_layers_of(where, found, f"heads/{TASK}/decoder", layers, "decoder")
    shapes = expected_shapes(config, encoder["vocab_size"])
    expected = {n: s for n, s in shapes.items() if n.partition("/")[0] in ("embeddings", "encoder")}
    expected |= expected_decoder_shapes(config, TASK, encoder["vocab_size"])
    named = {name for ours in (*expected, *found) for name in (ours, table.foreign_or_same(ours).foreign)}
    check_patterns_used(where, {*named, *unexpected}, allow_missing)
    check_complete(where, found, expected, unexpected, table.foreign_or_same, allow_missing)
    _check_same_embeddings(where, found)
    copies = f"heads/{TASK}/embeddings/"
    return Weights(
        config=config,
        parameters={name: found[name] for name in expected if name in found and not name.startswith(copies)},
        vocab_size=rows,
        tokenizer=tokenizer,
        notes=(*notes, *generation_notes, *tokenizer_notes),
        tasks={TASK: TaskSettings(kind=KIND)},
    )


def _compare(where: str, encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> list[str]:
    """Return notes on what the decoder has otherwise than the encoder.

    Raises:
        UserError: sizes of what they share.
    """
    for key in _SHARED_SIZES:
        if encoder[key] != decoder[key]:
            raise UserError(
                f"{where}: the decoder's {key} is {decoder[key]}, the encoder's {encoder[key]}, but a decoder here has "
                "the encoder's embeddings: only a model in which both are the same can be converted"
            )
    return [
        f"{where}: the decoder's {key} is {decoder[key]}, here it is the encoder's, {encoder[key]}"
        for key in _IN_TRAINING
        if encoder[key] != decoder[key]
    ]


def _task_section(where: str, whole: Mapping[str, Any], decoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section of the task."""
    prefix = whole.get("prefix") or ""
    if not isinstance(prefix, str):
        raise UserError(f"{where}: prefix is {prefix!r:.60}, but must be a text, put before what is read")
    return {
        "kind": KIND,
        "prefix": prefix,
        "decoder": {
            "num_layers": decoder["num_hidden_layers"],
            "hidden_size": decoder["hidden_size"],
            "num_heads": decoder["num_attention_heads"],
            "intermediate_size": decoder["intermediate_size"],
        },
    }


def _generation(
    folder: Path, whole: Mapping[str, Any], tokenizer: Tokenizer | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the section ``generation``, and notes on what was left out.

    Raises:
        UserError: texts begin with another token than [CLS].
    """
    path = folder / GENERATION_CONFIG
    content = dict(read_object(path, "download it again")) if path.is_file() else None
    for file, said in ((folder / CONFIG, whole), (path, content or {})):
        start = said.get(START)
        if tokenizer is not None and start not in (None, tokenizer.cls_id):
            raise UserError(
                f"{file}: {START} is {start!r}, but a decoder here starts with "
                f"{tokenizer.token(tokenizer.cls_id)} ({tokenizer.cls_id}): a model trained with another cannot be "
                "converted"
            )
    if content is None:
        path = folder / CONFIG
        content = {key: whole[key] for key in _GENERATION_KEYS if key in whole}
    # Lengths that count the token a decoder starts with, too.
    for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        length = content.pop(total, None)
        if type(length) is int and length > 1 and content.get(new) is None:
            content[new] = length - 1
    return generation_section(path, content, tokenizer)


def _check_same_embeddings(where: str, found: FlatParams) -> None:
    """Refuse a decoder whose embeddings are not the encoder's, to the bit.

    Raises:
        UserError: they differ.
    """
    table = huggingface_encoder_decoder_table(TASK)
    for name, array in found.items():
        own = found.get(f"heads/{TASK}/{name}") if name.startswith("embeddings/") else None
        if own is not None and (difference := first_difference(own, array)):
            raise UserError(
                f"{where}: {table.foreign_or_same(f'heads/{TASK}/{name}').foreign} is not the encoder's, they differ "
                f"{difference}; a decoder here has the encoder's embeddings, so only a model in which both are the "
                "same can be converted"
            )
