"""Beams that go on from one another, their keys left where they were, against whole rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from small_decoder import small_decoder

from electra_jax.generation.decode import HasBeams, MayHaveBeams
from electra_jax.model.decoder import Source

ROWS, BEAMS, PROMPT, ROOM, HIDDEN = 2, 3, 4, 5, 8
LENGTHS = np.array([4, 2])


def random(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def prompts_read(network):
    x = random(ROWS, PROMPT, HIDDEN, seed=1)
    source = Source(jnp.array(random(ROWS, 3, HIDDEN, seed=2)), jnp.array([[1, 1, 1], [1, 0, 0]]))
    variables = network.init(
        np.array([0, 1], np.uint32), x, np.ones((ROWS, PROMPT), int), None, source, method="decode"
    )
    kept = network.apply(variables, source, method="read_source")
    _, cache = network.apply(variables, x, jnp.array(LENGTHS), PROMPT, kept, method="prefill")
    return variables, x, source, kept, cache


def test_beams_that_change_places_go_on_as_their_own_texts():
    network = small_decoder(source=True, layers=1)
    variables, x, source, kept, cache = prompts_read(network)
    step = jax.jit(partial(network.apply, method="step"))
    now = cache.with_beams(BEAMS, ROOM)
    texts = [[x[row, : LENGTHS[row]]] * BEAMS for row in range(ROWS)]
    rng = np.random.default_rng(3)
    for number in range(ROOM):
        parents = rng.integers(0, BEAMS, (ROWS, BEAMS))
        token = random(ROWS, BEAMS, HIDDEN, seed=10 + number)
        texts = [
            [np.vstack([texts[row][parents[row, beam]], token[row, beam]]) for beam in range(BEAMS)]
            for row in range(ROWS)
        ]
        now = now.of_parents(jnp.array(parents))
        np.testing.assert_array_equal(now.used, np.repeat(LENGTHS + number, BEAMS))
        states, now = step(variables, token.reshape(-1, 1, HIDDEN), now, kept)
        assert states.shape == (ROWS * BEAMS, 1, HIDDEN)
    whole = np.zeros((ROWS, BEAMS, PROMPT + ROOM, HIDDEN), np.float32)
    for row, beam in np.ndindex(ROWS, BEAMS):
        whole[row, beam, : LENGTHS[row] + ROOM] = texts[row][beam]
    whole = whole.reshape(-1, *whole.shape[2:])
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, BEAMS, axis=0), source)
    expected = jax.jit(partial(network.apply, method="decode"))(
        variables, whole, np.ones(whole.shape[:2], int), None, repeated
    )
    last = np.repeat(LENGTHS + ROOM - 1, BEAMS)
    np.testing.assert_allclose(states[:, 0], expected[np.arange(len(last)), last], rtol=1e-5, atol=1e-5)


def test_no_key_is_moved_and_prompts_are_kept_once():
    network = small_decoder(source=True, layers=1)
    cache = prompts_read(network)[-1]
    assert isinstance(cache, MayHaveBeams)
    beams = cache.with_beams(BEAMS, ROOM)
    assert isinstance(beams, HasBeams)
    moved = beams.of_parents(jnp.zeros((ROWS, BEAMS), int))
    assert moved.layers is beams.layers
    assert moved.prompts is beams.prompts
    assert {part.value.shape for part in beams.prompts} == {(ROWS, 2, PROMPT, HIDDEN // 2)}
