"""Arguments of the methods of `Model`: one item or many, each checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from electra_jax.data.sources.text import without_surrogates
from electra_jax.errors import UserError


def as_items(given: Any, method: str, what: str) -> tuple[list[Any], bool]:
    """Return the items as a list, and whether it was a single one that was not in a list: a string or a tuple.

    Args:
        given: the argument of the method.
        method: its name, for the message.
        what: what it takes, for the message.

    Raises:
        UserError: it is neither an item nor a list.
    """
    if isinstance(given, str | tuple):
        return [given], True
    no_list = (Mapping, bytes, bytearray, set, frozenset)
    # A zero-dimensional array counts as iterable, but iterating over it fails.
    if isinstance(given, Iterable) and not isinstance(given, no_list) and getattr(given, "shape", None) != ():
        return list(given), False
    raise UserError(f"{method} takes {what}, or a list of them, and not {_describe(given)}")


def text_of(item: Any, where: str) -> str:
    """Return the item if it is a text; lone surrogates are replaced.

    Raises:
        UserError: it is not a text; ``where`` begins the message.
    """
    if not isinstance(item, str):
        raise UserError(f"{where} is {_describe(item)} and not a text")
    return without_surrogates(str(item))


def full_text_of(item: Any, where: str) -> str:
    """Return the item if it is a text that is more than blanks.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    text = text_of(item, where)
    if not text.strip():
        raise UserError(f"{where} is empty: leave it out, or give it a text")
    return text


def pair_of(item: Any, where: str) -> tuple[str, str]:
    """Return the item if it is a pair of texts.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise UserError(f"{where} is {_describe(item)} and not a pair of texts, as in [(one, another)]")
    return text_of(item[0], f"{where}, its first part"), text_of(item[1], f"{where}, its second part")


def text_or_pair(item: Any, where: str) -> tuple[str, str | None]:
    """Return a text and its pair, None where it stands alone.

    Raises:
        UserError: it is neither; ``where`` begins the message.
    """
    if isinstance(item, tuple | list):
        return pair_of(item, where)
    return text_of(item, where), None


def choice_of(item: Any, where: str) -> tuple[str, tuple[str, ...], str]:
    """Return the item if it is a context with two or more options, and perhaps a question, "" where there is none.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    is_choice = isinstance(item, tuple | list) and len(item) in (2, 3)
    if not is_choice or not isinstance(item[1], tuple | list) or len(item[1]) < 2:
        raise UserError(
            f"{where} is {_describe(item)} and not a context with two or more options, as in (context, [one, another])"
        )
    context, options, *question = item
    checked = tuple(text_of(option, f"{where}, option {number}") for number, option in enumerate(options))
    return (
        text_of(context, f"{where}, its context"),
        checked,
        text_of(question[0], f"{where}, its question") if question else "",
    )


def candidates_of(item: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the item if it is a context with candidates, which may be empty.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    is_pair = isinstance(item, tuple | list) and len(item) == 2
    if not is_pair or not isinstance(item[1], tuple | list) or not item[1]:
        raise UserError(
            f"{where} is {_describe(item)} and not a context with candidates, as in (context, [one, another])"
        )
    context, candidates = item
    checked = tuple(text_of(text, f"{where}, candidate {number}") for number, text in enumerate(candidates))
    return text_of(context, f"{where}, its context"), checked


def judged_of(item: Any, where: str) -> tuple[str | tuple[str, str], tuple[str, ...]]:
    """Return the item if it is a source with candidates; the source is a text, or that with what was retrieved for it.

    Raises:
        UserError: it is not.
    """
    is_pair = isinstance(item, tuple | list) and len(item) == 2
    if not is_pair or not isinstance(item[0], tuple | list):
        return candidates_of(item, where)
    source = pair_of(item[0], f"{where}, its source")
    return source, candidates_of((source[0], item[1]), where)[1]


def full_candidates_of(item: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the item if it is a context with candidates of which none is empty.

    Raises:
        UserError: it is not; ``where`` begins the message.
    """
    context, candidates = candidates_of(item, where)
    for number, text in enumerate(candidates):
        full_text_of(text, f"{where}, candidate {number}")
    return context, candidates


def words_of(item: Any, where: str) -> tuple[str, ...]:
    """Return the words of a sentence: a list of them, or a text that is split at white space.

    Raises:
        UserError: it is neither; ``where`` begins the message.
    """
    if isinstance(item, str):
        return tuple(text_of(item, where).split())
    if not isinstance(item, Iterable) or isinstance(item, Mapping | bytes | set):
        raise UserError(f"{where} is {_describe(item)} and neither a sentence nor a list of words")
    return tuple(text_of(word, f"{where}, word {number}") for number, word in enumerate(item))


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {str(value)[:50]!r}"
