"""Seconds from work and speeds, by hand."""

from electra_jax.planning.roofline import Speeds, StepCost, roofline


def test_parts_and_bounds():
    times = roofline(
        StepCost(flops=200e12, memory_bytes=400e9, sent_bytes=30e9), Speeds(100e12, 800e9, 120e9)
    )
    assert (times.compute, times.memory, times.network) == (2.0, 0.5, 0.25)
    assert (times.best, times.worst) == (2.0, 2.75)
    assert times.bound == "matrix products"


def test_what_is_slowest_is_named():
    speeds = Speeds(1.0, 1.0, 1.0)
    assert roofline(StepCost(1, 2, 1), speeds).bound == "memory bandwidth"
    assert roofline(StepCost(1, 2, 3), speeds).bound == "network"


def test_what_goes_between_slices_takes_time_where_its_speed_is_known():
    work = StepCost(flops=1, memory_bytes=1, sent_bytes=1, slices_bytes=10)
    known = roofline(work, Speeds(1.0, 1.0, 1.0, slices=2.0))
    assert (known.best, known.worst, known.bound) == (5.0, 8.0, "network between slices")
    assert roofline(work, Speeds(1.0, 1.0, 1.0)).worst == 3.0


def test_one_device_needs_no_network():
    assert roofline(StepCost(1, 1, 0), Speeds(1.0, 1.0, 0.0)).network == 0.0
