"""docs/architecture.md names every module, its table says which package imports which, and it is so."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "electra_jax"
TABLE_HEAD = "| package | owns | may import |\n"
ANYTHING, NOTHING = "anything", "–"


@dataclass(frozen=True)
class Row:
    """A row of the table: the modules or packages it is about, and those they may import."""

    names: tuple[str, ...]
    anything: bool
    allowed: tuple[str, ...]


def rows_of(document: str) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of the table in their order, and what every row may import that is below all of that."""
    everywhere = re.search(r"Every row below them may import ((?:`\w+`(?:, | and )?)+)", document)
    assert everywhere, "docs/architecture.md names no packages that every row may import"
    _, head, table = document.partition(TABLE_HEAD)
    assert head, "docs/architecture.md has no table of packages"
    rows = []
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        packages, _, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        names = tuple(name.rstrip("/") for name in re.findall(r"`([\w./]+)`", packages))
        listed = tuple(re.findall(r"`([\w.]+)`", allowed))
        assert names, line
        assert listed or allowed in (ANYTHING, NOTHING), f"{names[0]}: what is {allowed!r}?"
        rows.append(Row(names, allowed == ANYTHING, listed))
    return rows, tuple(re.findall(r"`(\w+)`", everywhere[1]))


def sources() -> dict[str, str]:
    """The code of every module by its name in the package; ``launch.train`` is beside it."""
    files = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
    found = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[1:] if parts[0] == PACKAGE else parts).removesuffix("__init__").rstrip(".")
        found[name or PACKAGE] = file.read_text(encoding="utf-8")
    return found


def imported_names(code: str) -> Iterator[str]:
    """The dotted names that code imports anywhere: at the top, in functions, for types alone, by importlib."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"an import relative to its own place: from {'.' * level}{module or ''}"
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name))]):
                yield name


def imported_modules(code: str, modules: set[str]) -> set[str]:
    """Those of the package's ``modules`` that code imports."""
    found = set()
    for name in imported_names(code):
        package, _, inside = name.partition(".")
        if package != PACKAGE:
            continue
        while inside and inside not in modules:  # what is imported from a module is no module
            inside = inside.rpartition(".")[0]
        if inside:  # the package itself is imported with every part of it
            found.add(inside)
    return found


def covers(name: str, module: str) -> bool:
    """Whether ``module`` is ``name`` or lies in it."""
    return module == name or module.startswith(f"{name}.")


def row_of(module: str, rows: list[Row]) -> int | None:
    """The number of the row that speaks of a module most exactly; None: no row does."""
    fitting = [(len(name), i) for i, row in enumerate(rows) for name in row.names if covers(name, module)]
    return max(fitting)[1] if fitting else None


def complaints(document: str, code: dict[str, str]) -> list[str]:
    """Every difference between the table and the imports, in words."""
    rows, everywhere = rows_of(document)
    modules = set(code)
    of = {module: row_of(module, rows) for module in modules}
    said = [f"{module} is in no row" for module in sorted(modules) if of[module] is None]
    used: list[set[str]] = [set() for _ in rows]
    last_of_all = max(row_of(name, rows) or 0 for name in everywhere)
    for module in sorted(modules):
        if (number := of[module]) is None:
            continue
        row = rows[number]
        allowed = [*row.allowed, *(everywhere if number > last_of_all else ())]
        for target in sorted(imported_modules(code[module], modules)):
            fitting = {name for name in allowed if covers(name, target)}
            used[number] |= fitting
            if not fitting and of[target] != number and not row.anything:
                said.append(f"{module} imports {target}, which {row.names[0]} may not")
    for number, row in enumerate(rows):
        said += [f"{row.names[0]} does not import {name}" for name in row.allowed if name not in used[number]]
        said += [
            f"{row.names[0]} may import {name}, which is not in a row above it"
            for name in row.allowed
            if (above := row_of(name, rows)) is None or above >= number
        ]
        said += [
            f"{name} is a row and nothing else"
            for name in row.names
            if not any(covers(name, module) for module in modules)
        ]
    return said


DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_table_is_what_is_imported():
    said = complaints(DOCUMENT, sources())
    assert not said, "\n".join(["docs/architecture.md and the imports differ:", *said])


