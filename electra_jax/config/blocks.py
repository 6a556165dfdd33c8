"""What follows from ``model.block``: defaults, and what does not go with one block or the other."""

from __future__ import annotations

from typing import Any, Literal

from electra_jax.config.fields import MAX_LAYERS, MAX_SIZE, WITH_GENERATOR, Section, field


class LocalAttentionConfig(Section):
    """Layers whose tokens see their neighbours alone, in memory and time that grow with the length and not its square.

    As ModernBERT (Warner et al. 2024) has them.
    """

    window: int | None = field(
        None,
        "block modern only: tokens that local layers see, half of them on each side; even, and no longer than a row. "
        "null: every layer is global.",
        ge=2,
        le=MAX_SIZE,
    )
    global_every: int = field(
        3, "With a window: layers 0, this, twice this ... are global, the others local.", ge=2, le=MAX_LAYERS
    )


# Of the section ``model``, where block is modern: ModernBERT's own.
MODERN_DEFAULTS = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "layer_norm_epsilon": 1e-5}

# Keys of the section ``model`` that one block reads and the other does not.
_READ_BY = {
    "rope_theta": "modern",
    "rope_theta_global": "modern",
    "local_attention": "modern",
    "type_vocab_size": "bert",
}


def default_intermediate(width: int, block: str) -> int:
    """Return the width of feed-forward layers that is taken where none is given.

    4 x ``width`` (bert); the multiple of 64 from 8/3 x ``width`` on (modern), whose three products cost what two do.
    """
    return 4 * width if block == "bert" else -(-8 * width // 3 // 64) * 64


def default_heads(width: int) -> int:
    """Return the number of heads of width 64, as the reference has them; else the next fewer that divide ``width``."""
    return next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)


def default_decoder_heads(width: int, model: Any) -> int:
    """Return the heads of a decoder of ``width``: as wide as those of the section ``model``, where that divides it."""
    head = model.hidden_size // model.num_heads
    return width // head if width % head == 0 else default_heads(width)


def block_problem(model: Any) -> str | None:
    """Return a sentence on what in the section ``model`` does not go with its block; None if all does."""
    for name, block in _READ_BY.items():
        if getattr(model, name) != type(model).model_fields[name].default and model.block != block:
            return (
                f"{name} is read with block {block} only, and block is {model.block}: leave it out, or set block to "
                f"{block}"
            )
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
    return _problem_of_window(model)


def _problem_of_window(model: Any) -> str | None:
    local = model.local_attention
    if local.window is None:
        unread = {
            "rope_theta_global": model.rope_theta_global is not None,
            "local_attention.global_every": local != type(local)(),
        }
        given = next((name for name, is_set in unread.items() if is_set), None)
        return given and f"{given} is read with local_attention.window only, which is null: leave it out"
    if local.window % 2:
        return (
            f"local_attention.window {local.window} is odd, and half of a window lies on each side of a token: make it "
            "even"
        )
    return None


def task_pooling(task: Any, model: Any) -> Literal["first", "mean"]:
    """Return what stands for a text that a task says something of, by its section and the section ``model``."""
    if task.pooling is not None:
        pooling: Literal["first", "mean"] = task.pooling
        return pooling
    return "first" if model.local_attention.window is None else "mean"


def head_style(finetune: Any, model: Any) -> Literal["reference", "huggingface", "modernbert"]:
    """Return which heads tasks have, by the sections ``finetune`` and ``model``: Hugging Face's are the block's own."""
    if finetune.head_style == "reference":
        return "reference"
    return "modernbert" if model.block == "modern" else "huggingface"


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
        return None
    window, length = config.model.local_attention.window, config.data.sequence_length
    if window is not None and window > length:
        return (
            f"model.local_attention.window {window} is above data.sequence_length {length}, so that no layer would be "
            "local: make it smaller, or leave it out"
        )
    generator = config.generator
    width = generator.hidden_size or max(1, round(config.model.hidden_size * generator.size_fraction))
    # As wide as the encoder that is kept: tables that were shared with it, each network's by itself (gdes, converted).
    if generator.embedding_size not in (None, width, config.model.hidden_size):
        return (
            f"generator.embedding_size {generator.embedding_size} does not go with model.block=modern, whose "
            f"embeddings are as wide as the encoder, and the generator's is {width}: leave it out"
        )
    heads = generator.num_heads or default_heads(width)
    apart = config.objective.kind in WITH_GENERATOR and generator.sharing != "all"
    if apart and width // heads % 2:
        return (
            f"model.block=modern turns pairs of features, and the generator's heads are {width // heads} wide "
            f"({width} / {heads}): set generator.num_heads or generator.hidden_size so that they are even"
        )
    return None
