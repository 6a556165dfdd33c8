"""Checks that the files of one tokenizer agree: Hugging Face's transformers follows tokenizer.json.

Since version 4 its ids come from tokenizer.json wherever there is one. How text is cleaned comes from
tokenizer_config.json for the classes of BERT and ELECTRA, and from tokenizer.json for the generic class.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError, quoted
from electra_jax.tokenizers.cleaning import CONFIG_FILE, FAST_FILE, normalizer_steps, read_optional_object
from electra_jax.tokenizers.protocol import Tokenizer

MAP_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
_GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
# The same setting in tokenizer_config.json and in BERT's normalizer.
_CLEANING = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_BERT_PRE_TOKENIZER = "BertPreTokenizer"
# tokenizer.json's values for a WordPiece model as it works here. Words longer than BERT's 100 characters are read, too.
_MODEL = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
_USUAL_LONGEST_WORD = 100
# What BERT puts around one text and around two, with the types of the tokens.
_LAYOUTS = {
    "single": [("[CLS]", 0), ("A", 0), ("[SEP]", 0)],
    "pair": [("[CLS]", 0), ("A", 0), ("[SEP]", 0), ("B", 1), ("[SEP]", 1)],
}


def resolve_cleaning(config: Mapping[str, Any], fast: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return tokenizer_config.json without what tokenizer.json overrules, and notes on where the two differ.

    Args:
        config: tokenizer_config.json, of a WordPiece tokenizer.
        fast: tokenizer.json.
    """
    bert = next((one for one in normalizer_steps(fast) if one.get("type") == "BertNormalizer"), None)
    generic = config.get("tokenizer_class") in _GENERIC_CLASSES
    if generic and isinstance(fast.get("model"), dict) and fast.get("normalizer") is None:
        kept = {key: value for key, value in config.items() if key not in _CLEANING}
        return {**kept, **dict.fromkeys(_CLEANING, False)}, [
            f"{FAST_FILE} cleans nothing (its normalizer is null), which transformers follows for a "
            f"{config['tokenizer_class']}: capitals and accents are kept"
        ]
    if bert is None:
        said = generic and isinstance(fast.get("normalizer"), dict)
        return {key: value for key, value in config.items() if not (said and key in _CLEANING)}, []
    followed = FAST_FILE if generic else CONFIG_FILE
    # Without a setting for accents they are stripped if text is lower-cased.
    accents = bert.get("lowercase") if bert.get("strip_accents") is None else bert["strip_accents"]
    said_by = {**bert, "strip_accents": accents}
    notes = [
        f"{CONFIG_FILE} says {ours} {config[ours]}, {FAST_FILE} {theirs} {said_by[theirs]}: {followed} is followed, as "
        f"transformers does for a {config.get('tokenizer_class', 'model of type electra')}"
        for ours, theirs in _CLEANING.items()
        if None not in (config.get(ours), said_by.get(theirs)) and config[ours] != said_by[theirs]
    ]
    if not generic and (odd := _differing_defaults(config, bert)):
        notes.append(
            f"{FAST_FILE} is followed where {CONFIG_FILE} is silent; there transformers' ElectraTokenizer takes "
            f"{odd} whatever {FAST_FILE} says (tokenizer.lowercase and tokenizer.strip_accents do so here)"
        )
    return {key: value for key, value in config.items() if not (generic and key in _CLEANING)}, notes


