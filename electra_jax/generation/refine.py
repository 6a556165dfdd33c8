"""Writing by turns: a generator proposes tokens at gaps, a critic says which look wrong, the worst are masked again.

The loop is that of Mask-Predict (Ghazvininejad et al., 1904.09324, §3); that a second network decides what is masked
again is Token-Critic's idea (Lezama et al., 2209.04439), for which ELECTRA's discriminator was trained from the start.
Nothing here knows networks: both are functions of arrays.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from electra_jax.config.generation import RefineConfig

# (ids int32 [rows, length], positions int32 [rows, slots]) → float32 logits [rows, slots, vocab]
Propose = Callable[[Array, Array], Array]
# ids int32 [rows, length] → float32 logits [rows, length]; above 0 says 'replaced'
Judge = Callable[[Array], Array]
# (logits [rows, slots, vocab], uniform numbers [rows, slots, 2]) → int32 [rows, slots], drawn from softmax(logits)
Draw = Callable[[Array, Array], Array]

# p(replaced) above which a token of a draft is written again, where the settings leave it open.
DRAFT_THRESHOLD = 0.5


@struct.dataclass
class Gaps:
    """Rows, and where in them tokens may change; every leaf has the rows first.

    Attributes:
        ids: int32 ``[rows, length]``, [MASK] where a token is missing.
        text: bool ``[rows, length]``, tokens of text: neither special tokens nor padding.
        positions: int32 ``[rows, slots]``, increasing: where tokens may change.
        usable: bool ``[rows, slots]``, which slots are used; all others are ignored.
        keys: keys ``[rows]``, each row's own, so that what is drawn does not depend on its batch.
    """

    ids: Array
    text: Array
    positions: Array
    usable: Array
    keys: Array


@struct.dataclass
class Refined:
    """What became of them.

    Attributes:
        ids: int32 ``[rows, length]``.
        replaced: float32 ``[rows, length]``, the critic's last p(replaced); 0 where there is no text.
        trace: float32 ``[rows, looks + steps]``, the mean of log(1 − p(replaced)) over the text, of a draft before
            anything is changed (a look), then after each pass; entries behind the row's last pass are 0.
        passes: int32 ``[rows]``, in how many of them something was written.
    """

    ids: Array
    replaced: Array
    trace: Array
    passes: Array


@struct.dataclass
class _State:
    step: Array
    ids: Array
    masked: Array  # bool [rows, slots], to be written in this pass
    confidence: Array  # float32 [rows, slots], the generator's log p of the token there
    doubt: Array  # float32 [rows, length], the critic's logits
    trace: Array
    passes: Array


def num_masked_again(budget: Array, done: Array, steps: int, schedule: Literal["linear", "cosine"]) -> Array:
    """Return how many tokens are masked again after ``done`` of ``steps`` passes, int32, rounded up; 0 at the end.

    Args:
        budget: int ``[rows]``, how many were masked at the start.
        done: int scalar.
        steps: Passes in all.
        schedule: linear: budget · (1 − done/steps); cosine: budget · cos(π/2 · done/steps).
    """
    share = done.astype(jnp.float32) / steps
    left = 1.0 - share if schedule == "linear" else jnp.cos(0.5 * jnp.pi * share)
    # Ten thousandths are rounding: 10 · (1 − 0.7) is three, not four.
    return jnp.ceil(budget * left - 1e-4).astype(jnp.int32)


def refine(
    gaps: Gaps,
    propose: Propose,
    judge: Judge,
    draw: Draw,
    settings: RefineConfig,
    *,
    mask_id: int,
    draft: bool,
) -> Refined:
    """Fill gaps, or rewrite what looks wrong in a draft.

    In each pass the generator writes a token at every [MASK], and the critic judges the whole text. Then the
    ``num_masked_again`` worst of all tokens that may change are masked again; with ``keep="discriminator"`` only those
    of them that are doubted: of which the critic's p(replaced) is above the threshold. A row is finished when
    none is, or after ``settings.steps`` passes. A draft is judged first, and what is doubted in it is masked.

    Trace it under jit. Rows do not influence each other.

    Args:
        gaps: The rows.
        propose: The generator.
        judge: The critic.
        draw: How a token is drawn.
        settings: How many passes, what is kept, how tokens are drawn; ``keep="confidence"`` is Mask-Predict.
        mask_id: Id of [MASK].
        draft: Whether the rows are drafts without gaps.
    """
    steps, keep, temperature = settings.steps, settings.keep, settings.temperature
    threshold = settings.threshold
    if threshold is None:
        threshold = DRAFT_THRESHOLD if draft else 0.0
    rows = jnp.arange(gaps.ids.shape[0])[:, None]
    length = gaps.ids.shape[1]
    text = gaps.text.astype(jnp.float32)

    def write(ids: Array, tokens: Array, where: Array) -> Array:
        """Write ``tokens [rows, slots]`` at the slots' positions, where ``where``."""
        return ids.at[rows, jnp.where(where, gaps.positions, length)].set(tokens, mode="drop")

    def at_slots(values: Array) -> Array:
        return jnp.take_along_axis(values, gaps.positions, axis=1)

    def score(doubt: Array) -> Array:
        # log(1 − sigmoid(x)) = −softplus(x)
        return -(jax.nn.softplus(doubt) * text).sum(axis=1) / jnp.maximum(text.sum(axis=1), 1.0)

    def doubted(doubt: Array) -> Array:
        return gaps.usable & (jax.nn.sigmoid(at_slots(doubt)) > threshold)

    def worst(state: _State, again: Array) -> Array:
        """Return which tokens are masked again, bool ``[rows, slots]``."""
        if keep == "discriminator":
            badness = at_slots(state.doubt)
        elif keep == "confidence":
            badness = -state.confidence
        else:
            badness = _uniforms(gaps, state.step)[..., 2]
        badness = jnp.where(gaps.usable, badness, -jnp.inf)
        rank = jnp.argsort(jnp.argsort(-badness, axis=1, stable=True), axis=1)
        chosen = gaps.usable & (rank < again[:, None])
        is_doubted = doubted(state.doubt)
        return chosen & (is_doubted if keep == "discriminator" else is_doubted.any(axis=1, keepdims=True))

    def one_pass(state: _State) -> _State:
        masked = state.masked
        active = masked.any(axis=1)
        logits = propose(write(state.ids, jnp.full_like(gaps.positions, mask_id), masked), gaps.positions)
        if temperature == 0.0:
            tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        else:
            tokens = draw(logits / temperature, _uniforms(gaps, state.step)[..., :2])
        picked = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
        confidence = picked - jax.nn.logsumexp(logits, axis=-1)
        ids = write(state.ids, tokens, masked)
        # The critic's word on a finished row stays as it was, to the last bit.
        doubt = jnp.where(active[:, None], judge(ids), state.doubt)
        state = replace(
            state,
            step=state.step + 1,
            ids=ids,
            confidence=jnp.where(masked, confidence, state.confidence),
            doubt=doubt,
            trace=state.trace.at[:, state.step + looks].set(jnp.where(active, score(doubt), 0.0)),
            passes=state.passes + active,
        )
        again = num_masked_again(budget, state.step, steps, settings.schedule)
        return replace(state, masked=worst(state, again) & active[:, None])

    masked = gaps.usable & (at_slots(gaps.ids) == mask_id)
    looks = int(draft)
    doubt = jnp.zeros(gaps.ids.shape, jnp.float32)
    trace = jnp.zeros((gaps.ids.shape[0], looks + steps), jnp.float32)
    confidence = jnp.zeros(gaps.positions.shape, jnp.float32)
    if draft:
        doubt = judge(gaps.ids)
        trace = trace.at[:, 0].set(score(doubt))
        masked = doubted(doubt)
        if keep == "confidence":
            logits = propose(gaps.ids, gaps.positions)
            own = jnp.take_along_axis(logits, at_slots(gaps.ids)[..., None], axis=-1)[..., 0]
            confidence = own - jax.nn.logsumexp(logits, axis=-1)
    budget = masked.sum(axis=1)
    state = lax.while_loop(
        lambda state: (state.step < steps) & state.masked.any(),
        one_pass,
        _State(
            step=jnp.zeros((), jnp.int32),
            ids=gaps.ids,
            masked=masked,
            confidence=confidence,
            doubt=doubt,
            trace=trace,
            passes=jnp.zeros(gaps.ids.shape[0], jnp.int32),
        ),
    )
    replaced = jnp.where(gaps.text, jax.nn.sigmoid(state.doubt), 0.0)
    return Refined(ids=state.ids, replaced=replaced, trace=state.trace, passes=state.passes)


def _uniforms(gaps: Gaps, step: Array) -> Array:
    """Return the random numbers of a pass, ``[rows, slots, 3]`` in [0, 1): two to draw a token, one to keep it.

    They are those of the row's own key and of the position, so that length and number of slots make no difference.
    """

    def of_row(key: Array, positions: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(key, step), (gaps.ids.shape[1], 3))[positions]

    return jax.vmap(of_row)(gaps.keys, gaps.positions)
