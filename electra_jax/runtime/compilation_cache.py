"""Compiled programs on disk, so that a second start compiles nothing again.

JAX looks programs up and says what they depend on; what is kept, and how, is decided here, since the folder may be
read-only, full, shared by processes or damaged, and none of that may end a run or change what it computes. JAX's own
cache writes entries in place, never writes a damaged one anew, and does not notice a damage that can still be loaded.
"""

import hashlib
import os
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import jaxlib.version
from jax.experimental.compilation_cache import compilation_cache

from electra_jax.config.machines import ComputeConfig
from electra_jax.config.text import DataConfig
from electra_jax.distributed.agreement import (
    broadcast_from_host_0,
    gather_from_hosts,
    is_host_0,
    print_on_host_0,
)
from electra_jax.files.atomic import write_atomically
from electra_jax.files.local_paths import local_path

# Bytes of all programs together, of every version and processor. One of a CPU takes up to a few megabytes. JAX's own
# setting, JAX_COMPILATION_CACHE_MAX_SIZE, is followed where it is given.
MAX_BYTES = 2 * 10**9
# Programs that were compiled faster than this are compiled again: there are hundreds of them, and nobody waits.
MIN_SECONDS = 0.2
_SUFFIX = ".program"
_XLA_CACHES = "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"
_CPUINFO = Path("/proc/cpuinfo")
# What of it says which instructions a processor has, and how they are best put together.
_PROCESSOR_FIELDS = {
    *("vendor_id", "cpu family", "model", "model name", "flags"),  # x86
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),  # Arm
    *("isa", "uarch", "cpu", "machine"),  # others
}


def use_compilation_cache(compute: ComputeConfig, data: DataConfig, platform: str) -> None:
    """Keep what this process compiles from here on, and look there first, where `cache_root` names a folder.

    Of several hosts the first writes. A program read back is the one that was compiled, so results do not change.
    """
    root = cache_root(compute, data)
    folder, refused = None, None
    if root is not None:
        folder = root / folder_name(platform)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            refused = _not_ours(folder)
        except OSError as error:
            refused = error.strerror or str(error)
    # Hosts with GPUs tune programs together while they compile: one that finds its own leaves the others waiting.
    if platform not in ("cpu", "tpu") and not _is_seen_by_all(None if refused else folder):
        refused = refused or "the hosts do not share it, or not all can use it"
    if root is None or folder is None:
        return
    if refused:
        print_on_host_0(f"note: compiled programs are not kept in {folder}: {refused}")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    if (
        _XLA_CACHES not in os.environ
    ):  # on GPUs XLA writes files of its own there, unbounded, and fails where it cannot
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    compilation_cache.reset_cache()  # what was compiled before this had no cache, and jax asks only once
    max_bytes = jax.config.values["jax_compilation_cache_max_size"]
    _install(ProgramFolder(folder, root, MAX_BYTES if max_bytes < 0 else max_bytes, print_on_host_0))


def _is_seen_by_all(folder: Path | None) -> bool:
    """Return whether the folder is the same one on all hosts; None: this host has none. One host alone sees its own."""
    if not jax.distributed.is_initialized():
        return True
    mark = broadcast_from_host_0("a mark in the folder of compiled programs", partial(_leave_mark, folder))
    sees = folder is not None and mark is not None and (folder / mark).exists()
    seen = gather_from_hosts("who sees the folder of compiled programs", sees)
    if folder is not None and mark is not None and is_host_0():
        (folder / mark).unlink(missing_ok=True)
    return all(seen)


def _leave_mark(folder: Path | None) -> str | None:
    """Make a file in the folder and return its name; None where that cannot be."""
    mark = f".seen-{secrets.token_hex(8)}"
    try:
        if folder is not None:
            (folder / mark).touch()
            return mark
    except OSError:  # read-only
        pass
    return None


def cache_root(compute: ComputeConfig, data: DataConfig) -> Path | None:
    """Return the folder of all compiled programs; None: none are kept, or JAX was told of a place of its own."""
    requested = compute.compilation_cache
    if requested is None:
        return None
    if requested != "auto":
        return Path(requested).expanduser()
    set_in_jax = jax.config.values["jax_compilation_cache_dir"]
    root = local_path(data.cache_dir, "data.cache_dir") / "compiled"
    return root if set_in_jax is None or Path(set_in_jax).parent == root else None