def _differing_defaults(config: Mapping[str, Any], bert: Mapping[str, Any]) -> str:
    """Return the defaults of the classes of BERT and ELECTRA that differ from tokenizer.json, in words; "" if none."""

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
    """Refuse a vocabulary whose ids differ from those in the files beside it, and note other differences.

    Args:
        tokenizer: of the vocabulary.
        where: the folder that has it.

    Returns:
        Notes on what transformers does with text that is not done here.

    Raises:
        UserError: the first token with another id, or another special token.
    """
    fast, config, special, more = (
        read_optional_object(where / name) for name in (FAST_FILE, CONFIG_FILE, MAP_FILE, ADDED_FILE)
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
    added = {FAST_FILE: _added_ids(fast), CONFIG_FILE: _decoded_ids(config), ADDED_FILE: _named_ids(more)}
    given = [(file, *one) for file, entries in added.items() for one in entries]
    for file, token, number, what in (*given, *((FAST_FILE, *one) for one in _template_ids(fast))):
        if number < tokenizer.vocab_size and tokenizer.token(number) != token:
            raise UserError(
                f"{where / file} gives {token!r:.80} the id {number} among its {what}, which in the vocabulary is "
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
    known_tokens = set(_special_tokens(tokenizer).values())
    notes = []
    for file, entries in added.items():
        tokens = list(dict.fromkeys(token for token, _, _ in entries if token not in known_tokens))
        known_tokens |= set(tokens)
        if tokens:
            notes.append(
                f"{file} finds {quoted(tokens, limit=5)} whole wherever a text has them "
                f"({len(tokens)} added tokens); here they are text like any other"
            )
    return [*notes, *_notes(tokenizer, fast)]


def _notes(tokenizer: Tokenizer, fast: Mapping[str, Any]) -> Iterator[str]:
    if tokenizer.kind == "wordpiece" and isinstance(model := fast.get("model"), dict):
        for key, ours in _MODEL.items():
            if (theirs := model.get(key, ours)) != ours:
                yield f"{FAST_FILE} has {theirs!r:.60} as {key}, here it is {ours!r}"
        longest = model.get("max_input_chars_per_word")
        if type(longest) is int and longest < _USUAL_LONGEST_WORD:
            yield f"{FAST_FILE} takes words of more than {longest} characters for [UNK], here they are read"
        if around := _template_difference(fast.get("post_processor")):
            yield f"{FAST_FILE} {around}; here it is [CLS] text [SEP], or [CLS] text [SEP] text [SEP] of types 0 and 1"
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
    """Return the tokens in tokenizer.json's own vocabulary with their ids; [] where it has no vocabulary.

    Raises:
        UserError: it is not a vocabulary.
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


def _decoded_ids(config: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the added tokens that tokenizer_config.json lists by their ids."""
    decoder = config.get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    return [
        (entry["content"], int(number), "added tokens")
        for number, entry in entries
        if re.fullmatch(r"[0-9]{1,9}", number)
        and isinstance(entry, dict)
        and isinstance(entry.get("content"), str)
    ]


def _named_ids(more: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the tokens of added_tokens.json."""
    return [
        (token, number, "added tokens")
        for token, number in more.items()
        if type(number) is int and number >= 0
    ]


def _template_difference(template: Any) -> str:
    """Return in words what tokenizer.json puts around texts, if it is not what BERT does; else ""."""
    if template is None:
        return "puts nothing around a text"
    kind = template.get("type") if isinstance(template, dict) else None
    if kind == "BertProcessing":
        return ""
    if kind != "TemplateProcessing":
        return f"puts around a text what a {kind!r:.60} does"
    for name, ours in _LAYOUTS.items():
        steps = template.get(name)
        theirs = [_template_item(step) for step in steps] if isinstance(steps, list) else None
        if theirs != ours:
            said = " ".join(f"{what}:{number}" for what, number in (theirs or ())) or "nothing"
            return f"makes {said:.200} of {'two texts' if name == 'pair' else 'one text'}"
    return ""


def _template_item(step: Any) -> tuple[Any, Any]:
    """Return a token or a text (A, B) of a template, and its type."""
    inner = next(iter(step.values()), None) if isinstance(step, dict) else None
    return (inner.get("id"), inner.get("type_id")) if isinstance(inner, dict) else (None, None)


def _added(fast: Mapping[str, Any]) -> dict[str, None]:
    return {token: None for token, _, _ in _added_ids(fast)}


def _template_ids(fast: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the tokens that tokenizer.json puts around a text, with their ids."""
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
