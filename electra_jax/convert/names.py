"""The one table of names: our parameters, the original's TensorFlow variables, Hugging Face's tensors.

A flat name is a path in our parameter tree with the layer spelled out: ``encoder/layers/3/output/kernel`` is
``encoder/layers/output/kernel[3]``. Every row of the table is a module; its kind says what its tensors are called.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from electra_jax.model.block import BlockKind

Network = Literal["discriminator", "generator"]

_LAYER = "{n}"

# Kind of module → (ours, TensorFlow, Hugging Face, whether the matrix is stored transposed there).
_TENSORS = {
    "dense": (("kernel", "kernel", "weight", True), ("bias", "bias", "bias", False)),
    "norm": (("scale", "gamma", "weight", False), ("bias", "beta", "bias", False)),
    "table": (("embedding", "", "weight", False),),
    "product": (("kernel", "", "weight", True),),
    "scale": (("scale", "", "weight", False),),
}

# (kind, ours, TensorFlow, Hugging Face) of an embedding layer, below its scope.
_EMBEDDINGS = (
    ("table", "word", "word_embeddings", "word_embeddings"),
    ("table", "position", "position_embeddings", "position_embeddings"),
    ("table", "token_type", "token_type_embeddings", "token_type_embeddings"),
    ("norm", "layer_norm", "LayerNorm", "LayerNorm"),
)

# The same of an encoder. The modules of a layer come after its number.
_ENCODER = (("dense", "embeddings_project", "embeddings_project", "embeddings_project"),)
_LAYER_MODULES = (
    *(
        ("dense", f"attention/{n}", f"attention/self/{n}", f"attention.self.{n}")
        for n in ("query", "key", "value")
    ),
    ("dense", "attention/output", "attention/output/dense", "attention.output.dense"),
    ("norm", "attention_layer_norm", "attention/output/LayerNorm", "attention.output.LayerNorm"),
    ("dense", "intermediate", "intermediate/dense", "intermediate.dense"),
    ("dense", "output", "output/dense", "output.dense"),
    ("norm", "output_layer_norm", "output/LayerNorm", "output.LayerNorm"),
)
# What a layer has besides where it attends to a source, which TensorFlow's never does.
_CROSS_ATTENTION = (
    *(("dense", f"cross_attention/{n}", "", f"crossattention.self.{n}") for n in ("query", "key", "value")),
    ("dense", "cross_attention/output", "", "crossattention.output.dense"),
    ("norm", "cross_attention_layer_norm", "", "crossattention.output.LayerNorm"),
)

_DISCRIMINATOR_HEAD = (
    ("dense", "dense", "dense", "dense"),
    ("dense", "prediction", "dense_1", "dense_prediction"),
)
_GENERATOR_HEAD = (("dense", "dense", "dense", "dense"), ("norm", "layer_norm", "LayerNorm", "LayerNorm"))

# ModernBERT's, of which TensorFlow has none. Its fused matrices are named in parts here, see `modernbert_tensors`.
_MODERN_EMBEDDINGS = (("table", "word", "", "tok_embeddings"), ("scale", "layer_norm", "", "norm"))
_MODERN_ENCODER = (("scale", "final_layer_norm", "", "final_norm"),)
_MODERN_LAYER_MODULES = (
    ("scale", "attention_layer_norm", "", "attn_norm"),
    *(("product", f"attention/{n}", "", f"attn.Wqkv.{n}") for n in ("query", "key", "value")),
    ("product", "attention/output", "", "attn.Wo"),
    ("scale", "mlp_layer_norm", "", "mlp_norm"),
    *(
        ("product", ours, "", f"mlp.Wi.{theirs}")
        for ours, theirs in (("intermediate", "input"), ("gate", "gate"))
    ),
    ("product", "output", "", "mlp.Wo"),
)
_MODERN_HEAD = (("product", "dense", "", "dense"), ("scale", "layer_norm", "", "norm"))
# The parts of a fused matrix, in the order in which they are stacked there.
FUSED = {"attn.Wqkv": ("query", "key", "value"), "mlp.Wi": ("input", "gate")}


@dataclass(frozen=True)
class Row:
    """One parameter: our flat name and the foreign one, both with ``{n}`` for the number of a layer."""

    ours: str
    foreign: str
    transposed: bool = False


class NameConflictError(ValueError):
    """Two rows of a table share a name: the table is not a bijection."""


@dataclass(frozen=True)
class NameTable:
    """A bijection between our flat names and those of one foreign checkpoint.

    Raises:
        NameConflictError: two rows share a name.
    """

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self._by_ours) == len(self._by_foreign):
            raise NameConflictError("a name is in two rows of the table")

    @cached_property
    def _by_ours(self) -> dict[str, Row]:
        return {row.ours: row for row in self.rows}

    @cached_property
    def _by_foreign(self) -> dict[str, Row]:
        return {row.foreign: row for row in self.rows}

    def to_foreign(self, ours: str) -> Row | None:
        """Return the row of our flat name, layer numbers filled in.

        It is None where the foreign checkpoint has no such tensor.
        """
        template, number = _template_of(ours, r"(?<=/layers/)\d{1,6}(?=/)")
        return _with_layer_number(self._by_ours.get(template), number)

    def foreign_or_same(self, ours: str) -> Row:
        """Return the row as `to_foreign`, or for messages one where both names are ours if there is none."""
        return self.to_foreign(ours) or Row(ours, ours)

    def to_ours(self, foreign: str) -> Row | None:
        """Return the row of a foreign name, layer numbers filled in; None for a name that is not in the table."""
        template, number = _template_of(
            foreign,
            r"(?<=encoder/layer_)\d{1,6}(?=/)|(?<=encoder\.layer\.)\d{1,6}(?=\.)|(?<=model\.layers\.)\d{1,6}(?=\.)",
        )
        return _with_layer_number(self._by_foreign.get(template), number)


def _template_of(name: str, number: str) -> tuple[str, str]:
    """Return the template of a name and the layer's number in it, "" where it has none."""
    found = re.search(number, name)
    if found is None or str(int(found[0])) != found[0]:
        return name, ""
    return name[: found.start()] + _LAYER + name[found.end() :], found[0]