EXAMPLE = f"""Every row below them may import `errors`.

{TABLE_HEAD}|---|---|---|
| `errors` | what is said | – |
| `model` | networks | – |
| `data`, `text` | rows | – |
| `train` | a run | `model`, `data.rows` |
| `electra_jax` | all | anything |
"""
CODE = {
    "electra_jax": "import electra_jax.train",
    "errors": "",
    "model": "from electra_jax.errors import UserError",
    "model.layers": "import electra_jax\nfrom electra_jax.model import attention",
    "text": "from electra_jax import data",
    "data": "import jax",
    "data.rows": "from electra_jax.data import rows",
    "train": "from electra_jax.data.rows import read\ndef f():\n    import electra_jax.model.layers",
}


@pytest.mark.parametrize(
    ("table", "module", "code", "complaint"),
    [
        ("", "", "", None),
        (
            "",
            "model.layers",
            "from electra_jax.data import rows",
            "model.layers imports data.rows, which model may not",
        ),
        ("", "model", "import electra_jax.data.rows as r", "model imports data.rows, which model may not"),
        (
            "",
            "model",
            "def f():\n    from electra_jax import data",
            "model imports data, which model may not",
        ),
        (
            *("", "model", "if TYPE_CHECKING:\n    from electra_jax.data.rows import Rows"),
            "model imports data.rows, which model may not",
        ),
        (
            *("", "model", "importlib.import_module('electra_jax.train').f()"),
            "model imports train, which model may not",
        ),
        (
            "",
            "errors",
            "import electra_jax.errors, electra_jax.model",
            "errors imports model, which errors may not",
        ),
        ("", "train", "import electra_jax.model", "train does not import data.rows"),
        (
            *("", "train", CODE["train"] + "\nimport electra_jax.data"),
            "train imports data, which train may not",
        ),
        ("", "new", "", "new is in no row"),
        ("| `gone` | nothing | – |\n", "", "", "gone is a row and nothing else"),
        (
            "| `data.rows` | rows | `train` |\n",
            "",
            "",
            "data.rows may import train, which is not in a row above it",
        ),
    ],
)
def test_a_difference_is_named(table, module, code, complaint):
    document = EXAMPLE.replace("| `train` ", f"{table}| `train` ")
    said = complaints(document, {**CODE, module: code} if module else CODE)
    assert said == [] if complaint is None else complaint in said


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match=r"relative to its own place: from \.\.data"):
        list(imported_names("from ..data import rows"))


def undescribed(document: str, modules: set[str]) -> list[str]:
    """The modules that the section of their package does not name, nor a folder in which they lie."""
    sections = dict(re.findall(r"^### `([\w.]+)/?`[^\n]*\n(.*?)(?=^##|\Z)", document, re.M | re.S))
    missing = []
    for module in sorted(modules):
        package, *inside = module.split(".")
        if package not in sections or not inside:
            continue
        named = set(re.findall(r"`(\w+/?)`", sections[package]))
        if not named & {inside[-1], f"{inside[-1]}/", *(f"{folder}/" for folder in inside[:-1])}:
            missing.append(module)
    return missing


def test_every_module_is_described_in_the_section_of_its_package():
    assert undescribed(DOCUMENT, set(sources())) == []
    example = "### `data`\n- `rows`, `sources/`: both.\n\n### `text`\n- `words`: them.\n"
    modules = {
        "data",
        "data.rows",
        "data.sources.prose",
        "data.words",
        "text.words",
        "text.rows",
        "other.rows",
    }
    assert undescribed(example, modules) == ["data.words", "text.rows"]


# What takes seconds to import, or would touch an accelerator.
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "grain"}


def reached(start: str, code: dict[str, str]) -> set[str]:
    """The modules that are imported with ``start``, the packages that they lie in included."""
    found, left = set(), [start]
    while left:
        module = left.pop()
        if module in found:
            continue
        found.add(module)
        left += imported_modules(code[module], set(code))
        if (package := module.rpartition(".")[0]) in code:
            left.append(package)
    return found


@pytest.mark.parametrize("start", ["prepare", "config.__main__"])
def test_commands_for_machines_without_accelerators_import_no_jax(start):
    code = sources()
    modules = reached(start, code)
    assert len(modules) > 10
    heavy = {
        module: names
        for module in modules
        if (names := {name.partition(".")[0] for name in imported_names(code[module])} & HEAVY)
    }
    assert heavy == {}