def folder_name(platform: str) -> str:
    """Return the name of the folder for programs that this process can run.

    They are those of this jaxlib, and on a CPU of this processor.

    Machine code is made for the instructions of one model of processor, and shares its loops out over as many threads
    as there were cores; a cache in a home directory is often shared by machines that differ.
    """
    parts = ["jaxlib", jaxlib.version.__version__, platform]
    if platform == "cpu":
        parts += [processor_digest(_processor()), f"{_cores()}-cores"]
    return "-".join(parts)


def processor_digest(description: str) -> str:
    """Return a short name for a processor; lines that differ from one moment to the next do not count.

    Args:
        description: as /proc/cpuinfo has it, ``name : value`` a line, or any other text.
    """
    pairs = {tuple(part.strip() for part in line.split(":", 1)) for line in description.splitlines()}
    kept = sorted(pair for pair in pairs if len(pair) == 2 and pair[0] in _PROCESSOR_FIELDS)
    return hashlib.sha256(repr(kept or description).encode()).hexdigest()[:12]


def _processor() -> str:
    try:
        return _CPUINFO.read_text(errors="replace")
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()} {platform.platform()}"


def _cores() -> int:
    """Return the number of cores, which is how many threads XLA makes."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_ours(folder: Path) -> str | None:
    """Return why what is in ``folder`` must not be run: programs are code, and others might have put them there."""
    if not hasattr(os, "getuid"):
        return None
    status = folder.stat()
    if status.st_uid not in (os.getuid(), 0):
        return "it belongs to somebody else, and programs are code"
    return "others may write there, and programs are code" if status.st_mode & 0o022 else None


def _install(programs: "ProgramFolder") -> None:
    """Let JAX use ``programs``; it has no public place to say so. Where it has none at all, its own cache is used."""
    from jax._src import compilation_cache as internals

    if hasattr(internals, "_cache") and hasattr(internals, "_cache_initialized"):
        internals._cache, internals._cache_initialized = programs, True  # type: ignore[assignment]


@dataclass
class ProgramFolder:
    """JAX's `CacheInterface` over a folder: whole entries or none, the least recently used ones removed.

    A file is the SHA-256 of key and program, and the program. It appears whole, by renaming, so that processes need
    no lock; whatever is not whole is a program that is not there. Nothing raises.

    Attributes:
        folder: of the programs that this process can run.
        root: of all folders like it, which are bounded together.
        max_bytes: the bound.
        report: called once, with one line, if nothing can be written.
    """

    folder: Path
    root: Path
    max_bytes: int
    report: Callable[[str], None]
    _reported: bool = field(default=False, init=False)

    @property
    def _path(self) -> Path:  # jax asks for it
        return self.folder

    def get(self, key: str) -> bytes | None:
        """Return the program of ``key``; None if there is none, or a damaged one."""
        path = self._file(key)
        try:
            if not path.is_file() or path.stat().st_size > self.max_bytes:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        digest, program = content[:32], content[32:]
        if digest != _digest(key, program):
            return None  # it will be compiled, and written anew
        with suppress(OSError):  # read-only
            os.utime(path)
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, in place of one of the same key."""
        if len(value) + 32 > self.max_bytes:
            return
        try:
            write_atomically(self._file(key), _digest(key, value) + value, flush=False)
        except OSError as error:
            if not self._reported:
                self._reported = True
                self.report(
                    f"note: compiled programs cannot be kept in {self.folder} ({error.strerror or error}): the next "
                    "start compiles them again"
                )
        self._evict()

    def _file(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}{_SUFFIX}"

    def _evict(self) -> None:
        """Remove the least recently used programs until the rest is within the bound; other processes may, too."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.max_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (when last used, bytes, file) of each program of any version and processor."""
        for path in self.root.glob(f"jaxlib-*/*{_SUFFIX}"):
            with suppress(OSError):  # removed by another
                status = path.stat()
                yield status.st_mtime_ns, status.st_size, path


def _digest(key: str, program: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + program).digest()