def _with_layer_number(row: Row | None, number: str) -> Row | None:
    if row is None or (_LAYER in row.ours) != bool(number):
        return None
    return Row(row.ours.replace(_LAYER, number), row.foreign.replace(_LAYER, number), row.transposed)


Module = tuple[str, str, str, str]


def _tensorflow_rows(modules: Iterable[Module], ours: str, theirs: str) -> Iterable[Row]:
    for kind, our_module, their_module, _ in modules:
        for our_leaf, their_leaf, _, _ in _TENSORS[kind]:
            their_name = "/".join(part for part in (theirs, their_module, their_leaf) if part)
            yield Row(f"{ours}/{our_module}/{our_leaf}", their_name)


def _huggingface_rows(modules: Iterable[Module], ours: str, theirs: str) -> Iterable[Row]:
    for kind, our_module, _, their_module in modules:
        for our_leaf, _, their_leaf, transposed in _TENSORS[kind]:
            yield Row(f"{ours}/{our_module}/{our_leaf}", f"{theirs}.{their_module}.{their_leaf}", transposed)


def _tensorflow_encoder(ours: str, theirs: str) -> Iterable[Row]:
    yield from _tensorflow_rows(_ENCODER, ours, theirs)
    yield from _tensorflow_rows(_LAYER_MODULES, f"{ours}/layers/{_LAYER}", f"{theirs}/encoder/layer_{_LAYER}")


def _huggingface_encoder(block: BlockKind, embeddings: str, encoder: str) -> Iterable[Row]:
    layers = f"{encoder}/layers/{_LAYER}"
    if block == "modern":
        yield from _huggingface_rows(_MODERN_EMBEDDINGS, embeddings, "model.embeddings")
        yield from _huggingface_rows(_MODERN_ENCODER, encoder, "model")
        yield from _huggingface_rows(_MODERN_LAYER_MODULES, layers, f"model.layers.{_LAYER}")
    else:
        yield from _huggingface_rows(_EMBEDDINGS, embeddings, "electra.embeddings")
        yield from _huggingface_rows(_ENCODER, encoder, "electra")
        yield from _huggingface_rows(_LAYER_MODULES, layers, f"electra.encoder.layer.{_LAYER}")


def tensorflow_table() -> NameTable:
    """Return our names and the variables of the original's pre-training checkpoint, both networks in one.

    Electric's two towers and its head have names of their own; a checkpoint has either them or a generator.
    """
    return NameTable(
        (
            *_tensorflow_rows(_EMBEDDINGS, "embeddings", "electra/embeddings"),
            *_tensorflow_rows(_EMBEDDINGS, "generator_embeddings", "generator/embeddings"),
            *_tensorflow_encoder("encoder", "electra"),
            *_tensorflow_encoder("generator_encoder", "generator"),
            *_tensorflow_encoder("generator_ltr", "generator_ltr"),
            *_tensorflow_encoder("generator_rtl", "generator_rtl"),
            *_tensorflow_rows(_DISCRIMINATOR_HEAD, "discriminator_head", "discriminator_predictions"),
            *_tensorflow_rows(_GENERATOR_HEAD, "generator_head", "generator_predictions"),
            Row("generator_head/output_bias", "generator_predictions/output_bias"),
            *_tensorflow_rows(_GENERATOR_HEAD, "cloze_head", "cloze_predictions"),
            Row("cloze_head/output_bias", "cloze_predictions/output_bias"),
        )
    )


