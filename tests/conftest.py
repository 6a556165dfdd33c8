"""Eight fake CPU devices for every test, so that sharding is always under test; and a compiler that hurries."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from fake_devices import xla_flags
from hypothesis import HealthCheck, settings

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = xla_flags(8)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Nearly all that the tests wait for is compiling. Machine code that is less optimized takes half as long to make;
# and what a process has compiled (a test, a program it starts) serves the others.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# A folder given by the environment is kept for the next run; workers inherit the one that is made.
_MADE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _MADE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="electra_jax-tests-")

# The same examples everywhere, however slow the machine is.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="../shared (reference material) is not here")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material; only for tests marked ``shared_data``."""
    return SHARED


_MEASURED = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption(
        "--parity-table", action="store_true", help="print the largest difference of every comparison"
    )


def pytest_configure(config):
    config.stash[_MEASURED] = {}
    # What is imported stays, and what jax traces is freed without it: a tenth of all time went into looking for cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_unconfigure():
    if _MADE is not None:
        shutil.rmtree(_MADE, ignore_errors=True)


@pytest.fixture(scope="session")
def within(request):
    """``within(what, difference, limit)`` asserts a difference from another implementation, and remembers it."""

    def check(what: str, difference: float, limit: float) -> None:
        measured = request.config.stash[_MEASURED]
        measured[what] = (max(float(difference), measured.get(what, (0.0,))[0]), limit)
        assert difference <= limit, f"{what}: {difference:.3g} is more than {limit:g}"

    return check


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--parity-table"):
        terminalreporter.write_line("| what | largest difference | limit |\n|---|---|---|")
        for what, (difference, limit) in config.stash[_MEASURED].items():
            terminalreporter.write_line(f"| {what} | {difference:.1e} | {limit:.0e} |")
