"""CPUs that pass for several devices, in the tests and in the processes that tests start."""


def xla_flags(devices: int) -> str:
    """The value of ``XLA_FLAGS`` for so many devices."""
    return " ".join(
        [
            f"--xla_force_host_platform_device_count={devices}",
            # Many devices on two busy cores meet slowly; by default XLA ends the process after 40 seconds.
            "--xla_cpu_collective_call_terminate_timeout_seconds=600",
            # These take longer to compile fusions than what they replaced.
            "--xla_cpu_use_fusion_emitters=false",
        ]
    )
