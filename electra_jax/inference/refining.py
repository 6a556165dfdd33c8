"""Gaps filled and drafts rewritten by a generator and its discriminator: what `Model.refine` does."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from electra_jax.config.generation import GenerationConfig, RefineConfig
from electra_jax.config.loading import validate
from electra_jax.errors import UserError
from electra_jax.generation.buckets import sizes
from electra_jax.generation.decode import row_keys
from electra_jax.generation.refine import Gaps, refine
from electra_jax.inference.gaps import encode_gaps, has_gap, replace_tokens
from electra_jax.inference.items import as_items, text_of
from electra_jax.model.sizes import round_up
from electra_jax.objectives.kinds import abilities
from electra_jax.objectives.sampling import sample_by_inverse_cdf
from electra_jax.tasks.protocol import Rows, TaskBatch
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.protocol import Encoding
from electra_jax.tokenizers.text_ids import whole_text_ids

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Logits of a batch, for each accelerator or for all CPU devices together: 128 MB.
_MAX_LOGITS = 1 << 25
_NEVER = -1e9


@dataclass(frozen=True)
class RefinedToken:
    """A token of a refined text.

    Attributes:
        text: as the vocabulary spells it.
        replaced: the discriminator's last probability that it was replaced.
        written: whether the generator wrote it; else it stands as it was given.
    """

    text: str
    replaced: float
    written: bool


@dataclass(frozen=True)
class Refinement:
    """A refined text.

    Attributes:
        text: what was given, with the tokens that were written in it.
        tokens: those of the text as the discriminator read it.
        trace: the mean of log(1 − p replaced) over its tokens, of a draft as it was given, then after each pass.
    """

    text: str
    tokens: list[RefinedToken]
    trace: list[float]


@dataclass(frozen=True)
class GappedRows:
    """Rows of tokens, and where they may change.

    Attributes:
        ids: of each, int32 ``[length]``: [CLS] tokens [SEP], [MASK] at gaps.
        may_change: of each, bool ``[length]``.
        numbers: int32 ``[rows]``, each row's own, on which its random numbers depend.
    """

    ids: Sequence[np.ndarray]
    may_change: Sequence[np.ndarray]
    numbers: np.ndarray

    def take(self, which: Sequence[int]) -> GappedRows:
        """Return some of the rows."""
        return GappedRows(
            [self.ids[i] for i in which], [self.may_change[i] for i in which], self.numbers[list(which)]
        )


@dataclass(frozen=True)
class RefinedRow:
    """What became of a row.

    Attributes:
        ids: int32 ``[length]``.
        replaced: float32 ``[length]``, the critic's last p(replaced).
        trace: the mean of log(1 − p) at each look.
    """

    ids: np.ndarray
    replaced: np.ndarray
    trace: np.ndarray


def refine_texts(
    model: Model,
    texts: Any,
    draft: bool,
    settings: Mapping[str, Any],
    cut: list[bool] | None,
    numbers: Sequence[int] | None = None,
) -> Any:
    """Refine one text or many; see `Model.refine`.

    Args:
        model: the model.
        texts: a list of texts, or one.
        draft: whether a text without a gap may be rewritten anywhere.
        settings: keys of ``generation.refine``, and ``seed``.
        cut: if given, whether each text was cut is appended, and there is no warning.
        numbers: of each text, on which its random numbers depend; None: from 0 on.

    Raises:
        UserError: the model is no pair; a text has no gap and is no draft; a setting that does not fit.
    """
    items, one = as_items(texts, "refine", "a text")
    checked = [text_of(text, f"refine: item {i}") for i, text in enumerate(items)]
    check_is_pair(model)
    config = refine_settings(model, settings)
    for number, text in enumerate(checked):
        if not draft and not has_gap(text):
            raise UserError(
                f"refine: item {number} has no gap: write [MASK] or ___ where tokens are to be found, or say "
                "draft=True, so that it may be rewritten anywhere"
            )
    tokenizer, room = model.tokenizer, model.max_length - 2
    encodings = [encode_gaps(tokenizer, text) for text in checked]
    rows = GappedRows(
        [np.array([tokenizer.cls_id, *e.ids[:room], tokenizer.sep_id], np.int32) for e in encodings],
        [np.array([False, *_may_change(tokenizer, e)[:room], False]) for e in encodings],
        np.array(range(len(encodings)) if numbers is None else numbers, np.int32),
    )
    _say_what_is_cut([len(encoding.ids) > room for encoding in encodings], room, cut)
    # Where all gaps are behind the model's length nothing may change, and the text is judged as a draft is.
    is_draft = [tokenizer.mask_id not in ids for ids in rows.ids]
    refined: list[RefinedRow | None] = [None] * len(checked)
    for drafts in (False, True):
        which = [number for number, its in enumerate(is_draft) if its == drafts]
        found = refine_rows(model, rows.take(which), config.refine, seed=config.seed, draft=drafts)
        for number, row in zip(which, found, strict=True):
            refined[number] = row
    results = [
        _refinement(tokenizer, text, encoding, ids, row)
        for text, encoding, ids, row in zip(checked, encodings, rows.ids, refined, strict=True)
        if row is not None
    ]
    return results[0] if one else results


def check_is_pair(model: Model) -> None:
    """Refuse a model that is not a generator with its discriminator.

    Raises:
        UserError: it says which of them is missing.
    """
    wanted = {"generator": "generator_head", "discriminator": "discriminator_head"}
    missing = [name for name, head in wanted.items() if head not in model._params]
    if "refine" not in abilities(model.config.objective) or missing:
        lacks = f"has no {' and no '.join(missing)}" if missing else "has a generator of another kind"
        raise UserError(
            f"refine needs ELECTRA's generator and discriminator, and this model ({model.config.kind_of_run}) "
            f"{lacks}: use a pre-trained pair (electra_jax.convert --generator joins released ones)"
        )


def refine_settings(model: Model, settings: Mapping[str, Any]) -> GenerationConfig:
    """Return the section ``generation`` of a model with these keys of ``generation.refine``, and ``seed``, over it.

    Raises:
        UserError: an unknown key, or a value that does not fit.
    """
    values = model.config.model_dump(exclude_unset=True)
    section = dict(values.get("generation", {}))
    given = dict(settings)
    if "seed" in given:
        section["seed"] = given.pop("seed")
    section["refine"] = {**section.get("refine", {}), **given}
    return validate({**values, "generation": section}, "refine").generation


def refine_rows(
    model: Model, rows: GappedRows, settings: RefineConfig, *, seed: int, draft: bool
) -> list[RefinedRow]:
    """Refine rows of tokens, in batches of like length and like number of tokens that may change.

    Args:
        model: a pair.
        rows: the rows.
        settings: how they are refined.
        seed: of all that is drawn.
        draft: whether they have no gaps, and what looks wrong is rewritten.
    """
    results: list[RefinedRow | None] = [None] * len(rows.ids)
    most = sizes(model.max_length, first=8, multiple=8, growth=2.0)
    slots = np.array([most[np.searchsorted(most, some.sum())] for some in rows.may_change], np.int64)
    for number in np.unique(slots):
        which = np.flatnonzero(slots == number)
        some = rows.take([int(i) for i in which])
        found = _run(model, some, settings, seed, draft, int(number))
        for place, row in enumerate(which):
            length, passes = len(some.ids[place]), found["passes"][place]
            results[row] = RefinedRow(
                found["ids"][place, :length],
                found["replaced"][place, :length],
                found["trace"][place, : passes + draft],
            )
    return [row for row in results if row is not None]


def _run(
    model: Model, rows: GappedRows, settings: RefineConfig, seed: int, draft: bool, slots: int
) -> dict[str, np.ndarray]:
    keys = row_keys(jnp.int32(seed), jnp.asarray(rows.numbers), jnp.zeros(len(rows.ids), jnp.int32))
    targets: dict[str, np.ndarray | Sequence[np.ndarray]] = {
        "may_change": [some.astype(np.int32) for some in rows.may_change],
        "key": np.asarray(jax.random.key_data(keys)),
    }
    logits_per_row = slots * round_up(model.tokenizer.vocab_size, model.config.model.vocab_multiple)
    return model._run(
        f"refine {slots} {draft} {settings!r}",
        _outputs(model, settings, draft, slots),
        Rows(
            rows.ids,
            [np.zeros_like(row) for row in rows.ids],
            targets,
            np.arange(len(rows.ids), dtype=np.int32),
        ),
        most_rows=_MAX_LOGITS // logits_per_row,
    )


def _outputs(
    model: Model, settings: RefineConfig, draft: bool, slots: int
) -> Callable[[Any, TaskBatch], dict[str, Array]]:
    tokenizer, network = model.tokenizer, model._network
    never = jnp.asarray(_never_written(tokenizer))

    def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
        pair = {"params": {name: tree for name, tree in params.items() if name != "heads"}}
        inputs = batch.inputs

        def propose(ids: Array, positions: Array) -> Array:
            rows = replace(inputs, input_ids=ids)
            logits: Any = network.apply(pair, rows, positions, None, method="generate")
            return logits.at[..., never].set(_NEVER)

        def judge(ids: Array) -> Array:
            logits: Any = network.apply(pair, replace(inputs, input_ids=ids), None, method="discriminate")
            return logits

        may_change = batch.targets["may_change"] == 1
        ids = inputs.input_ids
        special = (ids == tokenizer.cls_id) | (ids == tokenizer.sep_id)
        gaps = Gaps(
            ids=ids,
            text=(inputs.segment_ids != 0) & ~special,
            positions=jnp.argsort(~may_change, axis=1, stable=True)[:, :slots].astype(jnp.int32),
            usable=jnp.arange(min(slots, ids.shape[1])) < may_change.sum(axis=1, keepdims=True),
            keys=jax.random.wrap_key_data(batch.targets["key"]),
        )
        found = refine(
            gaps, propose, judge, sample_by_inverse_cdf, settings, mask_id=tokenizer.mask_id, draft=draft
        )
        return {
            "ids": found.ids,
            "replaced": found.replaced,
            "trace": found.trace,
            "passes": found.passes,
        }

    return outputs


def _never_written(tokenizer: Tokenizer) -> np.ndarray:
    """Return the ids that are no text by themselves, int32: of SentencePiece the bare blank is none, either."""
    bare = [tokenizer.token(id) == "\u2581" for id in range(tokenizer.vocab_size)]
    return np.flatnonzero(~whole_text_ids(tokenizer) | bare).astype(np.int32)


def _may_change(tokenizer: Tokenizer, encoding: Encoding) -> list[bool]:
    """Return which tokens of a text may change: its gaps; where it has none, all with characters of their own."""
    if tokenizer.mask_id in encoding.ids:
        return [id == tokenizer.mask_id for id in encoding.ids]
    shared = Counter(encoding.offsets)
    return [
        id != tokenizer.unk_id and begin < end and shared[begin, end] == 1
        for id, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True)
    ]


def _say_what_is_cut(is_cut: list[bool], room: int, cut: list[bool] | None) -> None:
    if cut is not None:
        cut += is_cut
    elif any(is_cut):
        warnings.warn(
            f"{sum(is_cut):,} of {len(is_cut):,} texts have more than {room} tokens: what is behind these was left "
            "as it is",
            stacklevel=4,
        )


def _refinement(
    tokenizer: Tokenizer, text: str, encoding: Encoding, before: np.ndarray, row: RefinedRow
) -> Refinement:
    changed = before != row.ids
    places = np.flatnonzero(changed) - 1  # [CLS] is no part of the text
    spans = [encoding.offsets[place] for place in places]
    return Refinement(
        text=replace_tokens(tokenizer, text, spans, [int(id) for id in row.ids[changed]]),
        tokens=[
            RefinedToken(tokenizer.token(int(row.ids[i])), float(row.replaced[i]), bool(changed[i]))
            for i in range(1, len(row.ids) - 1)
        ],
        trace=[float(value) for value in row.trace],
    )
