"""Writing with a causal language model: what `Model.generate` and `Model.stream` do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from electra_jax.config.generation import GenerationConfig
from electra_jax.config.loading import validate
from electra_jax.errors import UserError
from electra_jax.inference.items import as_items, text_of
from electra_jax.inference.writer import Writer

if TYPE_CHECKING:
    from electra_jax.inference.load import Model


def generate(model: Model, prompts: Any, settings: Mapping[str, Any], first: int = 0) -> Any:
    """Write behind one prompt or many; see `Model.generate`.

    Args:
        model: the model.
        prompts: a list of texts, or one.
        settings: keys of the section ``generation``.
        first: number of the first prompt, from which its random numbers follow.

    Raises:
        UserError: the model cannot write, a setting that does not fit, a prompt that is too long.
    """
    items, one = as_items(prompts, "generate", "a text")
    writer = writer_of(model, settings)
    rows = [writer.prompt(text_of(text, f"generate: item {i}"), f"item {i}") for i, text in enumerate(items)]
    found = writer.write(rows, first)
    several = writer.texts_per_prompt > 1
    results: list[Any] = list(found) if several else [texts[0] for texts in found]
    return results[0] if one else results


def stream(model: Model, prompt: Any, settings: Mapping[str, Any]) -> Iterator[str]:
    """Write behind one prompt, piece by piece; see `Model.stream`.

    Raises:
        UserError: the model cannot write, a setting that does not fit, a prompt that is too long.
    """
    writer = writer_of(model, settings)
    if writer.method == "beam" or writer.texts_per_prompt > 1:
        raise UserError(
            "only one text can be streamed, and none of beams: leave beams and n out, or do not stream"
        )
    return writer.stream(writer.prompt(text_of(prompt, "stream: the prompt"), "the prompt"))


def writer_of(model: Model, settings: Mapping[str, Any]) -> Writer:
    """Return what writes with a model, after these settings over those of its configuration.

    Raises:
        UserError: the model cannot write, or a setting does not fit.
    """
    check_can_write(model)
    if note := loses_text(model):
        warnings.warn(note, stacklevel=4)  # points at the caller of the method
    return Writer(model, generation_settings(model, settings))


def generation_settings(model: Model, settings: Mapping[str, Any]) -> GenerationConfig:
    """Return the section ``generation`` of a model with these keys over it.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    values = model.config.model_dump(exclude_unset=True)
    given = {**values, "generation": {**values.get("generation", {}), **settings}}
    return validate(given, "generation").generation


def check_can_write(model: Model) -> None:
    """Refuse a model that is no causal language model.

    Raises:
        UserError: it says which models can write.
    """
    kind = model.config.objective.kind
    if kind != "causal_lm":
        also = "; an ELECTRA pair refines (generation.method=refine)" if kind == "electra" else ""
        raise UserError(
            f"this model ({kind}) cannot write on from a prompt, which a causal language model does "
            f"(objective.kind=causal_lm){also}"
        )


def loses_text(model: Model) -> str | None:
    """Return a sentence on what the tokenizer cannot write; None if it can give any text back."""
    tokenizer = model.tokenizer
    lost = [
        name
        for name, what in (("case", "lowercase"), ("accents", "strip_accents"))
        if tokenizer.options.get(what)
    ]
    if tokenizer.kind == "wordpiece":
        lost.append("line breaks and runs of blanks")
    if not lost:
        return None
    return f"the vocabulary of this model does not keep {' and '.join(lost)}, so what it writes has none of its own"
