"""Bytes that a device's main memory gives and takes in a step, estimated from the compiled program.

Every operation that is not inside a fusion reads its operands and writes its result once; what the compiler keeps in
the chip's own memory (a memory space other than 0) does not count, and of an array that is sliced or gathered from,
or updated in place, only the slice counts. Caches, padding and re-reading by a single operation are not known.
"""

from electra_jax.planning.hlo import Array, Computation, Instruction, Module, executed

# Names, views and control, which move nothing themselves; what they control is counted inside.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all",
    "partition-id", "replica-id", "opt-barrier", "async-start", "async-update", "async-done", "domain",
}  # fmt: skip
_SLICING = {"dynamic-slice", "gather", "slice"}
_VIEWS = {"bitcast", "copy", "convert", "reshape"}


def memory_bytes(module: Module) -> float:
    """Return the bytes read from and written to main memory by one device in one run of the program."""
    total = 0.0
    for step in executed(module):
        if not step.fused and step.instruction.opcode not in _FREE:
            total += step.times * _traffic(module, step.computation, step.instruction)
    return total


def _traffic(module: Module, computation: Computation, instruction: Instruction) -> float:
    if instruction.opcode.endswith("-done"):
        return 0.0
    operands = computation.operands(instruction)
    if instruction.opcode == "fusion":
        called = instruction.called("calls")
        if called and called[0] in module.computations:
            return _fusion_traffic(module, module.computations[called[0]], instruction, operands)
    written = _written(computation, instruction)
    if instruction.opcode.removesuffix("-start") in _SLICING:
        return _main_memory_bytes(
            operands[0].arrays and (_resized(operands[0].arrays[0], written[0]),)
        ) + _main_memory_bytes(written)
    if instruction.opcode == "dynamic-update-slice":
        return 2 * _main_memory_bytes((_resized(written[0], operands[1].arrays[0]),))
    return sum(_main_memory_bytes(operand.arrays) for operand in operands) + _main_memory_bytes(written)


def _written(computation: Computation, instruction: Instruction) -> tuple[Array, ...]:
    """Return what an instruction writes; for one that only starts something, what its -done gives.

    The arrays of a -start are a mixture of what it reads, what it writes and what it remembers, in an order of its own.
    """
    if instruction.opcode == "send":  # its result is a name for what it read
        return ()
    stem = instruction.opcode.removesuffix("-start")
    if stem == instruction.opcode:
        return instruction.arrays
    done = next((user for user in computation.users(instruction.name) if user.opcode == f"{stem}-done"), None)
    return instruction.arrays[:1] if done is None else done.arrays


def _fusion_traffic(
    module: Module, fused: Computation, fusion: Instruction, operands: list[Instruction]
) -> float:
    total = sum(
        _share_read(module, fused, number) * _main_memory_bytes(operand.arrays)
        for number, operand in enumerate(operands)
    )
    results = _results(fused)
    if len(results) != len(fusion.arrays):
        return total + _main_memory_bytes(fusion.arrays)
    return total + sum(
        _share_written(module, fused, result) * _main_memory_bytes((array,))
        for result, array in zip(results, fusion.arrays)
    )


def _results(fused: Computation) -> list[Instruction]:
    root = fused.root
    return fused.operands(root) if root.opcode == "tuple" else [root]


def _share_read(module: Module, fused: Computation, number: int) -> float:
    """Return the share of a parameter that a fusion reads: less than 1 if it only slices or updates it."""
    for instruction in fused.instructions.values():
        if instruction.opcode == "parameter" and instruction.attributes.startswith(f"({number})"):
            return _share_used(module, fused, instruction)
    return 1.0


def _share_used(module: Module, fused: Computation, value: Instruction) -> float:
    if not value.bytes or value.is_root:
        return 1.0
    used = 0.0
    for user in fused.users(value.name):
        if user.opcode in _SLICING and user.operands[0] == value.name:
            used += user.bytes / value.bytes
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
            continue
        elif user.opcode in _VIEWS:
            used += _share_used(module, fused, user)
        elif user.opcode == "fusion" and (called := user.called("calls")):
            inner = module.computations[called[0]]
            numbers = [i for i, name in enumerate(user.operands) if name == value.name]
            used += sum(_share_read(module, inner, number) for number in numbers)
        else:
            return 1.0
    return min(1.0, used)


def _share_written(module: Module, fused: Computation, result: Instruction) -> float:
    while result.opcode in _VIEWS and fused.operands(result):
        result = fused.operands(result)[0]
    if result.opcode == "fusion" and (called := result.called("calls")):
        inner = module.computations[called[0]]
        results = _results(inner)
        return _share_written(module, inner, results[0]) if len(results) == 1 else 1.0
    if result.opcode != "dynamic-update-slice" or not result.bytes:
        return 1.0
    return fused.operands(result)[1].bytes / result.bytes


def _main_memory_bytes(arrays: tuple[Array, ...]) -> float:
    return sum(array.bytes for array in arrays if array.space == 0)


def _resized(array: Array, size_of: Array) -> Array:
    """Return an array in the memory of ``array`` and of the size of another."""
    return Array(array.dtype, size_of.shape, array.space)
