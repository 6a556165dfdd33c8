"""What devices send to each other in a step, read from the compiled program."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from electra_jax.planning.hlo import Executed, Module, executed

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """One collective operation of the program.

    kind: one of `KINDS`.
    operand_bytes: what a device puts in, each time.
    devices: how many take part together.
    times: how often it runs in a step.
    arrays: types and shapes that go in, such as "f32[512,96]"; many are cut short.
    operation: the part of the model it comes from, as far as the compiler knows.
    """

    kind: str
    operand_bytes: float
    devices: int
    times: int
    arrays: str
    operation: str

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


def find_collectives(module: Module, devices: int) -> list[Collective]:
    """All collectives of a program over ``devices``, largest traffic first; those of one device alone are none.

    A TPU program may hold one collective in several pieces, fused with computations it overlaps with; they share a
    channel and count once. An all-reduce of which each device keeps only its slice is a reduce-scatter.
    """
    found: list[Collective] = []
    channels: set[str] = set()
    for step in executed(module):
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
    operands = [array for operand in step.computation.operands(instruction) for array in operand.arrays]
    names = [f"{a.dtype}[{','.join(map(str, a.shape))}]" for a in sorted(operands, key=lambda a: -a.bytes)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    operation = re.search(r'op_name="([^"]*)"', instruction.attributes)
    return Collective(
        kind=kind,
        operand_bytes=sum(array.bytes for array in operands),
        devices=2 if kind == "collective-permute" else group_size(instruction.attributes, devices),
        times=step.times,
        arrays=", ".join(names[:3]) + more,
        operation=operation[1].removeprefix("jit(train_step)/") if operation else "",
    )


def group_size(attributes: str, devices: int) -> int:
    """How many devices take part together, from ``replica_groups`` in any of its three notations."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(listed[1].split(","))
    if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes):
        return int(tiled[1])
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", named[2]))
    return devices


def merge(collectives: Iterable[Collective]) -> list[Collective]:
    """Collectives of the same kind, group and arrays added up: ``times`` is that of all together."""
    merged: dict[tuple[object, ...], Collective] = {}
    for one in collectives:
        key = one.kind, one.devices, one.arrays, one.operand_bytes
        seen = merged.get(key)
        merged[key] = replace(one, times=one.times + seen.times) if seen else one
    return sorted(merged.values(), key=lambda c: -c.sent_bytes)
