"""Hugging Face's generation_config.json, and the section ``generation`` it becomes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.config.generation import GenerationConfig
from electra_jax.errors import UserError, listed
from electra_jax.files.json_files import read_object
from electra_jax.tokenizers import Tokenizer

FILE = "generation_config.json"
# Ours → theirs, of keys that mean the same and have the same values.
_SAME = {
    "max_new_tokens": "max_new_tokens",
    "min_new_tokens": "min_new_tokens",
    "beams": "num_beams",
    "length_penalty": "length_penalty",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram": "no_repeat_ngram_size",
    "no_repeat_source_ngram": "encoder_no_repeat_ngram_size",
    "stop_strings": "stop_strings",
}
# The same, read only where tokens are drawn. There 0 or 1 stands where nothing is cut off, here null does.
_SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
}
_NOTHING_CUT = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
_STOPS = {"exact": "never", "first": True, "huggingface": False}
# What theirs says besides, and is decided here by the tokenizer or by how a model is run.
_NOT_READ = {
    "bos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "suppress_tokens",
    "use_cache",
    "max_length",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "transformers_version",
}


def generation_config_json(
    settings: GenerationConfig, tokenizer: Tokenizer
) -> tuple[dict[str, Any], list[str]]:
    """Return the content of generation_config.json, and notes on what it has no place for."""
    content: dict[str, Any] = {
        "bos_token_id": tokenizer.cls_id,
        "eos_token_id": [tokenizer.sep_id, *map(_token_ids(tokenizer).__getitem__, settings.end_tokens)],
        "pad_token_id": tokenizer.pad_id,
        # Never written here: no text holds them.
        "suppress_tokens": sorted(
            {tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.mask_id} - {tokenizer.sep_id}
        ),
    }
    content |= {theirs: getattr(settings, ours) for ours, theirs in _SAME.items()}
    if not settings.stop_strings:
        del content["stop_strings"]
    draws = settings.method == "sample" or (settings.method == "auto" and bool(settings.sampled_by))
    content["do_sample"] = draws
    if draws:
        for ours, theirs in _SAMPLING.items():
            value = getattr(settings, ours)
            content[theirs] = _NOTHING_CUT.get(ours) if value is None else value
    if settings.beams > 1:
        content["early_stopping"] = _STOPS[settings.stop]
    content["num_return_sequences"] = settings.n if draws else settings.n_best
    if settings.ban:
        content["bad_words_ids"] = [tokenizer.encode(text) for text in settings.ban]
    lost = [
        f"generation.{key}"
        for key, value in (
            ("length_rule", settings.length_rule != "mean" and settings.beams > 1),
            ("forced_prefix", settings.forced_prefix),
            ("seed", settings.seed),
        )
        if value
    ]
    return content, [f"{FILE} has no place for {listed(lost)}"] if lost else []


def read_generation_config(folder: Path, tokenizer: Tokenizer | None) -> tuple[dict[str, Any], list[str]]:
    """Read the section ``generation`` of a folder, and notes on what was left out; nothing where there is no file.

    Raises:
        UserError: the file cannot be read, or names a token that the vocabulary does not have.
    """
    path = folder / FILE
    if not path.is_file():
        return {}, []
    return generation_section(path, read_object(path, "download it again"), tokenizer)


def generation_section(
    path: Path, content: Mapping[str, Any], tokenizer: Tokenizer | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the section ``generation`` of what a file says, and notes on what was left out.

    Args:
        path: of the file, for messages.
        content: what it says.
        tokenizer: the model's, if it is known.

    Raises:
        UserError: it names a token that the vocabulary does not have.
    """
    values = {ours: content[theirs] for ours, theirs in _SAME.items() if content.get(theirs) is not None}
    read = {*_SAME.values(), *_SAMPLING.values(), "do_sample", "early_stopping", "num_return_sequences"}
    if isinstance(values.get("stop_strings"), str):
        values["stop_strings"] = [values["stop_strings"]]
    if content.get("do_sample"):
        values["method"] = "sample"
        if values.pop("beams", 1) != 1:  # its beams that draw are not there
            read.discard("num_beams")
        for ours, theirs in _SAMPLING.items():
            value = content.get(theirs)
            if value is not None and value != _NOTHING_CUT.get(ours):
                values[ours] = value
    if values.get("beams", 1) != 1:
        stop = content.get("early_stopping", False)
        same = [ours for ours, theirs in _STOPS.items() if theirs == stop]
        if same:
            values["stop"] = same[0]
        else:
            read.discard("early_stopping")
    if content.get("num_return_sequences") not in (None, 1):
        values["n" if content.get("do_sample") else "n_best"] = content["num_return_sequences"]
    if tokenizer is not None:
        tokens, lost = _tokens(path, content, tokenizer)
        values |= tokens
        read |= {"eos_token_id", "bad_words_ids"}
    left = [
        key
        for key, value in content.items()
        if key not in read | _NOT_READ and not key.startswith("_") and value not in (None, False, 0, 1.0)
    ]
    notes = [f"{path}: {listed(left)} is not read"] if left else []
    if lost:
        notes.append(
            f"{path}: {lost:,} of bad_words_ids are no text of their own, such as a piece within a word, and "
            "are not read"
        )
    return values, notes


def _tokens(path: Path, content: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[dict[str, Any], int]:
    """Return ``end_tokens`` and ``ban``, which stand there as ids, and how many that are banned have no text."""
    ends, banned = content.get("eos_token_id"), content.get("bad_words_ids") or []
    banned = banned if isinstance(banned, list) else [banned]
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    lists: list[list[Any]] = [ids if isinstance(ids, list) else [ids] for ids in banned]
    for number in [*ends, *(number for ids in lists for number in ids)]:
        if type(number) is not int or not 0 <= number < tokenizer.vocab_size:
            raise UserError(
                f"{path} names the token {number!r}, and the vocabulary has {tokenizer.vocab_size}: give the file that "
                "belongs to the model"
            )
    values: dict[str, Any] = {}
    if further := [tokenizer.token(number) for number in ends if number != tokenizer.sep_id]:
        values["end_tokens"] = further
    # What has no text, such as [CLS], is never written; the end of a text is.
    never = {tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.mask_id}
    runs = [ids for ids in lists if ids and not never & {*ids} and ids != [tokenizer.sep_id]]
    texts = [text for ids in runs if tokenizer.encode(text := tokenizer.detokenize(ids)) == ids]
    if texts:
        values["ban"] = texts
    return values, len(runs) - len(texts)


def _token_ids(tokenizer: Tokenizer) -> dict[str, int]:
    return {tokenizer.token(number): number for number in range(tokenizer.vocab_size)}
