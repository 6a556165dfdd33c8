"""One process agrees with itself, and with the configuration of another host."""

from electra_jax.config.machines import HostsConfig
from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import broadcast_from_host_0, gather_from_hosts
from electra_jax.distributed.common_settings import common_settings


def test_where_a_process_is_does_not_belong_to_the_run():
    config = Config(hosts=HostsConfig(coordinator="a:1", num_processes=2, process_id=1, join="on"))
    assert common_settings(config) == Config(hosts=HostsConfig(join="on"))


def test_one_process_asks_nobody():
    assert broadcast_from_host_0("x", lambda: [1]) == [1]
    assert gather_from_hosts("x", 3) == [3]
