import sys
import warnings

import pytest

from electra_jax.data.sources import documentation_strings as module
from electra_jax.data.sources.documentation_strings import (
    Package,
    documentation_strings,
    installed_packages,
    source_files,
)

SOURCE = b'''"""Module."""
import does_not_exist

_DESCRIPTION = """Description."""
value = "not documentation"
topics = {"a": "First " "topic.", "b": "Second topic."}
if True:
    def conditional():
        """Conditional."""

class C:
    """Class."""
    field: int = 0
    """Attribute."""
    def method(self):
        """Method."""
        "not documentation either"
        def inner():
            """Inner."""

async def coroutine():
    """Coroutine."""

try:
    pass
except ValueError:
    raise
else:
    "Else."
add_newdoc("numpy", "x", ("y", """Newdoc."""))
print("not documentation")
'''


def test_documentation_strings_in_source_order():
    found = documentation_strings(SOURCE)
    assert found == [
        *("Module.", "Description.", "a", "b", "First topic.", "Second topic.", "Conditional.", "Class."),
        *("Attribute.", "Method.", "Coroutine.", "Else.", "numpy", "x", "y", "Newdoc."),
    ]


@pytest.mark.parametrize(
    "source", [b"def broken(:", b"\0", b"# coding: nonsense\n'x'", b"x = '" + b"\xff'", b""]
)
def test_sources_that_cannot_be_parsed_have_none(source):
    assert documentation_strings(source) == []


def test_other_peoples_warnings_are_not_shown():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert documentation_strings(b'"""An \\invalid escape."""\nx = 1 is 1') == ["An \\invalid escape."]


def test_source_files_are_in_order_and_without_tests(tmp_path):
    names = [
        "b.py",
        "a.py",
        "a/z.py",
        "tests/c.py",
        "a/test/d.py",
        "test_e.py",
        "site-packages/f/g.py",
        "h.txt",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    package = Package("p", "1", (tmp_path,))
    assert source_files(package) == [(name, tmp_path / name) for name in ("a.py", "a/z.py", "b.py")]


def test_packages_are_found_without_importing_them():
    before = set(sys.modules)
    packages = {package.name: package for package in installed_packages()}
    assert list(packages)[:3] == ["python", "numpy", "scipy"]
    assert (packages["python"].folders[0] / "argparse.py").is_file()
    assert (packages["orbax-checkpoint"].folders[0] / "checkpoint_manager.py").is_file()
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("scipy", "orbax")}


def test_packages_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.setattr(
        module,
        "DISTRIBUTIONS",
        (("no-such-thing", "numpy"), ("numpy", "no_such_folder"), ("numpy", "numpy/none")),
    )
    assert [package.name for package in installed_packages()] == ["python"]
