"""Writing with a causal language model: what `Model.generate` and `Model.stream` do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from electra_jax.config.generation import GenerationConfig
from electra_jax.config.loading import validate
from electra_jax.config.schema import Config
from electra_jax.errors import UserError, listed
from electra_jax.inference.items import as_items, pair_of, text_of
from electra_jax.inference.reranking import Reranker, RerankingWriter
from electra_jax.inference.source_writer import SourceWriter, writing_tasks
from electra_jax.inference.writer import Writer
from electra_jax.objectives.kinds import abilities
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.notes import what_is_lost

if TYPE_CHECKING:
    from electra_jax.inference.model import Model


def generate(
    model: Model, prompts: Any, settings: Mapping[str, Any], first: int = 0, *, task: str | None = None
) -> Any:
    """Write behind one prompt or many; see `Model.generate`.

    Args:
        model: the model.
        prompts: a list of texts, or one.
        settings: keys of the section ``generation``, and ``rerank``, a `Reranker`.
        first: number of the first prompt, from which its random numbers follow.
        task: that writes, where there are several.

    Raises:
        UserError: the model cannot write, a setting that does not fit, a prompt that is too long.
    """
    items, one = as_items(prompts, "generate", "a text")
    settings = dict(settings)
    reranker = settings.pop("rerank", None)
    writer: Any = writer_of(model, settings, task)
    if reranker is not None:
        writer = _reranking(writer, reranker)
    rows = [_prompt(writer, item, f"item {i}") for i, item in enumerate(items)]
    found = writer.write(rows, range(first, first + len(rows)))
    several = writer.texts_per_prompt > 1
    results: list[Any] = list(found) if several else [texts[0] for texts in found]
    return results[0] if one else results


def _reranking(writer: Any, reranker: Any) -> RerankingWriter:
    if not isinstance(reranker, Reranker):
        raise UserError(f"rerank is {reranker!r}, and must be a Reranker (electra_jax.inference.reranking)")
    return RerankingWriter(writer, reranker)


def _prompt(writer: Any, item: Any, where: str) -> Any:
    if isinstance(item, tuple) and not isinstance(writer, Writer) and writer.retrieves:
        source, retrieved = pair_of(item, f"generate: {where}")
        return writer.prompt(source, where, retrieved)
    return writer.prompt(text_of(item, f"generate: {where}"), where)


def stream(model: Model, prompt: Any, settings: Mapping[str, Any]) -> Iterator[str]:
    """Write behind one prompt, piece by piece; see `Model.stream`.

    Raises:
        UserError: the model cannot write, a setting that does not fit, a prompt that is too long, several texts.
    """
    writer: Any = writer_of(model, settings)
    return writer.stream(writer.prompt(text_of(prompt, "stream: the prompt"), "the prompt"))


def writer_of(model: Model, settings: Mapping[str, Any], task: str | None = None) -> Writer | SourceWriter:
    """Return what writes with a model, by these settings over those of its configuration.

    Args:
        model: the model.
        settings: keys of the section ``generation``.
        task: that writes, where there are several.

    Raises:
        UserError: the model cannot write, or a setting does not fit.
    """
    check_can_write(model.config)
    config = generation_settings(model.config, settings)
    if not model.config.finetuning and (note := not_written(model.tokenizer)):
        warnings.warn(note, stacklevel=4)  # points at the caller of the method
    return build_writer(model, config, task)


def build_writer(model: Model, config: GenerationConfig, task: str | None = None) -> Writer | SourceWriter:
    """Return what writes behind prompts with a causal language model, and for sources with a task that writes.

    Raises:
        UserError: a setting that does not fit, or no such task.
    """
    if model.config.finetuning:
        return SourceWriter(model, config, task)
    if task is not None:
        raise UserError(f"this model ({model.config.kind_of_run}) has no tasks: leave {task!r} out")
    return Writer(model, config)


def generation_settings(config: Config, settings: Mapping[str, Any]) -> GenerationConfig:
    """Return the section ``generation`` of a configuration with these keys over it.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    values = config.model_dump(exclude_unset=True)
    given = {**values, "generation": {**values.get("generation", {}), **settings}}
    return validate(given, "generation").generation


def check_can_write(config: Config) -> None:
    """Refuse a model that is no causal language model, and has no task that writes.

    Raises:
        UserError: it says which models can write.
    """
    if writing_tasks(config):
        return
    able = abilities(config.objective)
    if "write" not in able:
        also = ""
        if "refine" in able:
            also = "; an ELECTRA pair fills gaps instead (refine, or generation.method=refine)"
        elif "pll" in able:
            also = "; fill proposes tokens for its gaps, and refining needs a discriminator too"
        elif tasks := config.finetune.tasks if config.finetuning else {}:
            also = f"; its tasks are: {listed(f'{name} ({task.kind})' for name, task in tasks.items())}"
        raise UserError(
            f"this model ({config.kind_of_run}) cannot write on from a prompt, as a causal language model does "
            f"(objective.kind=causal_lm), and has no task of kind seq2seq{also}"
        )


def not_written(tokenizer: Tokenizer) -> str | None:
    """Return a sentence on what no text can have that is written with this vocabulary; None if it can have anything."""
    if tokenizer.kind == "characters" and not any(tokenizer.options.values()):
        return None  # what it has not was not in the text it was made from
    lost = what_is_lost(tokenizer)
    return None if lost is None else f"{lost}, so what is written with it has none of its own"
