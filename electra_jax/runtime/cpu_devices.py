"""CPU cores as devices of their own."""

import os

import jax

# Each holds a copy of the parameters, and all share the cores.
_MAX_DEVICES = 4
_FLAG = "xla_force_host_platform_device_count"


def one_device_per_core() -> int | None:
    """Let JAX take the cores of this process, four at most, for a CPU device each, so that rows are split over them.

    One device on two cores splits every product over both, and one of them waits at the end of each; two devices with
    half of the rows each never meet. It pays where they need not: in inference (docs/performance.md).

    To be called before the first JAX device is asked for. Devices that are not CPUs are left as they were.

    Returns:
        How many CPU devices there will be; None where the environment (XLA_FLAGS, JAX_NUM_CPU_DEVICES) has decided.
    """
    if _FLAG in os.environ.get("XLA_FLAGS", "") or jax.config.values["jax_num_cpu_devices"] != -1:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = min(cores, _MAX_DEVICES)
    jax.config.update("jax_num_cpu_devices", devices)
    return devices
