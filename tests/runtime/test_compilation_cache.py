"""Programs found on disk are not compiled again, and no state of the disk ends a run or changes what it computes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from small_run import SmallVocabulary, small_config
from tiny import padded_rows

from electra_jax.config.machines import ComputeConfig, MeshConfig
from electra_jax.config.text import DataConfig
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.runtime import compilation_cache as module
from electra_jax.runtime.compilation_cache import (
    ProgramFolder,
    cache_root,
    folder_name,
    processor_digest,
    use_compilation_cache,
)
from electra_jax.training.program import build_program

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_enable_xla_caches",
)


@pytest.fixture
def cache_settings():
    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def programs(tmp_path):
    """A folder of programs that holds 100 bytes of content and fails the test if it complains."""
    folder = tmp_path / "jaxlib-1"
    folder.mkdir()
    return ProgramFolder(folder, tmp_path, 3 * (100 + 32), report=pytest.fail)


@pytest.fixture
def seen():
    """What JAX reports while the test runs."""
    events = []

    def listen(event, **_):
        events.append(event)

    jax.monitoring.register_event_listener(listen)
    yield events
    jax.monitoring.unregister_event_listener(listen)


HIT = "/jax/compilation_cache/cache_hits"


def test_a_second_start_compiles_no_step_and_computes_the_same(tmp_path, cache_settings, monkeypatch, seen):
    monkeypatch.setattr(module, "MIN_SECONDS", 0.0)
    config = small_config(model={"num_layers": 1}, compute={"compilation_cache": str(tmp_path)})
    use_compilation_cache(config.compute, config.data, "cpu")

    def start(seed=0):
        jax.clear_caches()
        seen.clear()
        mesh = make_mesh(MeshConfig(), jax.devices()[:1])
        program, of_seed = (
            build_program(config.model_copy(update={"seed": number}), SmallVocabulary(), mesh)
            for number in (0, seed)
        )
        with program.on_mesh():  # with any seed from the same parameters
            state, report = of_seed.train_step(program.init(), padded_rows())
        return jax.device_get((state.params, report))

    first = start()
    files = sorted(tmp_path.glob("jaxlib-*/*"))
    second = start()
    assert seen.count(HIT) == len(files)
    assert sorted(tmp_path.glob("jaxlib-*/*")) == files
    jax.tree.map(np.testing.assert_array_equal, first, second)
    _, report = start(seed=1)  # nor does another seed, as those of a fine-tuning
    assert seen.count(HIT) == len(files)
    assert sorted(tmp_path.glob("jaxlib-*/*")) == files
    assert report["loss"] != first[1]["loss"]  # other masks


def test_a_damaged_program_is_compiled_again(tmp_path, cache_settings, monkeypatch, seen, recwarn):
    monkeypatch.setattr(module, "MIN_SECONDS", 0.0)
    use_compilation_cache(
        ComputeConfig.model_validate({"compilation_cache": str(tmp_path)}), DataConfig(), "cpu"
    )

    def start():
        jax.clear_caches()
        seen.clear()
        result = jax.jit(lambda x: jnp.tanh(x) * 3)(np.arange(5, dtype=np.float32))
        return HIT in seen, result.tolist()

    kept, result = start()
    assert not kept
    (file,) = tmp_path.glob("jaxlib-*/*")
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for content in (bytes(damaged), whole[:-1], b""):
        file.write_bytes(content)
        assert start() == (False, result)
        assert start() == (True, result)  # it was written anew
    assert not recwarn.list


def test_where_programs_are_kept(cache_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    sections = ComputeConfig(), DataConfig(cache_dir="/a")
    assert cache_root(*sections) == Path("/a/compiled")
    assert cache_root(ComputeConfig.model_validate({"compilation_cache": "/b"}), DataConfig()) == Path("/b")
    assert cache_root(ComputeConfig.model_validate({"compilation_cache": None}), DataConfig()) is None
    jax.config.update("jax_compilation_cache_dir", f"/a/compiled/{folder_name('cpu')}")
    assert cache_root(*sections) == Path("/a/compiled")  # our own, of a call before
    jax.config.update("jax_compilation_cache_dir", "/elsewhere")
    assert cache_root(*sections) is None
    assert cache_root(ComputeConfig.model_validate({"compilation_cache": "/b"}), DataConfig()) == Path("/b")


X86 = "vendor_id : A\nmodel : 17\nflags : fpu avx2\ncpu MHz : 2100.1\nprocessor : {n}\n\n"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (X86.format(n=0).replace("2100.1", "3400.9"), True),
        (X86.format(n=0) + X86.format(n=1), True),
        (X86.format(n=0).replace("avx2", "avx2 avx512f"), False),
        (X86.format(n=0).replace("17", "18"), False),
        ("CPU part : 0xd0c\nFeatures : sve\n", False),
        ("arm64 Darwin 24", False),
        ("", False),
    ],
)
def test_processors_are_told_apart_by_what_they_can_do(other, same):
    assert (processor_digest(X86.format(n=0)) == processor_digest(other)) == same


def test_a_folder_is_of_one_version_and_on_cpus_of_one_processor(monkeypatch):
    assert folder_name("tpu") == f"jaxlib-{jaxlib.__version__}-tpu"
    here = folder_name("cpu")
    assert here.startswith(f"jaxlib-{jaxlib.__version__}-cpu-")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(77)), raising=False)
    assert folder_name("cpu") != here


def test_what_was_kept_is_found_until_it_is_damaged(programs):
    assert programs.get("a") is None
    programs.put("a", b"program")
    assert programs.get("a") == b"program"
    assert programs.get("b") is None
    (file,) = programs.folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:], bytes(len(whole))):
        file.write_bytes(damaged)
        assert programs.get("a") is None
    programs.put("b", b"another program")
    (other,) = set(programs.folder.iterdir()) - {file}
    file.write_bytes(other.read_bytes())  # whole, but of another key
    assert programs.get("a") is None
    programs.put("a", b"program")
    assert programs.get("a") == b"program"


def test_what_is_no_file_is_not_read(programs):
    programs.put("a", b"program")
    (file,) = programs.folder.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert programs.get("a") is None  # and does not wait for a writer
    file.unlink()
    file.mkdir()
    assert programs.get("a") is None
    told = []
    programs.report = told.append
    programs.put("a", b"program")
    assert len(told) == 1


def test_the_least_recently_used_go_of_all_versions_together(programs):
    other = ProgramFolder(programs.root / "jaxlib-0", programs.root, programs.max_bytes, pytest.fail)
    other.folder.mkdir()
    for age, (some, key) in enumerate([(other, "a"), (programs, "b"), (programs, "c")]):
        some.put(key, bytes(100))
        for path in some.folder.iterdir():
            if path.stat().st_mtime > time.time() - 1000:
                os.utime(path, (10_000 + age, 10_000 + age))
    assert other.get("a")  # used just now
    programs.put("d", bytes(100))
    assert [bool(some.get(key)) for some, key in ((other, "a"), (programs, "b"), (programs, "c"))] == [
        True,
        False,
        True,
    ]
    programs.put("e", bytes(1000))  # more than all
    assert programs.get("d")
    assert programs.get("e") is None


def test_nothing_else_is_removed(programs):
    mine = programs.root / "mine.program", programs.folder / "notes.txt"
    for path in mine:
        path.write_bytes(bytes(10_000))
    for key in "abcdef":
        programs.put(key, bytes(100))
    assert all(path.exists() for path in mine)
    assert len(list(programs.folder.glob("*.program"))) == 3


def test_a_full_disk_is_told_once_and_leaves_nothing_behind(programs, monkeypatch):
    told = []
    programs.report = told.append

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    programs.put("a", b"program")
    programs.put("b", b"program")
    assert list(programs.folder.iterdir()) == []
    assert told == [
        f"note: compiled programs cannot be kept in {programs.folder} (No space left on device): the next start "
        "compiles them again"
    ]


def test_processes_may_write_and_remove_at_once(tmp_path):
    (tmp_path / "jaxlib-1").mkdir()
    script = """