def huggingface_table(
    network: Network,
    *,
    block: BlockKind = "bert",
    embeddings: str = "embeddings",
    encoder: str = "encoder",
    generator_head: str = "generator_head",
) -> NameTable:
    """Return our names and the tensors of one Hugging Face folder, which holds one network.

    Args:
        network: which head it has.
        block: ``model.block``, of ELECTRA ("bert") or ModernBERT ("modern").
        embeddings: our scope of its embedding layer; a generator may have its own, ``generator_embeddings``.
        encoder: our scope of its encoder; a generator's is ``generator_encoder``, unless both networks are one.
        generator_head: our scope of the head over the vocabulary, of a generator.
    """
    rows = [*_huggingface_encoder(block, embeddings, encoder)]
    if network == "discriminator":
        rows += _discriminator_head(block)
    else:
        rows += _generator_head(block, generator_head)
    return NameTable(tuple(rows))


def _discriminator_head(block: BlockKind) -> Iterable[Row]:
    ours = "discriminator_head"
    if block == "bert":
        yield from _huggingface_rows(_DISCRIMINATOR_HEAD, ours, "discriminator_predictions")
        return
    yield from modern_head_rows(ours)


def modern_head_rows(ours: str) -> Iterable[Row]:
    """Yield our names and ModernBERT's of a head over tokens or texts: the discriminator's, or one of fine-tuning."""
    yield from _huggingface_rows(_MODERN_HEAD, ours, "head")
    yield Row(f"{ours}/prediction/kernel", "classifier.weight", transposed=True)
    yield Row(f"{ours}/prediction/bias", "classifier.bias")


def _generator_head(block: BlockKind, ours: str) -> Iterable[Row]:
    if block == "bert":
        yield from _huggingface_rows(_GENERATOR_HEAD, ours, "generator_predictions")
        yield Row(f"{ours}/output_bias", "generator_lm_head.bias")
        return
    yield from _huggingface_rows(_MODERN_HEAD, ours, "head")
    yield Row(f"{ours}/output_bias", "decoder.bias")


def huggingface_encoder_table(block: BlockKind = "bert") -> NameTable:
    """Return our names and those of an `ElectraModel` or a `ModernBertModel`.

    It has no head, and no ``electra.`` or ``model.`` before its names.
    """
    prefix = "model." if block == "modern" else "electra."
    rows = _huggingface_encoder(block, "embeddings", "encoder")
    return NameTable(tuple(Row(r.ours, r.foreign.removeprefix(prefix), r.transposed) for r in rows))


def huggingface_encoder_decoder_table(task: str) -> NameTable:
    """Return our names of an encoder with a decoder, and the tensors of an `EncoderDecoderModel` of two ELECTRAs.

    The decoder has embeddings of its own there; they are called ``heads/TASK/embeddings``, where we have none.

    Args:
        task: our name of the task whose head the decoder is.
    """
    head = f"heads/{task}"
    encoder = huggingface_encoder_table().rows
    decoder = (
        *huggingface_table(
            "generator",
            embeddings=f"{head}/embeddings",
            encoder=f"{head}/decoder",
            generator_head=f"{head}/lm_head",
        ).rows,
        *_huggingface_rows(
            _CROSS_ATTENTION, f"{head}/decoder/layers/{_LAYER}", f"electra.encoder.layer.{_LAYER}"
        ),
    )
    return NameTable(
        (
            *(Row(r.ours, f"encoder.{r.foreign}", r.transposed) for r in encoder),
            *(Row(r.ours, f"decoder.{r.foreign}", r.transposed) for r in decoder),
            Row(f"{head}/encoder_projection/kernel", "enc_to_dec_proj.weight", transposed=True),
            Row(f"{head}/encoder_projection/bias", "enc_to_dec_proj.bias"),
        )
    )


def scopes(names: Iterable[str] | Mapping[str, object]) -> set[str]:
    """Return the top-level parts of our tree that flat names belong to."""
    return {name.partition("/")[0] for name in names}
