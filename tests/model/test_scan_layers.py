"""Where layers are looped over, and that what was asked for is done."""

import pytest
from small_run import small_config

from electra_jax.model.network_config import network_config
from electra_jax.model.scan_layers import SCAN_FROM_LAYERS, resolve_scan_layers


@pytest.mark.parametrize(
    ("asked", "layers", "platform", "looped"),
    [
        (None, SCAN_FROM_LAYERS, "cpu", True),
        (None, SCAN_FROM_LAYERS - 1, "cpu", False),
        (None, 24, "tpu", False),
        (None, 24, "gpu", False),
        (False, 24, "cpu", False),
        (True, 1, "cpu", True),
        (True, 24, "tpu", True),
    ],
)
def test_a_loop_is_chosen_by_depth_and_platform_unless_it_is_asked_for(asked, layers, platform, looped):
    config = small_config(model={"num_layers": layers}, compute={"scan_layers": asked})
    assert resolve_scan_layers(asked, layers, platform) is looped
    assert network_config(config, 10, platform).encoder.scan_layers is looped
