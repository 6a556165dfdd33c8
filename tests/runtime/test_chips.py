"""What is published of chips, and by which names jax calls them."""

from types import SimpleNamespace

import pytest

from electra_jax.runtime.chips import CHIPS, TPU_CHIPS, chip_of, peak_flops


@pytest.mark.parametrize(
    ("chip", "shape", "share"),
    [
        ("v5e", (4, 4), 1.0),  # two links along both axes
        ("v5e", (2, 4), 0.75),  # one along the axis of two
        ("v5e", (2, 2), 0.5),
        ("v5e", (1, 4), 0.5),
        ("v4", (2, 2, 4), 4 / 6),
        ("v5p", (4, 4, 4), 1.0),
        ("v4", (1, 1, 1), 0.0),
    ],
)
def test_links_of_a_slice(chip, shape, share):
    assert TPU_CHIPS[chip].outgoing_bandwidth(shape) == pytest.approx(
        share * TPU_CHIPS[chip].link_bandwidth / 2
    )


def test_every_chip_is_found_by_its_kinds():
    for chip in CHIPS:
        for kind in chip.kinds:
            device = SimpleNamespace(device_kind=kind)
            assert chip_of(device) is chip
            assert peak_flops(device) == chip.peak_flops
    # A relative of theirs may have another memory.
    for kind in ("cpu", "NVIDIA A100-PCIE-40GB", "NVIDIA H100 PCIe", "NVIDIA H200 NVL"):
        assert chip_of(SimpleNamespace(device_kind=kind)) is None


def test_a_chips_share_of_the_network_between_slices():
    gigabits = {chip.name: (chip.slices_bandwidth or 0) * 8 / 1e9 for chip in TPU_CHIPS.values()}
    assert gigabits == {"v4": 0, "v5e": 25, "v5p": 50, "v6e": 100}


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("TPU7x", 2307e12 / 2),  # each of a chip's two chiplets is a device of its own
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 NVL", 1671e12 / 2),
        ("NVIDIA H200 NVL", 1671e12 / 2),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),  # a part of it
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("NVIDIA A10", None),  # not an A100
        ("NVIDIA GeForce RTX 4090", None),
        ("cpu", None),
    ],
)
def test_peak_of_known_devices(kind, peak):
    assert peak_flops(SimpleNamespace(device_kind=kind)) == peak
