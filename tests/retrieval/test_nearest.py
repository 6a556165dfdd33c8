"""Exact search in blocks: what a plain sort of all products says, on any devices, with blocks that overlap."""

import jax
import numpy as np
import pytest

from electra_jax.config.machines import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.retrieval import nearest
from electra_jax.retrieval.nearest import NearestVectors


def _one_device():
    return make_mesh(MeshConfig(), jax.devices()[:1])


def _scores(contexts, vectors):
    products = np.einsum("bch,nh->bcn", contexts, vectors)
    if contexts.shape[1] == 1:
        return products[:, 0]
    weights = np.exp(products - products.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True) * products).sum(axis=1)


@pytest.mark.parametrize(
    ("codes", "count", "k", "devices"),
    [(1, 5, 9, 8), (1, 100, 3, 2), (3, 37, 4, 2), (1, 32, 20, 8)],
    ids=["fewer than asked for", "many blocks", "codes", "more than a device has"],
)
def test_the_best_are_those_of_a_sort_of_all(codes, count, k, devices, monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK_ROWS", 16)
    monkeypatch.setattr(nearest, "_LEAST_ROWS", 16)
    monkeypatch.setattr(nearest, "_PRODUCTS", 16 * codes * 4)  # four contexts at once
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, size=(count, 8)).astype(np.float32)  # many equal scores
    contexts = rng.integers(-2, 3, size=(7, codes, 8)).astype(np.float32)
    mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
    scores, numbers = NearestVectors(vectors, codes, mesh).search(contexts, k)
    expected = _scores(contexts, vectors)
    assert scores.shape == numbers.shape == (7, min(k, count))
    np.testing.assert_allclose(np.take_along_axis(expected, numbers, axis=1), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(-np.sort(-expected, axis=1)[:, :k], scores, rtol=1e-5, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in numbers.tolist())
    if codes == 1:  # whole numbers: of equal ones the lower number comes first
        assert numbers.tolist() == np.argsort(-expected, axis=1, kind="stable")[:, :k].tolist()


def test_a_few_more_answers_need_no_other_program():
    rng = np.random.default_rng(0)
    vectors, contexts = rng.normal(size=(40, 4)).astype(np.float32), np.ones((1, 1, 4), np.float32)
    of_one = NearestVectors(vectors, 1, make_mesh(MeshConfig(), jax.devices()[:3]))
    before = of_one._merge._cache_size()
    found = [of_one.search(contexts, k)[1] for k in (9, 11, 13, 16)]
    assert [numbers.shape for numbers in found] == [(1, 9), (1, 11), (1, 13), (1, 16)]
    assert of_one._merge._cache_size() <= before + 2  # the best are none at first, then the devices' own


def test_vectors_in_memory_are_read_where_they_are():
    """Blocks are kept between searches, so that a copy of each would be all of the vectors once more."""
    for width in (4, 8, 20):
        for count in range(16, 24):
            vectors = nearest.vectors_in_memory(count, width)
            assert vectors.shape == (count, width)
            assert vectors.dtype == np.float32
            assert vectors.ctypes.data % 64 == 0
    vectors[:] = 1
    (block,) = (block for _, _, block in NearestVectors(vectors[:16], 1, _one_device())._blocks())
    assert block.addressable_shards[0].data.unsafe_buffer_pointer() == vectors.ctypes.data


def test_no_contexts_have_no_answers():
    found = NearestVectors(np.ones((3, 4), np.float32), 1, _one_device())
    scores, numbers = found.search(np.zeros((0, 1, 4), np.float32), 2)
    assert scores.shape == numbers.shape == (0, 2)


def test_devices_do_not_meet_in_a_block():
    """CPU devices that wait for each other in every one of many blocks end the process after 40 seconds."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:2])
    best = (np.zeros((2, 1, 3), np.float32), np.zeros((2, 1, 3), np.int32))
    contexts, block = np.zeros((1, 3, 4), np.float32), np.zeros((8, 4), np.float32)
    program = nearest._program(mesh).lower(best, contexts, block, np.zeros(3, np.int32)).compile().as_text()
    assert "num_partitions=2" in program
    assert not [line for line in program.splitlines() if "all-" in line or "collective" in line]
