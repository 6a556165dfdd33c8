"""Every attention back end against plain attention; memory of the one that is linear in the length."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import small_config

from electra_jax.errors import UserError
from electra_jax.model.attention import attend
from electra_jax.model.attention_blocked import over_query_blocks
from electra_jax.model.attention_choice import choose_attention, settle_attention
from electra_jax.model.attention_cudnn import cudnn_attention
from electra_jax.model.attention_splash import splash_attention
from electra_jax.model.attention_xla import scaled_dot_product_attention

BACKENDS = {
    "blocked": lambda *args: attend("blocked", *args, rate=0.0, rng=None),
    "cudnn": partial(cudnn_attention, implementation="xla"),  # its mask and layout; the kernel needs a GPU
    "splash": partial(splash_attention, interpret=True),
}


def _arrays(length, heads=2, width=16):
    keys = jax.random.split(jax.random.key(0), 3)
    segments = np.zeros((2, length), np.int32)
    segments[0] = 1 + (np.arange(length) > length // 3)  # two documents, full
    segments[1, : length // 2] = 1  # one, and padding
    return [2 * jax.random.normal(key, (2, heads, length, width)) for key in keys], jnp.asarray(segments)


def _value_and_gradients(attention, arrays, segments, direction):
    """What real tokens get, and the gradients of a loss over them alone."""
    real = (segments != 0)[:, None, :, None]

    def loss(arrays):
        out = attention(*arrays, segments, direction)
        return jnp.sum(jnp.where(real, jnp.sin(out), 0.0)), out

    (_, out), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays)
    assert np.isfinite(out).all()  # padding too
    assert all(np.isfinite(g).all() for g in gradients)
    return np.where(real, out, 0.0), gradients


@pytest.mark.parametrize("direction", ["both", "left_to_right", "right_to_left"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_back_ends_agree_with_plain_attention(backend, direction):
    arrays, segments = _arrays(200)  # no multiple of any block
    plain = partial(attend, "xla", rate=0.0, rng=None)
    expected, expected_gradients = _value_and_gradients(plain, arrays, segments, direction)
    out, gradients = _value_and_gradients(BACKENDS[backend], arrays, segments, direction)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-5)
    # What stands at padding has no say: keys there have no gradient, and neither have queries.
    padding = np.asarray(segments == 0)
    for gradient in gradients:
        assert not np.asarray(gradient).swapaxes(1, 2)[padding].any()


def test_blocks_drop_out_at_the_rate_and_each_its_own():
    length = 256
    (query, key, _), _ = _arrays(length)
    segments = jnp.ones((2, length), jnp.int32)
    # Values that are the identity give the probabilities themselves; queries of zeros make them alike.
    value = jnp.broadcast_to(jnp.eye(length), (2, 2, length, length))
    out = attend("blocked", 0 * query, key, value, segments, "both", rate=0.25, rng=jax.random.key(1))
    out = np.asarray(out) * length
    np.testing.assert_allclose(np.unique(out.round(4)), [0.0, 1.3333], atol=1e-4)
    dropped = (out == 0).mean()
    assert dropped == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / out.size))
    first, second = out[:, :, :128] == 0, out[:, :, 128:] == 0
    assert (first & second).mean() == pytest.approx(0.0625, abs=0.005)


def _training_bytes(backend, length):
    shape = jax.ShapeDtypeStruct((1, 2, length, 8), jnp.float32)
    segments = jax.ShapeDtypeStruct((1, length), jnp.int32)

    def loss(query, key, value, segments, rng):
        return attend(backend, query, key, value, segments, "both", rate=0.1, rng=rng).sum()

    rng = jax.eval_shape(lambda: jax.random.key(0))
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(shape, shape, shape, segments, rng).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_blocks_grows_linearly_with_the_length():
    blocked = [_training_bytes("blocked", length) for length in (1024, 2048, 4096)]
    assert blocked[1] < 2.1 * blocked[0]
    assert blocked[2] < 2.1 * blocked[1]
    plain = [_training_bytes("xla", length) for length in (1024, 2048)]
    assert plain[1] > 3.5 * plain[0]  # the measure tells the two apart
    assert blocked[1] < plain[1] / 5


def test_gradients_of_keys_are_summed_over_the_blocks_in_float32():
    arrays, segments = _arrays(512)
    arrays = [x.astype(jnp.bfloat16) for x in arrays]

    def attend_block(query, key, value, mask, _):
        return scaled_dot_product_attention(query, key, value, mask, rate=0.0, rng=None)

    def loss(value):
        out = over_query_blocks(attend_block, *arrays[:2], value, segments, "both", block=8)
        return out.astype(jnp.float32).sum()

    whole = jax.grad(
        lambda v: (
            attend("xla", *arrays[:2], v, segments, "both", rate=0.0, rng=None).astype(jnp.float32).sum()
        )
    )(arrays[2])
    got = jax.grad(loss)(arrays[2])
    error = np.abs(np.asarray(got, np.float32) - np.asarray(whole, np.float32)).max()
    assert error <= 2**-7 * np.abs(np.asarray(whole, np.float32)).max()


NO_DROPOUT = {"model": {"attention_dropout": 0.0}}
BFLOAT16 = {"dtype": "bfloat16"}


def _choice(platform, **sections):
    return choose_attention(small_config(**sections), platform)


def test_auto_takes_the_fused_one_where_it_can():
    assert _choice("tpu", **NO_DROPOUT).backend == "splash"
    assert _choice("gpu", **NO_DROPOUT, compute=BFLOAT16).backend == "cudnn"
    assert _choice("cpu", **NO_DROPOUT).backend == "xla"
    long = {"data": {"sequence_length": 8192}, "model": {"max_positions": 8192}}
    assert _choice("cpu", **long).backend == "blocked"
    assert _choice("tpu", **long).backend == "blocked"


@pytest.mark.parametrize(
    ("platform", "length", "backend"),
    [
        ("tpu", 511, "xla"),
        ("tpu", 512, "blocked"),
        ("cpu", 1024, "xla"),
        ("cpu", 1025, "blocked"),
        ("gpu", 1024, "xla"),
    ],
)
def test_auto_takes_blocks_where_scores_of_whole_rows_cost_more(platform, length, backend):
    rows = {"data": {"sequence_length": length}, "model": {"max_positions": length}}
    assert _choice(platform, **rows).backend == backend


def test_auto_says_why_it_fell_back():
    assert _choice("tpu").line == (
        "warning: attention: xla instead of the faster splash, which has no dropout: set "
        "model.attention_dropout=0 (it is 0.1), or choose xla or blocked"
    )
    assert "bfloat16" in _choice("gpu", **NO_DROPOUT).line


@pytest.mark.parametrize(
    ("attention", "platform", "sections", "message"),
    [
        ("splash", "cpu", NO_DROPOUT, "needs a TPU, and the devices here are CPUs"),
        ("cudnn", "tpu", NO_DROPOUT, "needs a GPU, and the devices here are TPUs"),
        ("splash", "tpu", {}, "set model.attention_dropout=0"),
        ("cudnn", "gpu", NO_DROPOUT, "set compute.dtype=bfloat16"),
    ],
)
def test_a_back_end_that_cannot_is_refused(attention, platform, sections, message):
    config = small_config(**sections, compute={"attention": attention})
    with pytest.raises(UserError, match=message):
        settle_attention(config, platform)
