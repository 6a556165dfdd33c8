"""How every preset's parameters lie on some meshes, kept word for word.

If a change was intended: ``python tests/partitioning/test_sharding_goldens.py`` writes the files anew; read the
difference before it is committed.
"""

from pathlib import Path

import jax
import pytest
from jax.sharding import AbstractMesh

from electra_jax.config import load_config
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.partitioning.layout import parameter_layout
from electra_jax.partitioning.mesh import AXES

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "configs" / "pretrain").glob("*.yaml"))
MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 2), (2, 2, 2), (16, 16, 1)]  # data, fsdp, tensor


def golden_file(preset):
    return ROOT / "tests" / "golden" / f"sharding_{preset.stem}.txt"


def layout_table(preset):
    """The table as text: for each mesh, parameter → shape → spec → bytes on each device."""
    config = load_config(preset)
    network = build_network(config, config.tokenizer.vocab_size)
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    lines = []
    for sizes in MESHES:
        rows = parameter_layout(params, AbstractMesh(sizes, AXES))
        total = sum(row.bytes_per_device for row in rows)
        lines.append(
            f"mesh {' '.join(f'{axis}={size}' for axis, size in zip(AXES, sizes))}: {total:,} bytes a device"
        )
        for row in rows:
            spec = ", ".join("+".join(e) if isinstance(e, tuple) else e or "-" for e in row.spec)
            shape = " x ".join(map(str, row.shape))
            lines.append(f"  {row.name:<58}{shape:>18}  ({spec})".ljust(106) + f"{row.bytes_per_device:>12,}")
        lines.append("")
    return "\n".join(lines)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.stem)
def test_layout_of_every_preset_is_as_kept(preset):
    kept = golden_file(preset).read_text()
    assert layout_table(preset) == kept, (
        f"the parameters of {preset.stem} lie differently than {golden_file(preset).name} says; if that is intended, "
        "update it: python tests/partitioning/test_sharding_goldens.py"
    )


def test_no_golden_is_left_over():
    kept = {path.name for path in (ROOT / "tests" / "golden").glob("sharding_*.txt")}
    assert kept == {golden_file(preset).name for preset in PRESETS}


if __name__ == "__main__":
    for written in PRESETS:
        golden_file(written).write_text(layout_table(written))
