"""Writing encoders as a folder that the library sentence-transformers loads: vectors of texts, with none of our code.

The encoder lies in the folder as an `ElectraModel` or `ModernBertModel` of Hugging Face's transformers does, and
``modules.json`` says that a pooling follows it. The paths of the classes are those of version 2 on, which
later ones know.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from electra_jax.config.blocks import task_pooling
from electra_jax.config.ranking_task import RankingConfig
from electra_jax.convert.huggingface_writing import write_encoder
from electra_jax.convert.weights import FlatParams, Weights
from electra_jax.errors import UserError
from electra_jax.model.pooling import Pooling
from electra_jax.objectives.kinds import is_causal

_POOLING = "1_Pooling"
_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": _POOLING, "type": "sentence_transformers.models.Pooling"},
]


def write_sentence_transformers(
    weights: Weights, directory: Path, layer: int | None = None, pooling: Pooling | None = None
) -> list[str]:
    """Write the encoder, cut behind a layer, with its tokenizer and what is to be done with its states.

    Args:
        weights: of any model that has an encoder; its heads are left out.
        directory: that exists.
        layer: the last that is written; None: all are.
        pooling: "mean" or "first"; None: that of the bi-encoder that was trained, else the mean.

    Returns:
        What a user should know about the result.

    Raises:
        UserError: a causal language model; there is no such layer; no vocabulary; or the model's tasks differ in what
            stands for a text.
        OSError: the disk is full, or something else prevents writing.
    """
    if weights.tokenizer is None:
        raise UserError(
            "the model has no vocabulary, without which no text has a vector: give it with --vocab FILE"
        )
    if is_causal(weights.config.objective):
        raise UserError(
            "the model is a causal language model, whose tokens would see both sides there, as they never learned to: "
            "export an encoder"
        )
    vectors, similarity = _trained_for(weights, pooling)
    encoder = _first_layers(weights, layer)
    config = weights.config
    length = config.data.sequence_length if weights.tasks else config.model.max_positions
    notes = write_encoder(encoder, directory)
    first = vectors == "first"
    _write(directory / "modules.json", _MODULES)
    _write(directory / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
    _write(directory / "config_sentence_transformers.json", {"similarity_fn_name": similarity})
    (directory / _POOLING).mkdir()
    _write(
        directory / _POOLING / "config.json",
        {
            "word_embedding_dimension": config.model.hidden_size,
            "pooling_mode_cls_token": first,
            "pooling_mode_mean_tokens": not first,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    return notes


def _trained_for(weights: Weights, pooling: Pooling | None) -> tuple[Pooling, Literal["cosine", "dot"]]:
    """Return what stands for a text, and how two vectors are compared, as the model's bi-encoders have it.

    Raises:
        UserError: they differ.
    """
    tasks: Mapping[str, Any] = weights.config.finetune.tasks
    found = {
        name: (pooling or task_pooling(task, weights.config.model), task.similarity)
        for name, task in tasks.items()
        if name in weights.tasks and isinstance(task, RankingConfig) and task.encoder == "bi"
    }
    if len(set(found.values())) > 1:
        raise UserError(
            f"the rankers {', '.join(found)} differ in their pooling or similarity, and one folder has one of each: "
            "train them apart"
        )
    return next(iter(found.values()), (pooling or "mean", "cosine"))


def _first_layers(weights: Weights, layer: int | None) -> Weights:
    """Return embeddings and encoder alone, of whose layers the first.

    Raises:
        UserError: the encoder has no such layer.
    """
    depth = weights.config.model.num_layers
    layer = depth if layer is None else layer
    if not 1 <= layer <= depth:
        raise UserError(f"--layer is {layer}, but must be from 1 to {depth}, the last layer of the encoder")

    def is_kept(name: str) -> bool:
        scope, _, rest = name.partition("/")
        if scope != "encoder" or not rest.startswith("layers/"):
            return scope in ("embeddings", "encoder")
        return int(rest.split("/")[1]) < layer

    kept: FlatParams = {name: array for name, array in weights.parameters.items() if is_kept(name)}
    model = weights.config.model.model_copy(update={"num_layers": layer})
    config = weights.config.model_copy(update={"model": model})
    return replace(weights, config=config, parameters=kept, tasks={})


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
