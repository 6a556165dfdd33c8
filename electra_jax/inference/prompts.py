"""Zero-shot classification by prompts: what `Model.classify_zero_shot` does.

A prompt says of a text that it has a label, and the discriminator says how original the label looks there (Xia et al.,
"Prompting ELECTRA: Few-Shot Learning with Discriminative Pre-Trained Models", EMNLP 2022, §3).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from electra_jax.config.objectives import Objective
from electra_jax.errors import UserError, quoted
from electra_jax.inference.items import as_items, text_of
from electra_jax.inference.reviewing import room_of_training
from electra_jax.inference.words import tokens_of_words
from electra_jax.objectives.masked_lm import SpecialIds
from electra_jax.scoring.methods import usable_methods
from electra_jax.scoring.rtd import original_log_probs
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tokenizers import Tokenizer

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

_TEXT, _LABEL = "{text}", "{label}"
_PLACES = re.compile(f"({_TEXT}|{_LABEL})".replace("{", r"\{"))


@dataclass(frozen=True)
class _Prompt:
    """A prompt as a row.

    Attributes:
        ids: int32 ``[length]``, [CLS] tokens [SEP].
        label: columns of the label's tokens.
        is_cut: whether the text did not fit whole.
    """

    ids: np.ndarray
    label: Sequence[int]
    is_cut: bool


def classify_zero_shot(model: Model, texts: Any, labels: Sequence[str], template: str) -> Any:
    """Classify one text or many; see `Model.classify_zero_shot`.

    Raises:
        UserError: the model has no discriminator; labels or a template that do not fit; something that is not a text.
    """
    items, one = as_items(texts, "classify_zero_shot", "a text")
    checked = [text_of(text, f"classify_zero_shot: item {i}") for i, text in enumerate(items)]
    check_prompter(model.config.objective, model._params)
    labels = check_prompts(labels, template)
    check_labels_fit(model, labels, template)
    room = room_of_training(model)
    prompts = [
        [_prompt(model.tokenizer, template, text, label, room) for label in labels] for text in checked
    ]
    scores = iter(_label_scores(model, [prompt for some in prompts for prompt in some]))
    results = []
    for some in prompts:
        by_label = {label: next(scores) for label in labels}
        answer = {"label": max(by_label, key=lambda label: by_label[label]), "scores": by_label}
        results.append(answer | ({"truncated": True} if any(prompt.is_cut for prompt in some) else {}))
    return results[0] if one else results


def check_prompter(settings: Objective, parts: Collection[str] | None) -> None:
    """Refuse a model that has no discriminator.

    Args:
        settings: its section ``objective``.
        parts: top-level names of its parameters; None: not known yet, and taken to be all.

    Raises:
        UserError: it has none.
    """
    if "rtd" not in usable_methods(settings, parts):
        raise UserError(
            "zero-shot classification needs ELECTRA's discriminator with its head, which this model "
            f"({settings.kind}) does not have: use a pre-trained ELECTRA, not fine-tuned"
        )


def check_prompts(labels: Sequence[str], template: str) -> list[str]:
    """Return the labels, blanks around them taken away.

    Raises:
        UserError: they are fewer than two, one is empty or there twice; the template lacks its places.
    """
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"the labels are {labels!r}, but must be a list of texts")
    stripped = [label.strip() for label in labels]
    if len(stripped) < 2 or "" in stripped or len(set(stripped)) < len(stripped):
        raise UserError(
            f"the labels {quoted(labels)} must be two or more, all different and none of them empty"
        )
    if not isinstance(template, str) or any(template.count(place) != 1 for place in (_TEXT, _LABEL)):
        raise UserError(
            f"the template {template!r} must have {_TEXT} and {_LABEL} once each, as in '{_TEXT} It was {_LABEL}.'"
        )
    return stripped


def check_labels_fit(model: Model, labels: Sequence[str], template: str) -> None:
    """Refuse labels that the vocabulary does not have or does not tell apart, or that leave no room for a text.

    Raises:
        UserError: it says which.
    """
    tokenizer, room = model.tokenizer, room_of_training(model)
    seen: dict[tuple[int, ...], str] = {}
    for label in labels:
        prompt = _prompt(tokenizer, template, "", label, room)
        written = prompt.ids[list(prompt.label)]
        if not len(written) or tokenizer.unk_id in written:
            raise UserError(
                f"the label {label!r} has characters that the vocabulary does not: write it in other words"
            )
        if len(prompt.ids) - 2 >= room:
            raise UserError(
                f"the template with the label {label!r} has {len(prompt.ids) - 2} tokens, which leaves no room for a "
                f"text in the {room} that the model reads: shorten it"
            )
        same = seen.setdefault(tuple(prompt.ids), label)
        if same != label:
            raise UserError(
                f"the labels {same!r} and {label!r} are the same tokens to this model, so they cannot be told apart: "
                "leave one of them out"
            )


def _prompt(tokenizer: Tokenizer, template: str, text: str, label: str, room: int) -> _Prompt:
    """Return the template filled; of a text that does not fit, what is at its end is left out."""
    written, spans = "", {}
    for part in _PLACES.split(template):
        filled = {_TEXT: text, _LABEL: label}.get(part, part)
        spans[part] = len(written), len(written) + len(filled)
        written += filled
    encoding = tokenizer.encode_with_offsets(written)
    (of_label,) = tokens_of_words([spans[_LABEL]], encoding.offsets)
    first, last = spans[_TEXT]
    places = enumerate(encoding.offsets)
    of_text = [token for token, (begin, end) in places if first <= begin and end <= last]
    too_many = max(0, len(encoding.ids) - room)
    left_out = set(of_text[max(0, len(of_text) - too_many) :]) if too_many else set()
    kept = [token for token in range(len(encoding.ids)) if token not in left_out]
    ids = [tokenizer.cls_id, *(encoding.ids[token] for token in kept), tokenizer.sep_id]
    columns = [kept.index(token) + 1 for token in of_label]
    return _Prompt(np.array(ids, np.int32), columns, too_many > 0)


def _label_scores(model: Model, prompts: Sequence[_Prompt]) -> list[float]:
    """Return the mean of log(1 − p replaced) over the tokens of each prompt's label."""
    network: Any = model._network
    special = SpecialIds.of(model.tokenizer)

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        return {"score": original_log_probs(network, params, batch.inputs.input_ids, special)[0]}

    if not prompts:
        return []
    ids = [prompt.ids for prompt in prompts]
    rows = Rows(ids, [np.zeros_like(row) for row in ids], {}, np.arange(len(ids), dtype=np.int32))
    scores = model._run("prompts", outputs, rows)["score"].astype(np.float64)
    return [float(some[list(prompt.label)].mean()) for some, prompt in zip(scores, prompts, strict=True)]
