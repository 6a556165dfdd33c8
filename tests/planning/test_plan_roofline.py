"""Seconds from work and speeds, by hand; links of slices; chips by jax's names."""

from types import SimpleNamespace

import pytest

from electra_jax.planning.chips import CHIPS, TPU_CHIPS, chip_of
from electra_jax.planning.roofline import Speeds, Work, roofline
from electra_jax.training.flops import peak_flops


def test_parts_and_bounds():
    times = roofline(Work(flops=200e12, memory_bytes=400e9, sent_bytes=30e9), Speeds(100e12, 800e9, 120e9))
    assert (times.compute, times.memory, times.network) == (2.0, 0.5, 0.25)
    assert (times.best, times.worst) == (2.0, 2.75)
    assert times.bound == "matrix products"


def test_what_is_slowest_is_named():
    speeds = Speeds(1.0, 1.0, 1.0)
    assert roofline(Work(1, 2, 1), speeds).bound == "memory bandwidth"
    assert roofline(Work(1, 2, 3), speeds).bound == "network"


def test_what_goes_between_slices_takes_time_where_its_speed_is_known():
    work = Work(flops=1, memory_bytes=1, sent_bytes=1, slices_bytes=10)
    known = roofline(work, Speeds(1.0, 1.0, 1.0, slices=2.0))
    assert (known.best, known.worst, known.bound) == (5.0, 8.0, "network between slices")
    assert roofline(work, Speeds(1.0, 1.0, 1.0)).worst == 3.0


def test_one_device_needs_no_network():
    assert roofline(Work(1, 1, 0), Speeds(1.0, 1.0, 0.0)).network == 0.0


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


def test_every_chip_has_a_peak_and_is_found_by_its_kind():
    for chip in CHIPS:
        device = SimpleNamespace(device_kind=chip.kind)
        assert chip_of(device) is chip
        assert peak_flops(device) is not None
    assert chip_of(SimpleNamespace(device_kind="cpu")) is None


def test_a_chips_share_of_the_network_between_slices():
    gigabits = {chip.name: (chip.slices_bandwidth or 0) * 8 / 1e9 for chip in TPU_CHIPS.values()}
    assert gigabits == {"v4": 0, "v5e": 25, "v5p": 50, "v6e": 100}
