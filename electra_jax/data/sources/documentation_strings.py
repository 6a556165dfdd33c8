"""Finding documentation strings in the source files of installed packages, without importing them."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STANDARD_LIBRARY = "python"

# Distribution and the folder it owns: what requirements.txt brings along whether wanted or not, richest in prose
# first. The order is the order of the corpus, and decides who is left out when it is full.
DISTRIBUTIONS = (
    ("numpy", "numpy"),
    ("scipy", "scipy"),
    ("jax", "jax"),
    ("flax", "flax"),
    ("optax", "optax"),
    ("orbax-checkpoint", "orbax/checkpoint"),
    ("grain", "grain"),
    ("tensorflow-datasets", "tensorflow_datasets"),
    ("pydantic", "pydantic"),
    ("etils", "etils"),
    ("rich", "rich"),
    ("huggingface_hub", "huggingface_hub"),
    ("fsspec", "fsspec"),
    ("protobuf", "google/protobuf"),
    ("absl-py", "absl"),
    ("pyarrow", "pyarrow"),
    ("anyio", "anyio"),
    ("treescope", "treescope"),
    ("click", "click"),
    ("requests", "requests"),
    ("urllib3", "urllib3"),
    ("psutil", "psutil"),
    ("opt_einsum", "opt_einsum"),
)

# Tests are not prose; the others are split off, patched or left out by one system or another.
SKIPPED_FOLDERS = frozenset(
    ("__pycache__", "test", "tests", "testing", "_vendor", "vendor", "site-packages", "dist-packages", "f2py")
    + ("idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "distutils")
)
SKIPPED_PREFIXES = ("_sysconfigdata", "sitecustomize", "config-", "test_")


@dataclass(frozen=True)
class Package:
    """An installed package: its name, its version and the folders that hold its sources."""

    name: str
    version: str
    folders: tuple[Path, ...]


def installed_packages() -> list[Package]:
    """Return the standard library and those of `DISTRIBUTIONS` that are installed, in corpus order."""
    standard = Package(STANDARD_LIBRARY, platform.python_version(), (Path(sysconfig.get_path("stdlib")),))
    found = (_find(distribution, folder) for distribution, folder in DISTRIBUTIONS)
    return [standard, *(package for package in found if package is not None)]


def source_files(package: Package) -> list[tuple[str, Path]]:
    """Return (path relative to the package, path) of its `.py` files, in an order that no machine changes."""
    files: dict[str, Path] = {}
    for folder in package.folders:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).parts
            if not any(part in SKIPPED_FOLDERS or part.startswith(SKIPPED_PREFIXES) for part in parts):
                files.setdefault("/".join(parts), path)
    return sorted(files.items())


def documentation_strings(source: bytes) -> list[str]:
    """Return the documentation in a Python source file, in source order.

    Documentation is: strings that stand alone as statements (docstrings of modules, classes, functions and
    attributes), strings in assignments to a name that says so (`_DESCRIPTION`, `topics`), and those handed to
    NumPy's `add_newdoc`. Sources that this Python cannot parse have none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Invalid escapes in other people's strings.
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(_strings_of_body(tree.body))


def _find(distribution: str, folder: str) -> Package | None:
    top, *rest = folder.split("/")
    try:
        version = importlib.metadata.version(distribution)
        spec = importlib.util.find_spec(top)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    locations = spec.submodule_search_locations if spec else None
    folders = tuple(Path(location, *rest) for location in locations or ())
    folders = tuple(sorted(path for path in folders if path.is_dir()))
    return Package(distribution, version, folders) if folders else None


def _strings_of_body(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text
            case ast.ClassDef():
                yield from _strings_of_body(statement.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _strings_of_body(statement.body[:1])  # The docstring; code below has none.
            case ast.Expr(value=ast.Call() as call) if _called_name(call) in {
                "add_newdoc",
                "_add_newdoc_ufunc",
            }:
                yield from _constants(call)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _names_documentation(name):
                yield from _constants(value)
            case ast.If() | ast.Try() | ast.With():
                yield from _strings_of_body(statement.body)
                yield from _strings_of_body(getattr(statement, "orelse", []))


def _called_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _names_documentation(name: str) -> bool:
    lowered = name.lower()
    return "doc" in lowered or "description" in lowered or lowered == "topics"


def _constants(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
