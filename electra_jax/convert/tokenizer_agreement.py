"""Whether the files of one tokenizer say the same: Hugging Face's transformers follows tokenizer.json.

Since version 4 its ids come from tokenizer.json wherever there is one. How text is cleaned comes from
tokenizer_config.json for the classes of BERT and ELECTRA, and from tokenizer.json for the generic one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError, quoted
from electra_jax.tokenizers.cleaning import CONFIG_FILE, FAST_FILE, normalizer_steps, read_optional_object
from electra_jax.tokenizers.protocol import Tokenizer

MAP_FILE = "special_tokens_map.json"
_GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
# The same setting in tokenizer_config.json and in BERT's normalizer.
_CLEANING = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_BERT_PRE_TOKENIZER = "BertPreTokenizer"


def as_transformers_cleans(
    config: Mapping[str, Any], fast: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """tokenizer_config.json without what tokenizer.json overrules, and notes on where the two differ.

    Args:
        config: tokenizer_config.json, of a WordPiece tokenizer.
        fast: tokenizer.json.
    """
    bert = next((one for one in normalizer_steps(fast) if one.get("type") == "BertNormalizer"), None)
    generic = config.get("tokenizer_class") in _GENERIC_CLASSES
    if bert is None:
        said = generic and isinstance(fast.get("normalizer"), dict)
        return {key: value for key, value in config.items() if not (said and key in _CLEANING)}, []
    followed = FAST_FILE if generic else CONFIG_FILE
    # Where accents are not spoken of, they go with the capitals.
    accents = bert.get("lowercase") if bert.get("strip_accents") is None else bert["strip_accents"]
    said_by = {**bert, "strip_accents": accents}
    notes = [
        f"{CONFIG_FILE} says {ours} {config[ours]}, {FAST_FILE} {theirs} {said_by[theirs]}: {followed} is followed, as "
        f"transformers does for a {config.get('tokenizer_class', 'model of type electra')}"
        for ours, theirs in _CLEANING.items()
        if None not in (config.get(ours), said_by.get(theirs)) and config[ours] != said_by[theirs]
    ]
    if not generic and (odd := _silently_otherwise(config, bert)):
        notes.append(
            f"{FAST_FILE} is followed where {CONFIG_FILE} is silent; there transformers' ElectraTokenizer takes "
            f"{odd} whatever {FAST_FILE} says (tokenizer.lowercase and tokenizer.strip_accents do so here)"
        )
    return {key: value for key, value in config.items() if not (generic and key in _CLEANING)}, notes


def _silently_otherwise(config: Mapping[str, Any], bert: Mapping[str, Any]) -> str:
    """What the classes of BERT and ELECTRA take where tokenizer_config.json is silent, if tokenizer.json says other."""

    def first(name: str, *otherwise: Any) -> Any:
        said = (config.get(name), *otherwise)
        return next((value for value in said if value is not None), None)

    lower, their_lower = first("do_lower_case", bert.get("lowercase"), True), first("do_lower_case", True)
    strip, their_strip = (
        first("strip_accents", bert.get("strip_accents"), lower),
        first("strip_accents", their_lower),
    )
    pairs = {"do_lower_case": (lower, their_lower), "strip_accents": (strip, their_strip)}
    return " and ".join(f"{name} {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs)


def check_agreement(tokenizer: Tokenizer, where: Path) -> list[str]:
    """Refuse a vocabulary whose ids are not those of the files beside it, and note what else they do otherwise.

    Args:
        tokenizer: of the vocabulary.
        where: the folder that it is of.

    Returns:
        Notes on what transformers does with text that is not done here.

    Raises:
        UserError: the first token with another id, or another special token.
    """
    fast, config, special = (
        read_optional_object(where / name) for name in (FAST_FILE, CONFIG_FILE, MAP_FILE)
    )
    ids = {tokenizer.token(number): number for number in range(tokenizer.vocab_size)}
    named = dict(_ids(fast, where))
    for token, number in named.items():
        if ids.get(token) != number:
            raise UserError(
                f"{where / FAST_FILE} is not of the vocabulary beside it: {token!r:.80} has id {number} there, here it "
                f"{f'is {ids[token]}' if token in ids else 'is none'}; transformers follows {FAST_FILE}, so remove "
                "whichever is wrong"
            )
    if named and (
        lost := next((token for token in ids if token not in named and token not in _added(fast)), None)
    ):
        raise UserError(
            f"{where / FAST_FILE} is not of the vocabulary beside it: it has no {lost!r:.80}, here id {ids[lost]}; "
            f"transformers follows {FAST_FILE}, so remove whichever is wrong"
        )
    for token, number, what in (*_added_ids(fast), *_template_ids(fast)):
        if number < tokenizer.vocab_size and tokenizer.token(number) != token:
            raise UserError(
                f"{where / FAST_FILE} gives {token!r:.80} the id {number} among its {what}, which in the vocabulary is "
                f"{tokenizer.token(number)!r:.80}: remove whichever is wrong"
            )
    for name, token in _special_tokens(tokenizer).items():
        for file, values in ((CONFIG_FILE, config), (MAP_FILE, special)):
            said = values.get(name)
            said = said.get("content") if isinstance(said, dict) else said
            if said is not None and said != token:
                raise UserError(
                    f"{where / file} has {said!r:.80} as {name}, where ELECTRA's is {token}: name that, if the model "
                    "was trained with it"
                )
    return list(_notes(tokenizer, fast))


def _notes(tokenizer: Tokenizer, fast: Mapping[str, Any]) -> Iterator[str]:
    special = set(_special_tokens(tokenizer).values())
    added = [token for token in _added(fast) if token not in special]
    if added:
        yield (
            f"{FAST_FILE} finds {quoted(added, most=5)} whole wherever a text has them "
            f"({len(added)} added tokens); here they are text like any other"
        )
    pre_tokenizer = fast.get("pre_tokenizer")
    if tokenizer.kind == "wordpiece" and isinstance(pre_tokenizer, dict):
        kind = pre_tokenizer.get("type")
        if kind != _BERT_PRE_TOKENIZER:
            yield f"{FAST_FILE} cuts text into words by {kind!r:.60}, here it is done as BERT does"


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    ids = {"unk": tokenizer.unk_id, "sep": tokenizer.sep_id, "pad": tokenizer.pad_id}
    ids |= {"cls": tokenizer.cls_id, "mask": tokenizer.mask_id}
    return {f"{name}_token": tokenizer.token(number) for name, number in ids.items()}


def _ids(fast: Mapping[str, Any], where: Path) -> list[tuple[str, int]]:
    """The tokens of a tokenizer.json's own vocabulary with their ids; none where it has no vocabulary.

    Raises:
        UserError: it is none.
    """
    model = fast.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict) and all(type(number) is int for number in vocabulary.values()):
        return list(vocabulary.items())
    if isinstance(vocabulary, list) and all(
        isinstance(p, list) and p and isinstance(p[0], str) for p in vocabulary
    ):
        return [(piece[0], number) for number, piece in enumerate(vocabulary)]
    if vocabulary is None:
        return []
    raise UserError(
        f"{where / FAST_FILE} has a vocabulary that is no list of tokens with ids: fetch it again"
    )


def _added_ids(fast: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    added = fast.get("added_tokens")
    entries = [entry for entry in added if isinstance(entry, dict)] if isinstance(added, list) else []
    return [
        (entry["content"], entry["id"], "added tokens")
        for entry in entries
        if isinstance(entry.get("content"), str) and type(entry.get("id")) is int and entry["id"] >= 0
    ]


def _added(fast: Mapping[str, Any]) -> dict[str, None]:
    return {token: None for token, _, _ in _added_ids(fast)}


def _template_ids(fast: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """What tokenizer.json puts around a text."""
    template = fast.get("post_processor")
    if not isinstance(template, dict):
        return []
    named = template.get("special_tokens")
    pairs = [template.get(name) for name in ("cls", "sep")]
    if isinstance(named, dict):
        for one in named.values():
            tokens, ids = (
                (one.get(key) for key in ("tokens", "ids")) if isinstance(one, dict) else (None, None)
            )
            if isinstance(tokens, list) and isinstance(ids, list):
                pairs += [list(pair) for pair in zip(tokens, ids)]
    return [
        (pair[0], pair[1], "tokens around a text")
        for pair in pairs
        if isinstance(pair, list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and type(pair[1]) is int
        and pair[1] >= 0
    ]
