"""Choosing and masking tokens, on the device, every step.

Sources: the ELECTRA paper, §2; google-research/electra, pretrain/pretrain_helpers.py.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


@struct.dataclass
class MaskedBatch:
    """The masks of a batch; ``slots`` is the largest number of tokens that a row can have masked.

    Attributes:
        positions: int32 ``[batch, slots]``, 0 in unused slots.
        ids: int32 ``[batch, slots]``, the original tokens there, 0 in unused slots.
        weights: float32 ``[batch, slots]``, 0 for unused slots; 1 for used ones, or where each row's rate is drawn the
            tokens that could be chosen by those that were.
        input_ids: int32 ``[batch, length]``, the rows with [MASK] at masked positions.
    """

    positions: Array
    ids: Array
    weights: Array
    input_ids: Array


def max_masked(mask_rate: float, length: int) -> int:
    """Return the slots a row needs: int((mask_rate + .005) x length), at least 1 and at most the length."""
    return min(length, max(1, int((mask_rate + 0.005) * length)))


def num_masked(real_tokens: Array, mask_rate: Array | float, slots: int) -> Array:
    """Return how many tokens of each row are chosen: max(1, min(slots, round_half_even(mask_rate x real tokens)))."""
    wanted = jnp.round(mask_rate * real_tokens.astype(jnp.float32)).astype(jnp.int32)
    return jnp.clip(wanted, 1, slots)


def draw_num_masked(rng: Array, eligible_tokens: Array, lowest: float, highest: float, length: int) -> Array:
    """Draw how many tokens of each row are chosen: max(1, min(slots, ceil(rate x eligible tokens))), the rate uniform.

    From 0 to 1 every number of tokens is equally likely, as in Hoogeboom et al. (2110.02037).

    Args:
        rng: A key.
        eligible_tokens: int ``[batch]``.
        lowest: The lowest rate.
        highest: The highest, which the slots are made for.
        length: Of the rows.
    """
    rate = jax.random.uniform(rng, eligible_tokens.shape, minval=lowest, maxval=highest)
    wanted = jnp.ceil(rate * eligible_tokens.astype(jnp.float32)).astype(jnp.int32)
    return jnp.clip(wanted, 1, max_masked(highest, length))


def choose_positions(
    rng: Array, eligible: Array, count: Array, *, slots: int, with_replacement: bool
) -> tuple[Array, Array]:
    """Draw the positions to predict, uniformly among the eligible ones.

    Args:
        rng: A key.
        eligible: bool ``[batch, length]``.
        count: int ``[batch]``, how many are drawn in each row, or all eligible ones where those are fewer.
        slots: The most that a row can have.
        with_replacement: The reference's way, in which a position can be drawn twice.

    Returns:
        Positions int32 ``[batch, slots]`` and weights float32 ``[batch, slots]``, 1 for used slots. A row with nothing
        eligible has weight 0 throughout.
    """
    batch = eligible.shape[0]
    if with_replacement:
        logits = jnp.where(eligible, 0.0, -jnp.inf)
        positions = jax.random.categorical(rng, logits, shape=(slots, batch)).T
        count = jnp.where(eligible.any(axis=1), count, 0)
    else:
        # The positions of the largest of independent uniforms are a uniform sample without replacement.
        scores = jnp.where(eligible, jax.random.uniform(rng, eligible.shape), -1.0)
        positions = jax.lax.top_k(scores, slots)[1]
        count = jnp.minimum(count, eligible.sum(axis=1))
    used = jnp.arange(slots) < count[:, None]
    return jnp.where(used, positions, 0).astype(jnp.int32), used.astype(jnp.float32)


def scatter(rows: Array, positions: Array, values: Array, weights: Array) -> Array:
    """Write ``values`` into ``rows`` at ``positions`` where the weight is not 0.

    Where a position comes twice (drawn with replacement, as the original does) the floor of the values' average is
    written, as in the original.

    Args:
        rows: int32 ``[batch, length]``.
        positions: int32 ``[batch, slots]``.
        values: int32 ``[batch, slots]``.
        weights: ``[batch, slots]``.

    Returns:
        int32 ``[batch, length]``.
    """
    used = (weights > 0).astype(jnp.int32)
    row = jnp.arange(rows.shape[0])[:, None]
    count = jnp.zeros_like(rows).at[row, positions].add(used)
    total = jnp.zeros_like(rows).at[row, positions].add(used * values)
    return jnp.where(count > 0, total // jnp.maximum(count, 1), rows)


def mask_tokens(
    input_ids: Array,
    positions: Array,
    weights: Array,
    keep_uniform: Array,
    *,
    mask_id: int,
    mask_token_probability: float,
) -> MaskedBatch:
    """Put [MASK] at the chosen positions, or keep the token with the remaining probability.

    Args:
        input_ids: int32 ``[batch, length]``.
        positions: int32 ``[batch, slots]``.
        weights: float32 ``[batch, slots]``, above 0 for used slots.
        keep_uniform: Uniform random numbers ``[batch, slots]``; below the probability means [MASK].
        mask_id: Id of [MASK].
        mask_token_probability: Probability of putting [MASK] there.
    """
    ids = jnp.take_along_axis(input_ids, positions, axis=1) * (weights > 0)
    becomes_mask = weights * (keep_uniform < mask_token_probability)
    masked = scatter(input_ids, positions, jnp.full_like(positions, mask_id), becomes_mask)
    return MaskedBatch(positions=positions, ids=ids, weights=weights, input_ids=masked)


def draw_masks(
    rng: Array,
    input_ids: Array,
    *,
    pad_id: int,
    ineligible_ids: tuple[int, ...],
    mask_id: int,
    mask_rate: Array | float,
    mask_token_probability: float,
    with_replacement: bool,
    mask_rate_high: float | None = None,
    slots: int | None = None,
) -> MaskedBatch:
    """Choose and mask the tokens of a batch.

    With ``mask_rate_high`` this is masked diffusion (Sahoo et al., 2406.07524): the rate is drawn for each row, and its
    tokens are weighted by 1/rate, the share of the eligible tokens that was really chosen. The weights of
    a row add up to the number of its eligible tokens, and the expected weighted mean of −log p is a bound on that of
    the text a token, where rates come from the whole of (0, 1] and all chosen tokens become [MASK].

    Args:
        rng: A key.
        input_ids: int32 ``[batch, length]``.
        pad_id: Id of padding.
        ineligible_ids: Special tokens, which are never chosen. [UNK] can be chosen.
        mask_id: Id of [MASK].
        mask_rate: Share of the real tokens that is chosen.
        mask_token_probability: Probability that a chosen token becomes [MASK] and is not kept.
        with_replacement: The reference's way, in which a position can be drawn twice.
        mask_rate_high: If given, each row has a rate of its own, uniform between ``mask_rate`` and this.
        slots: The most that a row can have; None: `max_masked` of the rate, which is a float then.
    """
    real = input_ids != pad_id
    eligible = real
    for special in ineligible_ids:
        eligible &= input_ids != special
    position_rng, keep_rng = jax.random.split(rng)
    length = input_ids.shape[1]
    if slots is None:
        slots = max_masked(mask_rate_high or float(mask_rate), length)
    if mask_rate_high is None:
        count = num_masked(real.sum(axis=1), mask_rate, slots)
    else:
        rate_rng = jax.random.fold_in(position_rng, 1)  # the other draws are what they are without
        lowest = float(mask_rate)
        count = draw_num_masked(rate_rng, eligible.sum(axis=1), lowest, mask_rate_high, length)
    positions, weights = choose_positions(
        position_rng,
        eligible,
        count,
        slots=slots,
        with_replacement=with_replacement,
    )
    if mask_rate_high is not None:
        chosen = weights.sum(axis=1, keepdims=True)
        weights *= eligible.sum(axis=1, keepdims=True) / jnp.maximum(chosen, 1.0)
    keep_uniform = jax.random.uniform(keep_rng, positions.shape)
    return mask_tokens(
        input_ids,
        positions,
        weights,
        keep_uniform,
        mask_id=mask_id,
        mask_token_probability=mask_token_probability,
    )
