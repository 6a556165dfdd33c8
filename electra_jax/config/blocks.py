"""What follows from ``model.block``: defaults, and what does not go with one block or the other."""

from __future__ import annotations

from typing import Any

# Of the section ``model``, where block is modern: ModernBERT's own.
MODERN_DEFAULTS = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "layer_norm_epsilon": 1e-5}

# Keys of the section ``model`` that one block reads and the other does not.
_READ_BY = {"rope_theta": "modern", "type_vocab_size": "bert"}


def block_problem(model: Any) -> str | None:
    """Return a sentence on what in the section ``model`` does not go with its block; None if all does."""
    for name, block in _READ_BY.items():
        if getattr(model, name) != type(model).model_fields[name].default and model.block != block:
            return f"{name} is read with block {block} only, and block is {model.block}: leave it out"
    if model.block == "bert":
        return None
    if model.embedding_size not in (None, model.hidden_size):
        return (
            f"embedding_size {model.embedding_size} does not go with block modern, whose embeddings are as wide as "
            f"hidden_size {model.hidden_size}: leave it out"
        )
    if model.attention_init == "local":
        return "attention_init local does not go with block modern, whose positions are not learned: leave it out"
    if model.hidden_size // model.num_heads % 2:
        return (
            f"block modern turns pairs of features, and heads are {model.hidden_size // model.num_heads} wide "
            f"(hidden_size {model.hidden_size} / num_heads {model.num_heads}): make that even"
        )
    return None


def modern_problem(config: Any) -> str | None:
    """Return a sentence on what in the whole configuration does not go with block modern; None if all does."""
    if config.model.block != "modern":
        return None
    if config.objective.kind == "causal_lm":
        return (
            "model.block=modern does not go with objective.kind=causal_lm, whose layers are the original's: set it to "
            "bert"
        )
    if config.finetuning:
        return _problem_of_heads(config.finetune)
    generator = config.generator
    width = generator.hidden_size or max(1, round(config.model.hidden_size * generator.size_fraction))
    if generator.embedding_size not in (None, width):
        return (
            f"generator.embedding_size {generator.embedding_size} does not go with model.block=modern, whose "
            f"embeddings are as wide as the encoder, and the generator's is {width}: leave it out"
        )
    if generator.num_heads is not None and width // generator.num_heads % 2:
        return (
            f"model.block=modern turns pairs of features, and the generator's heads are "
            f"{width // generator.num_heads} wide ({width} / generator.num_heads {generator.num_heads}): make that even"
        )
    return None


def _problem_of_heads(finetune: Any) -> str | None:
    """Return a sentence on heads that an encoder of modern blocks cannot have; None if it can."""
    for name, task in finetune.tasks.items():
        if task.kind == "seq2seq":
            return (
                f"finetune.tasks.{name}: a decoder has the original's layers, and cannot stand behind an encoder with "
                "model.block=modern: start from one with bert"
            )
    if finetune.head_style == "huggingface":
        return (
            "finetune.head_style=huggingface has the heads of Hugging Face's ELECTRA, which do not go with "
            "model.block=modern: leave it out"
        )
    return None
