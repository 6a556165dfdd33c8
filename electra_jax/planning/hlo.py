"""Reading the text of a compiled program: its computations, and how often each runs."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_BITS = {
    "pred": 8, "s2": 2, "u2": 2, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32,
    "s64": 64, "u64": 64, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128,
}  # fmt: skip

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"(\w+)\[([\d,<=]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)")


@dataclass(frozen=True)
class Array:
    """Type, shape and memory of one array; ``space`` 0 is the device's main memory."""

    dtype: str
    shape: tuple[int, ...]
    space: int

    @property
    def bytes(self) -> float:
        """Bytes without padding; tokens and the like have none."""
        bits = 8 if self.dtype.startswith("f8") else _BITS.get(self.dtype, 0)
        return math.prod(self.shape) * bits / 8


@dataclass(frozen=True)
class Instruction:
    """One line: ``name = arrays opcode(operands), attributes``; a tuple is the list of its arrays."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    @property
    def bytes(self) -> float:
        """Bytes of all its arrays."""
        return sum(array.bytes for array in self.arrays)

    def called(self, role: str) -> list[str]:
        """Return the names of the computations that it calls in this role: ``calls``, ``body``, ``condition``."""
        names = [name for kind, name in _CALLED.findall(self.attributes) if kind == role]
        return [one.strip().lstrip("%") for name in names for one in name.strip("{}").split(",")]


@dataclass
class Computation:
    """A named list of instructions."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        """The instruction whose value it returns."""
        return next(i for i in self.instructions.values() if i.is_root)

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """Return the instructions that another one reads."""
        return [self.instructions[name] for name in instruction.operands if name in self.instructions]

    def users(self, name: str) -> list[Instruction]:
        """Return the instructions that read ``name``."""
        return [i for i in self.instructions.values() if name in i.operands]


@dataclass(frozen=True)
class Module:
    """A whole program: its computations by name, and which of them it starts with."""

    computations: dict[str, Computation]
    entry: str


@dataclass(frozen=True)
class Executed:
    """An instruction, where it stands, and how often it runs in one run of the program.

    Attributes:
        computation: where it stands.
        instruction: itself.
        times: how often it runs.
        fused: it is part of a fusion, so what it reads and writes stays inside the chip.
        certain: no loop around it has an unknown number of turns (those count as one turn).
    """

    instruction: Instruction
    computation: Computation
    times: int
    fused: bool
    certain: bool


def parse_hlo(text: str) -> Module:
    """Return the computations in ``text``, as a compiled program's ``as_text()`` has them."""
    computations: dict[str, Computation] = {}
    entry = ""
    current: Computation | None = None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = computations[header[2]] = Computation(header[2])
            entry = header[2] if header[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[2], found[3], bool(found[1]))
            if instruction is not None:
                current.instructions[instruction.name] = instruction
    return Module(computations, entry)


def _instruction(name: str, rest: str, is_root: bool) -> Instruction | None:
    rest = re.sub(r"/\*.*?\*/", "", rest)
    end = _type_end(rest)
    opcode = _OPCODE.match(rest[end:])
    if opcode is None:
        return None
    inside, attributes = _arguments(rest[end + opcode.end() :])
    # Some printers repeat each operand's type before its name.
    operands = tuple(_NAME.findall(inside)) if opcode[1] not in ("constant", "parameter") else ()
    if opcode[1] in ("constant", "parameter"):
        attributes = f"({inside}){attributes}"
    return Instruction(name, opcode[1], _arrays(rest[:end]), operands, attributes, is_root)


def _type_end(text: str) -> int:
    """Return where the type, which may be a tuple, ends and the opcode begins."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character == " ":
            return i
    return len(text)


def _arguments(text: str) -> tuple[str, str]:
    """Return what stands before the bracket that closes, and what comes after it."""
    depth = 1
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:i], text[i + 1 :]
    return text, ""


def _arrays(text: str) -> tuple[Array, ...]:
    found = []
    for dtype, shape, layout in _ARRAY.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(int(size.lstrip("<=")) for size in shape.split(",") if size)
        found.append(Array(dtype, sizes, int(space[1]) if space else 0))
    return tuple(found)


def executed(module: Module) -> Iterator[Executed]:
    """Yield every instruction that one run of the program meets, loops and fusions included."""
    yield from _walk(module, module.entry, 1, fused=False, certain=True)


def _walk(module: Module, name: str, times: int, *, fused: bool, certain: bool) -> Iterator[Executed]:
    computation = module.computations[name]
    for instruction in computation.instructions.values():
        yield Executed(instruction, computation, times, fused, certain)
        if instruction.opcode == "while":
            turns = trip_count(module, instruction)
            for body in instruction.called("body"):
                yield from _walk(
                    module, body, times * (turns or 1), fused=fused, certain=certain and turns is not None
                )
            continue
        inside = fused or instruction.opcode == "fusion"
        # What a reduction or a sort applies to each element is no program of its own.
        roles = ("calls", "branch_computations") + (("to_apply",) if instruction.opcode == "call" else ())
        for role in roles:
            for called in instruction.called(role):
                if called in module.computations:
                    yield from _walk(module, called, times, fused=inside, certain=certain)


def trip_count(module: Module, loop: Instruction) -> int | None:
    """Return how often a loop turns: as the compiler notes it, or the one constant its condition compares with.

    Loops of the programs here count from 0 by ones. None if there is no such constant.
    """
    if noted := re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes):
        return int(noted[1])
    constants = set()
    pending = list(loop.called("condition"))
    while pending:
        for instruction in module.computations[pending.pop()].instructions.values():
            pending += instruction.called("calls")
            if instruction.opcode == "constant" and instruction.arrays[0].dtype in ("s32", "s64", "u32"):
                constants |= {int(value) for value in re.findall(r"^\((\d+)\)", instruction.attributes)}
    return constants.pop() if len(constants) == 1 else None