import random, sys
from pathlib import Path
from electra_jax.runtime.compilation_cache import ProgramFolder
root = Path(sys.argv[1]); random.seed(int(sys.argv[2]))
programs = ProgramFolder(root / "jaxlib-1", root, 2000, lambda line: sys.exit(line))
for _ in range(100):
    key = str(random.randrange(40))
    found = programs.get(key)
    assert found in (None, key.encode() * 50)
    programs.put(key, key.encode() * 50)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)]) for number in range(3)
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 2000


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of files are POSIX's")
def test_a_folder_that_others_can_write_is_not_used(tmp_path, capsys, cache_settings):
    folder = tmp_path / folder_name("cpu")
    folder.mkdir()
    folder.chmod(0o777)
    before = jax.config.values["jax_compilation_cache_dir"]
    use_compilation_cache(
        ComputeConfig.model_validate({"compilation_cache": str(tmp_path)}), DataConfig(), "cpu"
    )
    assert jax.config.values["jax_compilation_cache_dir"] == before
    assert "others may write there" in capsys.readouterr().err


def test_a_place_that_is_no_folder_ends_nothing(tmp_path, capsys, cache_settings):
    (tmp_path / "file").write_text("")
    use_compilation_cache(
        ComputeConfig.model_validate({"compilation_cache": str(tmp_path / "file")}), DataConfig(), "cpu"
    )
    assert capsys.readouterr().err.startswith("note: compiled programs are not kept in ")


@pytest.mark.parametrize(
    ("platform", "seen", "kept"),
    [("gpu", [True, True], True), ("gpu", [True, False], False), ("tpu", [True, False], True)],
)
def test_hosts_with_gpus_keep_programs_only_where_all_see_them(
    tmp_path, capsys, cache_settings, monkeypatch, platform, seen, kept
):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(module, "is_host_0", lambda: True)
    monkeypatch.setattr(module, "broadcast_from_host_0", lambda name, make: make())
    monkeypatch.setattr(module, "gather_from_hosts", lambda name, value: [value and seen[0], *seen[1:]])
    compute = ComputeConfig.model_validate({"compilation_cache": str(tmp_path)})
    use_compilation_cache(compute, DataConfig(), platform)
    folder = tmp_path / folder_name(platform)
    assert (jax.config.values["jax_compilation_cache_dir"] == str(folder)) == kept
    assert ("the hosts do not share it" in capsys.readouterr().err) != kept
    assert list(folder.iterdir()) == []  # the mark is gone
    # Nor does XLA write files of its own there.
    assert not kept or jax.config.values["jax_persistent_cache_enable_xla_caches"] == "none"
