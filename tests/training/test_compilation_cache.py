"""Programs found on disk are not compiled again."""

from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from small_run import SmallVocabulary, small_config
from tiny import padded_rows

from electra_jax.config.schema import MeshConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.compilation_cache import cache_folder, use_compilation_cache
from electra_jax.training.program import build_program

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def cache_settings():
    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_second_start_compiles_no_step_and_computes_the_same(tmp_path, cache_settings):
    config = small_config(model={"num_layers": 1}, compute={"compilation_cache": str(tmp_path)})
    use_compilation_cache(config, "cpu")
    seen = []
    jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))

    def start():
        jax.clear_caches()
        seen.clear()
        program = build_program(config, SmallVocabulary(), make_mesh(MeshConfig(), jax.devices()[:1]))
        with program.on_mesh():
            state, report = program.train_step(program.init(), padded_rows())
        return jax.device_get((state.params, report))

    first = start()
    files = sorted(tmp_path.iterdir())
    assert any("train_step" in path.name for path in files)
    second = start()
    assert "/jax/compilation_cache/cache_hits" in seen
    assert sorted(tmp_path.iterdir()) == files
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_where_programs_are_kept():
    config = small_config(data={"cache_dir": "/a"})
    assert cache_folder(config, "tpu") == Path("/a/compiled")
    assert cache_folder(config, "cpu") is None
    assert cache_folder(small_config(compute={"compilation_cache": "/b"}), "cpu") == Path("/b")
    assert cache_folder(small_config(compute={"compilation_cache": None}), "tpu") is None
