import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from electra_jax.config.machines import MeshConfig
from electra_jax.objectives.sampling import replacement_logits, sample_by_gumbel, sample_by_inverse_cdf
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.planning.collectives import find_collectives
from electra_jax.planning.hlo import parse_hlo


@pytest.mark.parametrize("vocab", [2, 7, 30, 101])
@pytest.mark.parametrize("sample", [sample_by_inverse_cdf, sample_by_gumbel])
def test_samples_follow_the_softmax(vocab, sample):
    draws = 100_000
    logits = jnp.asarray(np.random.default_rng(vocab).normal(0, 1.5, vocab), jnp.float32)
    width = 2 if sample is sample_by_inverse_cdf else vocab
    uniforms = jax.random.uniform(jax.random.key(0), (draws, width))
    counts = np.bincount(sample(jnp.broadcast_to(logits, (draws, vocab)), uniforms), minlength=vocab)
    expected = np.asarray(jax.nn.softmax(logits), np.float64) * draws
    likely = expected > 5
    chi_squared = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    freedom = likely.sum() - 1
    # Wilson-Hilferty: the 99.9 % quantile of chi squared
    assert chi_squared < freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("uniform", [0.0, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_inverse_cdf_never_gives_an_impossible_token(uniform):
    logits = np.full((3, 50), -np.inf, np.float32)
    logits[0, 7], logits[1, 49], logits[2, [0, 30]] = 0.0, 3.0, 1.0
    sampled = sample_by_inverse_cdf(jnp.asarray(logits), jnp.full((3, 2), uniform))
    assert all(np.isfinite(logits[i, s]) for i, s in enumerate(np.asarray(sampled)))


def test_disallow_correct_and_temperature():
    logits = jnp.array([[[1.0, 3.0, 2.0]]])
    out = replacement_logits(logits, jnp.array([[1]]), temperature=0.5, disallow_correct=True)
    np.testing.assert_allclose(out, [[[2.0, 6.0 - 1000.0, 4.0]]])


@pytest.mark.parametrize("tensor", [2, 8])
def test_logits_that_lie_over_devices_give_the_same_draws_and_are_gathered_nowhere(tensor):
    vocab = 992  # 32 blocks of 31: what is given as 8 x 124 has to be cut anew
    rng = np.random.default_rng(0)
    logits, uniforms = rng.normal(0, 2, (8, 3, vocab)).astype(np.float32), rng.random((8, 3, 2), np.float32)
    expected = sample_by_inverse_cdf(jnp.asarray(logits), jnp.asarray(uniforms))
    mesh = make_mesh(MeshConfig(tensor=tensor))
    with jax.set_mesh(mesh):
        lies = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), None, "tensor"))
        laid = jax.device_put(logits, lies), jax.device_put(uniforms, NamedSharding(mesh, PartitionSpec()))
        step = jax.jit(sample_by_inverse_cdf).lower(*laid).compile()
        np.testing.assert_array_equal(step(*laid), expected)
    for one in find_collectives(parse_hlo(step.as_text()), 8):
        assert one.full_bytes < 4 * 8 // (8 // tensor) * 3 * vocab / tensor, (
            one
        )  # less than a device's own logits
