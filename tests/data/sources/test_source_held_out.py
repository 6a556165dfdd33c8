import hashlib

import pytest

from electra_jax.data.sources import is_held_out

DOCUMENTS = [f"document number {number}" for number in range(20_000)]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.4])
def test_share_is_the_fraction_within_sampling_error(fraction):
    share = sum(is_held_out(document, fraction) for document in DOCUMENTS) / len(DOCUMENTS)
    deviation = (fraction * (1 - fraction) / len(DOCUMENTS)) ** 0.5
    assert abs(share - fraction) < 4 * deviation


def test_nothing_is_held_out_at_zero():
    assert not any(is_held_out(document, 0.0) for document in DOCUMENTS)


def test_held_out_sets_are_nested():
    small = {document for document in DOCUMENTS if is_held_out(document, 0.02)}
    large = {document for document in DOCUMENTS if is_held_out(document, 0.2)}
    assert small < large


def test_agrees_with_the_hash_written_out():
    for document in ("", "a", "Übung", "\ud800 alone"):
        data = document.encode("utf-8", "surrogatepass")
        place = int(hashlib.blake2b(data, digest_size=8).hexdigest(), 16) / 2**64
        assert not is_held_out(document, place * 0.999)
        assert is_held_out(document, place * 1.001)
