"""Every attention back end against plain attention; memory of the one that is linear in the length."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import small_config

from electra_jax.config.loading import load_config
from electra_jax.errors import UserError
from electra_jax.model.attention.attend import attend
from electra_jax.model.attention.blocked import over_query_blocks
from electra_jax.model.attention.choice import choose_attention
from electra_jax.model.attention.cudnn import cudnn_attention
from electra_jax.model.attention.mask import AttentionMask
from electra_jax.model.attention.plain import plain_attention
from electra_jax.model.attention.splash import splash_attention
from electra_jax.model.network_config import network_config
from electra_jax.planning.products import product_flops

BACKENDS = {
    "blocked": lambda *args: attend("blocked", *args, rate=0.0, rng=None),
    "cudnn": partial(cudnn_attention, implementation="xla"),  # its mask and layout; the kernel needs a GPU
    "splash": partial(splash_attention, interpret=True),
}


def _arrays(queries, keys=None, heads=2, width=16):
    rngs = jax.random.split(jax.random.key(0), 3)
    lengths = (queries, keys or queries, keys or queries)
    return [2 * jax.random.normal(key, (2, heads, n, width)) for key, n in zip(rngs, lengths, strict=True)]


def _documents(length):
    segments = np.zeros((2, length), np.int32)
    segments[0] = 1 + (np.arange(length) > length // 3)  # two documents, full
    segments[1, : length // 2] = 1  # one, and padding
    return jnp.asarray(segments)


def _masks():
    """Masks by name: what self-attention, a window, a cache and an encoder's states ask for."""
    same = _documents(200)  # no multiple of any block
    directions = ("both", "left_to_right", "right_to_left")
    masks = {direction: AttentionMask.within(same, direction) for direction in directions}
    masks |= {
        f"{direction}, window {window}": AttentionMask.within(same, direction, window)
        for direction, window in (("both", 3), ("left_to_right", 70), ("right_to_left", 0))
    }
    few = _documents(130)[:, :40]
    masks["cross"] = AttentionMask(few, _documents(130))
    masks["continued"] = AttentionMask(same[:, 120:130], same, first_query=120, direction="left_to_right")
    return masks


def _everywhere(mask):
    """The mask of the class's docstring, one query and key after the other; bool ``[batch, queries, keys]``."""
    queries, keys = np.asarray(mask.query_segments), np.asarray(mask.key_segments)
    allowed = np.zeros((*queries.shape, keys.shape[1]), bool)
    for row, i, j in np.ndindex(allowed.shape):
        place = np.broadcast_to(mask.first_query, len(queries))[row] + i
        seen = keys[row, j] != 0 and queries[row, i] in (0, keys[row, j])
        seen &= mask.direction != "left_to_right" or j <= place
        seen &= mask.direction != "right_to_left" or j >= place
        allowed[row, i, j] = seen and (mask.window is None or abs(j - place) <= mask.window)
    return allowed


def _value_and_gradients(attention, arrays, mask):
    """What real queries that see a key get, and the gradients of a loss over them alone."""
    used = ((mask.query_segments != 0) & mask.allowed()[:, 0].any(axis=-1))[:, None, :, None]

    def loss(arrays):
        out = attention(*arrays, mask)
        return jnp.sum(jnp.where(used, jnp.sin(out), 0.0)), out

    (_, out), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays)
    assert np.isfinite(out).all()  # padding too
    assert all(np.isfinite(g).all() for g in gradients)
    return np.where(used, out, 0.0), gradients


@pytest.mark.parametrize("name", _masks())
def test_a_mask_is_what_it_says(name):
    mask = _masks()[name]
    np.testing.assert_array_equal(mask.allowed()[:, 0], _everywhere(mask))


def test_rows_may_continue_at_columns_of_their_own():
    segments = jnp.asarray([[1, 1, 1, 0], [1, 1, 1, 1]])
    mask = AttentionMask(
        segments[:, :1], segments, first_query=jnp.asarray([2, 3]), direction="left_to_right"
    )
    np.testing.assert_array_equal(mask.allowed()[:, 0, 0], [[True, True, True, False], [True] * 4])
    np.testing.assert_array_equal(mask.allowed()[:, 0], _everywhere(mask))


