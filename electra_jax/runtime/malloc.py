"""Memory of the C library's allocator, where it is the device's memory too."""

import ctypes
import glob
import sys

# GPUs and TPUs as Linux shows them.
_ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")
# Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, so that the next step need not ask the kernel for it again.

    A step on CPU devices allocates its temporary arrays anew, some hundred megabytes. glibc takes such blocks from
    the kernel and gives them back at once, and the kernel clears every page: a quarter of a step of ELECTRA-small.
    From now on blocks come from the heap, and the heap does not shrink.
    The heap breaks up over the first twenty to sixty steps and then holds up to twice the memory of the first one
    (docs/performance.md, "Memory that is kept").

    To be called before the first JAX device is asked for: threads that already run keep allocators of their own.

    Returns:
        Whether it was done: on Linux with glibc, and where there is no accelerator whose memory counts instead.
    """
    if not sys.platform.startswith("linux") or any(glob.glob(pattern) for pattern in _ACCELERATORS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_ARENA_MAX, 1))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
