"""All hosts of a run must have been started with the same settings."""

from electra_jax.config.compare import differences, format_differences
from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import gather_from_hosts
from electra_jax.errors import UserError


def common_settings(config: Config) -> Config:
    """Return the configuration without what differs from host to host, and from one start to the next."""
    hosts = config.hosts.model_copy(update={"coordinator": None, "num_processes": None, "process_id": None})
    return config.model_copy(update={"hosts": hosts})


def check_common_settings(config: Config) -> None:
    """Refuse hosts that were started with different settings.

    Raises:
        UserError: some host has other settings; the keys are named.
    """
    first, *others = (
        Config.model_validate(values) for values in gather_from_hosts("settings", config.model_dump())
    )
    for host, other in enumerate(others, start=1):
        if changes := differences(first, other):
            raise UserError(
                f"host {host} was started with other settings than host 0: {format_differences(changes)}; "
                "start all hosts with the same command"
            )