@pytest.mark.parametrize("name", _masks())
@pytest.mark.parametrize("backend", BACKENDS)
def test_back_ends_agree_with_plain_attention(backend, name):
    mask = _masks()[name]
    arrays = _arrays(mask.query_segments.shape[1], mask.key_segments.shape[1])
    plain = partial(attend, "xla", rate=0.0, rng=None)
    expected, expected_gradients = _value_and_gradients(plain, arrays, mask)
    out, gradients = _value_and_gradients(BACKENDS[backend], arrays, mask)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-5)
    # What stands at padding has no say: keys there have no gradient, and neither have queries.
    of_queries, *of_keys = (np.asarray(gradient).swapaxes(1, 2) for gradient in gradients)
    assert not of_queries[np.asarray(mask.query_segments == 0)].any()
    for gradient in of_keys:
        assert not gradient[np.asarray(mask.key_segments == 0)].any()


@pytest.mark.parametrize("backend", ["blocked", "cudnn"])
def test_rows_that_continue_at_columns_of_their_own_agree(backend):
    segments = _documents(200)
    first = jnp.asarray([120, 60])
    mask = AttentionMask(jnp.full((2, 8), 1), segments, first_query=first, direction="left_to_right")
    arrays = _arrays(8, 200)
    expected, expected_gradients = _value_and_gradients(
        partial(attend, "xla", rate=0.0, rng=None), arrays, mask
    )
    out, gradients = _value_and_gradients(BACKENDS[backend], arrays, mask)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-5)
    with pytest.raises(ValueError, match="one first_query for all rows"):
        splash_attention(*arrays, mask, interpret=True)


@pytest.mark.parametrize("direction", ["both", "left_to_right", "right_to_left"])
@pytest.mark.parametrize("window", [5, 24])
def test_blocks_that_read_near_keys_alone_agree(window, direction):
    """Windows smaller and larger than a block, in rows that are no multiple of one."""
    mask, arrays = AttentionMask.within(_documents(90), direction, window), _arrays(90)
    widths = set()

    def attend_block(query, key, value, allowed, _):
        widths.add(key.shape[2])
        return plain_attention(query, key, value, allowed, rate=0.0, rng=None)

    blocks = partial(over_query_blocks, attend_block, block=16)
    expected, expected_gradients = _value_and_gradients(
        partial(attend, "xla", rate=0.0, rng=None), arrays, mask
    )
    out, gradients = _value_and_gradients(blocks, arrays, mask)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-5)
    reach = window + window % 2
    assert widths == {max(16, reach) + reach * (2 if direction == "both" else 1)}


def test_products_and_memory_of_a_window_grow_linearly_with_the_length():
    def jaxpr(length):
        shape = jax.ShapeDtypeStruct((1, 2, length, 8), jnp.float32)
        mask = AttentionMask.within(jnp.ones((1, length), jnp.int32), window=64)
        attention = partial(attend, "blocked", rate=0.0, rng=None)
        return jax.make_jaxpr(lambda q, k, v: attention(q, k, v, mask))(shape, shape, shape).jaxpr

    keys = 128 + 2 * 64  # of a block of 128 queries
    assert [product_flops(jaxpr(length)) for length in (1024, 4096)] == [
        2 * 2 * 2 * length * keys * 8 for length in (1024, 4096)
    ]
    windowed = [_training_bytes("blocked", length, window=64) for length in (1024, 2048)]
    assert windowed[1] < 2.1 * windowed[0]
    assert windowed[1] < _training_bytes("blocked", 2048)


def test_blocks_drop_out_at_the_rate_and_each_its_own():
    length = 256
    query, key, _ = _arrays(length)
    mask = AttentionMask.within(jnp.ones((2, length), jnp.int32))
    # Values that are the identity give the probabilities themselves; queries of zeros make them alike.
    value = jnp.broadcast_to(jnp.eye(length), (2, 2, length, length))
    out = attend("blocked", 0 * query, key, value, mask, rate=0.25, rng=jax.random.key(1))
    out = np.asarray(out) * length
    np.testing.assert_allclose(np.unique(out.round(4)), [0.0, 1.3333], atol=1e-4)
    dropped = (out == 0).mean()
    assert dropped == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / out.size))
    first, second = out[:, :, :128] == 0, out[:, :, 128:] == 0
    assert (first & second).mean() == pytest.approx(0.0625, abs=0.005)


