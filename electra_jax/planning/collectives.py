"""What devices send to each other in a step, read from the compiled program."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from electra_jax.errors import listed
from electra_jax.planning.hlo import Array, Executed, Instruction, Module, executed

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """One collective operation of the program.

    Attributes:
        kind: one of `KINDS`.
        operand_bytes: what a device puts in, each time.
        devices: how many take part together.
        times: how often it runs in a step.
        arrays: types and shapes that go in, such as "f32[512,96]"; many are cut short.
        operation: the part of the model it comes from, as far as the compiler knows.
        between_slices: whether it goes over the slower network between slices, where ``devices`` counts one of each.
    """

    kind: str
    operand_bytes: float
    devices: int
    times: int
    arrays: str
    operation: str
    between_slices: bool = False

    @property
    def sent_bytes(self) -> float:
        """Bytes that a device sends in a step, by the ring algorithms."""
        n = self.devices
        factor = {
            "all-reduce": 2 * (n - 1) / n,
            "all-gather": n - 1,
            "reduce-scatter": (n - 1) / n,
            "all-to-all": (n - 1) / n,
            "collective-permute": 1,
        }[self.kind]
        return self.times * factor * self.operand_bytes

    @property
    def full_bytes(self) -> float:
        """Size of what is reduced, gathered or exchanged as a whole, each time: the gathered array, not a piece."""
        return self.operand_bytes * (self.devices if self.kind == "all-gather" else 1)


def find_collectives(module: Module, devices: int, slices: int = 1) -> list[Collective]:
    """Return all collectives of a program over ``devices`` in each of ``slices``, largest traffic first.

    An operation with one device alone is left out.

    A TPU program may hold one collective in several pieces, fused with computations it overlaps with; they share a
    channel and count once. An all-reduce of which each device keeps only its slice is a reduce-scatter. What goes to
    other slices is a send that says which collective it is a part of; within a slice the rest of it is another one.
    """
    found: list[Collective] = []
    channels: set[str] = set()
    for step in executed(module):
        if step.instruction.opcode == "send":
            if (between := _between_slices(step, slices)) is not None:
                found.append(between)
            continue
        kind = step.instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        if step.fused and (channel := re.search(r"channel_id=(\d+)", step.instruction.attributes)):
            if channel[1] in channels:
                continue
            channels.add(channel[1])
        collective = _collective(kind, step, devices)
        if collective.devices > 1:
            found.append(collective)
    return sorted(found, key=lambda c: -c.sent_bytes)


def _collective(kind: str, step: Executed, devices: int) -> Collective:
    instruction = step.instruction
    if kind == "all-reduce" and step.fused and step.computation.name.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"
    operands = _operands(step)
    return Collective(
        kind=kind,
        operand_bytes=sum(array.bytes for array in operands),
        devices=2 if kind == "collective-permute" else group_size(instruction.attributes, devices),
        times=step.times,
        arrays=_names(operands),
        operation=_operation(instruction),
    )


# As libtpu calls what goes between slices ("megascale").
_BETWEEN = {
    "ALL_REDUCE": "all-reduce",
    "ALL_GATHER": "all-gather",
    "REDUCE_SCATTER": "reduce-scatter",
    "ALL_TO_ALL": "all-to-all",
}


def _between_slices(step: Executed, slices: int) -> Collective | None:
    """Return the collective that a send is the part between slices of; None for a send of another kind.

    Anything but the known kinds counts as sent once, as from neighbour to neighbour.
    """
    attributes = step.instruction.attributes
    said = re.search(r'_xla_megascale_transfer_type="(\w+)"', attributes)
    if said is None:
        return None
    listed = re.search(r'_xla_megascale_target="\{([\d,]+)\}', attributes)
    kind = _BETWEEN.get(said[1], "collective-permute")
    operands = _operands(step)
    return Collective(
        kind=kind,
        operand_bytes=sum(array.bytes for array in operands),
        devices=2 if kind == "collective-permute" else len(listed[1].split(",")) if listed else slices,
        times=step.times,
        arrays=_names(operands),
        operation=_operation(step.instruction),
        between_slices=True,
    )


def _operands(step: Executed) -> list[Array]:
    """Return the arrays that go in; tokens, which order what is done, are left out."""
    operands = step.computation.operands(step.instruction)
    return [array for operand in operands for array in operand.arrays if array.dtype != "token"]


def _names(operands: list[Array]) -> str:
    names = [f"{a.dtype}[{','.join(map(str, a.shape))}]" for a in sorted(operands, key=lambda a: -a.bytes)]
    return listed(names, limit=3)


def _operation(instruction: Instruction) -> str:
    said = re.search(r'op_name="([^"]*)"', instruction.attributes)
    return said[1].removeprefix("jit(train_step)/") if said else ""


def group_size(attributes: str, devices: int) -> int:
    """Return how many devices take part together, from ``replica_groups`` in any of its three notations."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(listed[1].split(","))
    if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes):
        return int(tiled[1])
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", named[2]))
    return devices


def merge(collectives: Iterable[Collective]) -> list[Collective]:
    """Add up collectives of the same kind, network, group and arrays: ``times`` is that of all together."""
    merged: dict[tuple[object, ...], Collective] = {}
    for one in collectives:
        key = one.kind, one.devices, one.arrays, one.operand_bytes, one.between_slices
        seen = merged.get(key)
        merged[key] = replace(one, times=one.times + seen.times) if seen else one
    return sorted(merged.values(), key=lambda c: -c.sent_bytes)
