"""Reading a pickle as plain values, without running anything: an interpreter for pickle's instructions.

Python's own unpickler calls whatever a pickle names. Even if only harmless names are allowed, it hashes and compares
what the pickle built: forty nested tuples, each with two references to the one before, are a key that takes years to
hash. Here a name stands for what the caller says, a dictionary accepts only keys that are cheap to hash, and the size
of the pickle is bounded before its first instruction is executed. "Inert" means that nothing in the pickle can act.
"""

import io
import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, NamedTuple

# The pickle of a state dict of a thousand tensors has 100 kB.
MAX_BYTES = 16 << 20

_INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_FLOATS = {"FLOAT", "BINFLOAT"}
_TEXTS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_OLD_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}
_PLAIN = (str, bytes, bool, int, float, list, dict, tuple, type(None))
# Integers are their own hash, so a file could choose ones that collide; these are too small for that.
_LARGEST_KEY = 1 << 31


class OtherKey:
    """Stands for a key that is neither text nor a small number."""


class _Global(NamedTuple):
    """A name in the pickle, and what the caller says it stands for."""

    meaning: Any


class _Mark:
    """Marks where the arguments of an instruction begin on the stack."""


def read_pickle(
    file: BinaryIO, find_global: Callable[[str, str], Any], persistent_load: Callable[[Any], Any]
) -> tuple[Any, int]:
    """Return the next pickle of a file, and the number of its bytes; what follows is not read.

    Args:
        file: at the beginning of the pickle.
        find_global: what a name (module, name) stands for; it may raise. A number in place of a name has no module.
        persistent_load: what a reference to something outside the pickle stands for; it may raise.

    Raises:
        Exception: of any kind, if it is not a pickle, not a whole one, or larger than `MAX_BYTES`.
    """
    content = io.BytesIO(file.read(MAX_BYTES))
    machine = _Machine(find_global, persistent_load)
    for opcode, argument, _ in pickletools.genops(content):
        machine.execute(opcode.name, argument)
    return machine.result(), content.tell()


class _Machine:
    """The stack and the memo of the pickle machine."""

    def __init__(self, find_global: Callable[[str, str], Any], persistent_load: Callable[[Any], Any]):
        self._find_global, self._persistent_load = find_global, persistent_load
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the value that is left when the pickle has stopped."""
        (value,) = self._stack
        return _value_of(value)

    def execute(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        stack = self._stack
        if name in _INTEGERS or name in _FLOATS or name in _TEXTS or name in _BYTES:
            stack.append(argument)
        elif name in _OLD_TEXTS:  # Python 2 wrote names as bytes
            stack.append(argument.encode("latin-1").decode("utf-8"))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self._memo[int(argument)] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[int(argument)])
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(map(_value_of, self._last(count)))]
        elif name in _EXTENSIONS:  # names by number, which may be known already from elsewhere
            self._find_global("", f"pickle extension {argument}")
            raise ValueError("a name by its number")
        else:
            getattr(self, f"_{name.lower()}")(argument)

    def _last(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        if len(values) < count or any(value is _Mark for value in values):
            raise ValueError("too little on the stack")
        return values

    def _take(self) -> Any:
        (value,) = self._last(1)
        self._stack.pop()
        return value

    def _to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]

    # The other instructions, each a method with its name in `pickletools`.

    def _proto(self, version: int) -> None:
        if version > 5:
            raise ValueError(f"protocol {version}")

    def _frame(self, _: int) -> None:
        pass

    def _stop(self, _: None) -> None:
        pass

    def _mark(self, _: None) -> None:
        self._stack.append(_Mark)

    def _pop(self, _: None) -> None:
        self._stack.pop()

    def _pop_mark(self, _: None) -> None:
        self._to_mark()

    def _dup(self, _: None) -> None:
        self._stack += self._last(1)

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _empty_list(self, _: None) -> None:
        self._stack.append([])

    def _empty_tuple(self, _: None) -> None:
        self._stack.append(())

    def _empty_dict(self, _: None) -> None:
        self._stack.append({})

    def _list(self, _: None) -> None:
        self._stack.append(list(map(_value_of, self._to_mark())))

    def _tuple(self, _: None) -> None:
        self._stack.append(tuple(map(_value_of, self._to_mark())))

    def _dict(self, _: None) -> None:
        values = self._to_mark()
        self._stack.append({})
        self._set(values)

    # The items of a set are not used; a list needs no hashes.

    def _empty_set(self, _: None) -> None:
        self._stack.append([])

    def _frozenset(self, _: None) -> None:
        self._list(None)

    def _additems(self, _: None) -> None:
        self._extend(self._to_mark())

    def _append(self, _: None) -> None:
        self._extend([self._take()])

    def _appends(self, _: None) -> None:
        self._extend(self._to_mark())

    def _setitem(self, _: None) -> None:
        values = self._last(2)
        del self._stack[-2:]
        self._set(values)

    def _setitems(self, _: None) -> None:
        self._set(self._to_mark())

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(_Global(self._find_global(module, name)))

    def _stack_global(self, _: None) -> None:
        module, name = self._last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        self._stack[-2:] = [_Global(self._find_global(module, name))]

    def _persid(self, argument: str) -> None:
        self._stack.append(self._persistent_load(argument))

    def _binpersid(self, _: None) -> None:
        self._stack.append(self._persistent_load(_value_of(self._take())))

    def _reduce(self, _: None) -> None:
        function, arguments = self._last(2)
        self._stack[-2:] = [_call(function, arguments)]

    def _newobj(self, _: None) -> None:
        function, arguments = self._last(2)
        if not isinstance(_value_of(function), type):
            raise ValueError("an object of something that is no class")
        self._stack[-2:] = [_call(function, arguments)]

    def _newobj_ex(self, _: None) -> None:
        self._take()  # the keyword arguments, which are not used
        self._newobj(None)

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(_call(_Global(self._find_global(module, name)), tuple(self._to_mark())))

    def _obj(self, _: None) -> None:
        function, *arguments = self._to_mark()
        self._stack.append(_call(function, tuple(arguments)))

    def _build(self, _: None) -> None:
        self._take()  # the attributes of an object, which are not used
        if isinstance(self._last(1)[0], tuple):
            raise ValueError("attributes of something that has none")

    def _set(self, values: list[Any]) -> None:
        (target,) = self._last(1)
        if isinstance(target, dict):
            target.update((checked_key(key), _value_of(value)) for key, value in _pairs(values))
        elif isinstance(target, _PLAIN):
            raise ValueError("items of something that has none")

    def _extend(self, values: list[Any]) -> None:
        (target,) = self._last(1)
        if isinstance(target, list):
            target += map(_value_of, values)
        elif isinstance(target, _PLAIN):
            raise ValueError("items of something that has none")


def _value_of(value: Any) -> Any:
    return value.meaning if isinstance(value, _Global) else value


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise ValueError("a call of something that is no name")
    return function.meaning(*map(_value_of, arguments))


def _pairs(values: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)


def checked_key(key: Any) -> Any:
    """Return the key, or if its hash is expensive or could collide, an object that stands for it."""
    plain = isinstance(key, str | bytes | bool | float | None)
    small = type(key) is int and -_LARGEST_KEY < key < _LARGEST_KEY
    return key if plain or small else OtherKey()
