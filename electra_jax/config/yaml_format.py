"""The YAML that configurations are written in: YAML 1.2's plain values, and no key twice.

PyYAML reads YAML 1.1, in which 1e-4 is a string, 010 is eight, 1:30 is ninety and 2026-01-01 is a date.
"""

import re
from typing import Any

import yaml

from electra_jax.errors import UserError

_PLAIN_VALUES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


MAX_VALUES = 100_000  # that a configuration may hold


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own; none of YAML 1.1's are kept)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes strings which either version of YAML would read as something else."""


for _tag, _pattern, _first in _PLAIN_VALUES:
    for _reader in (_Loader, _Dumper):
        _reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    if len(text) > 400:  # more than any float, and Python itself stops at some thousands
        problem = f"a number of {len(text):,} digits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(text)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            problem = "a key must be a name"
        elif key_node.value in seen:
            problem = f"key {key_node.value!r} is given twice"
        else:
            seen.add(key_node.value)
            continue
        raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Count the values that a node stands for, aliases written out: a few lines of them can stand for billions."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = None  # until its parts are counted
        parts = (part for item in node.value for part in (item if isinstance(item, tuple) else (item,)))
        sizes[id(node)] = 1 + sum(_size(part, sizes) for part in parts)
    size = sizes[id(node)]
    if size is None or size > MAX_VALUES:
        problem = "a value holds itself" if size is None else f"more than {MAX_VALUES:,} values"
        raise yaml.constructor.ConstructorError(None, None, f"{problem}, by its aliases (*)", node.start_mark)
    return size


def parse(text: str, where: str) -> Any:
    """Return the plain values that a YAML text stands for.

    Raises:
        UserError: a syntax error, naming ``where`` and the line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise UserError(f"{where}: not valid YAML: it is nested too deeply") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{where} line {line}: not valid YAML: the character U+{error.character:04X} is not text"
        ) from None
    except yaml.MarkedYAMLError as error:
        at = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{where}{at}: not valid YAML: {error.problem}") from None
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # a value that its explicit tag does not fit
        raise UserError(f"{where}: not valid YAML: {error}") from None


def parse_value(text: str) -> Any:
    """Return one value of a command line, read by the same rules; what is no number, list … is the string itself.

    Unlike in a file, `` #`` and ``: `` have no meaning, so that paths need no second layer of quotes.
    """
    text = text.strip()
    try:
        if text.startswith(("[", "{", '"', "'")):
            return parse(text, "value")
        loader: Any = _Loader("")
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except (UserError, ValueError, yaml.YAMLError):
        return text  # such as the glob [ab]*.txt, or more digits than Python reads


def dump(values: Any) -> str:
    """Return plain values as YAML, keys in their own order; `parse` gives them back."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def show(value: Any, longest: int = 80) -> str:
    """Return a value as it would be written in YAML on one line, for messages."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