def _training_bytes(backend, length, window=None):
    shape = jax.ShapeDtypeStruct((1, 2, length, 8), jnp.float32)
    segments = jax.ShapeDtypeStruct((1, length), jnp.int32)

    def loss(query, key, value, segments, rng):
        mask = AttentionMask.within(segments, window=window)
        return attend(backend, query, key, value, mask, rate=0.1, rng=rng).sum()

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
    arrays, mask = _arrays(512), AttentionMask.within(_documents(512))
    arrays = [x.astype(jnp.bfloat16) for x in arrays]

    def attend_block(query, key, value, allowed, _):
        return plain_attention(query, key, value, allowed, rate=0.0, rng=None)

    def loss(value):
        out = over_query_blocks(attend_block, *arrays[:2], value, mask, block=8)
        return out.astype(jnp.float32).sum()

    def plain(value):
        return attend("xla", *arrays[:2], value, mask, rate=0.0, rng=None).astype(jnp.float32).sum()

    whole = jax.grad(plain)(arrays[2])
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


@pytest.mark.parametrize(("length", "computed"), [(64, 1), (1024, 1), (1026, 2)])
def test_fused_attention_of_one_block_computes_nothing_twice(length, computed):
    segments = jnp.ones((1, length), jnp.int32)

    def loss(query):
        attention = partial(cudnn_attention, implementation="xla")
        return attention(query, query, query, AttentionMask(segments, segments)).sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((1, 1, length, 8), jnp.bfloat16)))
    assert text.count(" = exp ") == computed  # of the softmax


def test_rows_of_one_block_are_computed_whole():
    query = jnp.ones((1, 2, 40, 8))
    mask = AttentionMask(jnp.ones((1, 40), jnp.int32), jnp.ones((1, 40), jnp.int32))

    def primitives(length):
        rows = [jnp.ones((1, 2, length, 8))] * 3
        segments = jnp.ones((1, length), jnp.int32)
        attention = partial(attend, "blocked", rate=0.0, rng=None)
        jaxpr = jax.make_jaxpr(lambda *arrays: attention(*arrays, AttentionMask(segments, segments)))(*rows)
        return [equation.primitive.name for equation in jaxpr.eqns]

    assert "scan" not in primitives(128)
    assert "scan" in primitives(129)
    blocked = attend("blocked", query, query, query, mask, rate=0.0, rng=None)
    np.testing.assert_array_equal(blocked, attend("xla", query, query, query, mask, rate=0.0, rng=None))


def test_auto_says_why_it_fell_back():
    assert _choice("tpu").line == (
        "warning: attention: xla instead of the faster splash, which has no dropout: set "
        "model.attention_dropout=0 (it is 0.1), or choose xla or blocked"
    )
    assert "bfloat16" in _choice("gpu", **NO_DROPOUT).line


def test_fused_attention_needs_even_buckets_of_fine_tuning():
    def choice(*buckets):
        settings = ("model.attention_dropout=0", "compute.dtype=bfloat16", "finetune.tasks.mrpc.data=a")
        config = load_config("finetune/mrpc", [*settings, f"finetune.length_buckets={list(buckets)}"])
        return choose_attention(config, "gpu")

    assert choice(32, 64).backend == "cudnn"
    assert choice(32, 999).backend == "cudnn"  # above the longest row
    assert "needs even finetune.length_buckets (there is 25)" in choice(25, 50).line


@pytest.mark.parametrize(
    ("capability", "backend", "said"),
    [
        ("7.5", "xla", "compute capability 8.0 (Ampere) or newer, and this one has 7.5"),
        ("8.0", "cudnn", ""),
        ("12.1", "cudnn", ""),
        ("gfx90a", "xla", "needs an NVIDIA GPU"),
    ],
)
def test_fused_attention_is_for_gpus_that_can(monkeypatch, capability, backend, said):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(compute_capability=capability)])
    choice = _choice("gpu", **NO_DROPOUT, compute=BFLOAT16)
    assert choice.backend == backend
    assert said in choice.line


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
        network_config(config, 10, platform)
