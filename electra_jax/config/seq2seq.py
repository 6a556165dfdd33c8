"""What only tasks of kind seq2seq have: files of parallel lines, and the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from electra_jax.config.blocks import default_decoder_heads, default_intermediate
from electra_jax.config.fields import MAX_LAYERS, MAX_SIZE, LocalPath, Section, checked_path, field
from electra_jax.config.yaml_format import show


class ParallelFiles(Section):
    """Two files whose lines belong together; several target files are several references."""

    source_file: LocalPath
    target_file: LocalPath | list[LocalPath] | None = None

    @property
    def targets(self) -> list[str]:
        """The target files; none where the targets are hidden."""
        if self.target_file is None:
            return []
        return [self.target_file] if isinstance(self.target_file, str) else list(self.target_file)


_PAIR = "{source_file: FILE, target_file: FILE}"


def _split_file(value: Any) -> Any:
    """Check a file, or two files of parallel lines, in one sentence whatever is wrong."""
    if value is None or isinstance(value, ParallelFiles):
        return value
    if isinstance(value, str):
        return checked_path(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"{show(value, 40)} is no file: name one, or write {_PAIR}")
    if unknown := [key for key in value if key not in ParallelFiles.model_fields]:
        raise ValueError(f"two files of parallel lines have no {show(unknown[0], 40)}: write {_PAIR}")
    if not isinstance(value.get("source_file"), str):
        raise ValueError(f"two files of parallel lines need source_file: write {_PAIR}")
    target = value.get("target_file")
    files = target if isinstance(target, list) else [target]
    if not files or not all(isinstance(file, str) for file in files if target is not None):
        raise ValueError(
            f"target_file is {show(target, 40)}, but must be a file or a list of them: write {_PAIR}"
        )
    paths = [_split_file(file) for file in files if file is not None]
    many: Any = paths if isinstance(target, list) else (paths or [None])[0]
    return ParallelFiles(source_file=_split_file(value["source_file"]), target_file=many)


SplitFile = Annotated[str | ParallelFiles | None, BeforeValidator(_split_file)]


class RetrievalConfig(Section):
    """A text that was retrieved for the source, and is read behind it: retrieve-and-refine (Weston et al. 2018)."""

    column: str = field(
        "retrieved",
        "Column of that text; in conversations of a list with one for each turn, null where there is none.",
    )
    blend: float = field(
        0.5,
        "Share of the training examples that read their target in its place (alpha, Roller et al. 2020): at 0 it is "
        "soon ignored, at 1 always copied.",
        ge=0.0,
        le=1.0,
    )
    max_tokens: int = field(32, "Longer ones are cut; so much of data.sequence_length is theirs.", ge=1)


class DecoderConfig(Section):
    """The decoder of a seq2seq task: it has the encoder's vocabulary, embeddings and dropout."""

    init: Literal["random", "encoder", "generator"] = field(
        "random",
        "What it starts from: nothing; the encoder's layers, which then see only what is before them; the pre-trained "
        "generator, its head included. Attention to the source always starts anew.",
    )
    sharing: Literal["embeddings", "all"] = field(
        "embeddings",
        "What it shares with the encoder: embeddings alone; or all layers too, so that only attention to the source "
        "and the head are its own.",
    )
    copy_mechanism: bool = field(
        False,
        "Whether it may also take tokens from the source, a pointer-generator (See et al. 2017); Hugging Face's "
        "decoder has none.",
    )
    num_layers: int | None = field(
        None, "Its layers; null: the encoder's, or what it starts from has.", ge=1, le=MAX_LAYERS
    )
    hidden_size: int | None = field(
        None, "Its width; null: the encoder's, or that of what it starts from.", ge=1, le=MAX_SIZE
    )
    num_heads: int | None = field(
        None,
        "Its attention heads; null: of the encoder's width, or those of what it starts from.",
        ge=1,
        le=MAX_SIZE,
    )
    intermediate_size: int | None = field(
        None, "Width of its feed-forward layers; null: in proportion to the encoder's.", ge=1, le=MAX_SIZE
    )

    @property
    def is_copied(self) -> bool:
        """Whether its layers are the encoder's, or start as copies of them."""
        return self.sharing == "all" or self.init == "encoder"

    @model_validator(mode="after")
    def _check(self) -> DecoderConfig:
        if self.sharing == "all" and self.init == "generator":
            raise ValueError(
                "sharing all is the encoder's layers, not the generator's: set init to encoder, or leave it out"
            )
        return self


def retrieval_problem(retrieval: RetrievalConfig, model: Any, length: int) -> str | None:
    """Return a sentence on why what is retrieved cannot be read with a source of ``length``; None if it can."""
    if retrieval.max_tokens + 3 > length:
        return (
            f"retrieval.max_tokens {retrieval.max_tokens} leaves a source no room in data.sequence_length {length}: "
            "lower it"
        )
    if model.type_vocab_size < 2:
        return "retrieval needs model.type_vocab_size of at least 2"
    return None


def decoder_problem(decoder: DecoderConfig, model: Any, max_target_tokens: int | None) -> str | None:
    """Return a sentence on why a decoder does not go with an encoder; None if it does.

    Args:
        decoder: the section ``decoder`` of a task.
        model: the section ``model``.
        max_target_tokens: of the task.
    """
    if max_target_tokens is not None and max_target_tokens > model.max_positions:
        return f"max_target_tokens {max_target_tokens} is above model.max_positions {model.max_positions}"
    sizes = {
        name: getattr(decoder, name)
        for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size")
    }
    own = {name: getattr(model, name) for name in sizes}
    own["intermediate_size"] = own["intermediate_size"] or default_intermediate(
        model.hidden_size, model.block
    )
    if decoder.is_copied:
        how = "decoder.sharing=all" if decoder.sharing == "all" else "decoder.init=encoder"
        for name, value in sizes.items():
            if value not in (None, own[name]):
                return f"decoder.{name} {value} is not the encoder's {own[name]}, which it is with {how}: leave it out"
    width, heads = sizes["hidden_size"] or own["hidden_size"], sizes["num_heads"]
    if heads is not None and width % heads:
        return f"the decoder's width {width} is not divisible by decoder.num_heads {heads}"
    not_known_yet = heads is None and decoder.init == "generator"
    if model.block == "bert" or not_known_yet:
        return None
    heads = heads or default_decoder_heads(width, model)
    if width // heads % 2:
        return (
            f"model.block=modern turns pairs of features, and the decoder's heads are {width // heads} wide "
            f"({width} / {heads}): set decoder.num_heads or decoder.hidden_size so that they are even"
        )
    return None
