"""CPUs that pass for several devices, in the tests and in the processes that tests start."""

from importlib.metadata import version


def xla_flags(devices: int) -> str:
    """The value of ``XLA_FLAGS`` for so many devices."""
    flags = [
        f"--xla_force_host_platform_device_count={devices}",
        # Many devices on two busy cores meet slowly; by default XLA ends the process after 40 seconds.
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
    ]
    # Not from jax itself, which reads its own settings from the environment when it is imported.
    if tuple(map(int, version("jax").split(".")[:2])) < (0, 11):
        # Fusion emitters take longer to compile than what they replaced. A jaxlib that does not know a flag ends
        # the process, and later ones no longer know this one.
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)
