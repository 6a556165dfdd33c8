"""The plan of one configuration on one machine: its figures, as values, as JSON and as a page of text."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.objectives import build_objective
from electra_jax.partitioning.mesh import check_batch, make_mesh
from electra_jax.planning.collectives import Collective, find_collectives, merge
from electra_jax.planning.compiling import CompiledStep, compile_step, tokenizer_for_plan
from electra_jax.planning.hlo import executed, parse_hlo
from electra_jax.planning.machine import Machine
from electra_jax.planning.memory_traffic import memory_bytes
from electra_jax.planning.roofline import Roofline, Speeds, StepCost, roofline
from electra_jax.runtime.chips import peak_flops
from electra_jax.training.flops import train_step_flops


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it runs. Bytes are those of one device, FLOPs those of all.

    Attributes:
        machine: its name.
        devices: how many it has.
        chip: the name of one, None where nothing is published of it.
        mesh: sizes of data, fsdp and tensor.
        batch_size: rows of a step.
        microbatches: into which a step is split.
        length: tokens of a row.
        steps: of the whole run.
        memory: bytes by kind; temporaries None where the compiler did not say.
        capacity: bytes of a device's memory, None where they are not known.
        why_not: why it does not fit, in the compiler's words where it refuses; None if nothing says that it does not.
        model_flops: that the model needs in a step.
        hardware_flops: that the compiled step computes, recomputation included.
        work: what a device does in a step; None if it does not fit.
        collectives: what is sent, largest first; None where the compiled program cannot be read.
        times: None if it does not fit, or nothing is published of these devices.
        peak_flops: FLOP/s of one device, None where they are not known.
        compile_seconds: that compiling took.
        assumptions: sentences on what the figures rest on.
    """

    machine: str
    devices: int
    chip: str | None
    mesh: dict[str, int]
    batch_size: int
    microbatches: int
    length: int
    steps: int
    memory: dict[str, float | None]
    capacity: float | None
    why_not: str | None
    model_flops: float
    hardware_flops: float
    work: StepCost | None
    collectives: list[Collective] | None
    times: Roofline | None
    peak_flops: float | None
    compile_seconds: float
    assumptions: list[str]

    @property
    def fits(self) -> bool:
        """Whether the step was compiled and needs no more memory than is known to be there."""
        return self.why_not is None

    def rates(self, seconds: float) -> dict[str, float]:
        """Return what follows from a step of ``seconds``: tokens/s, MFU, hours and chip-hours of all steps."""
        hours = seconds * self.steps / 3600
        return {
            "seconds_a_step": seconds,
            "tokens_per_second": self.batch_size * self.length / seconds,
            "model_flops_utilization": self.model_flops
            / seconds
            / self.devices
            / (self.peak_flops or math.nan),
            "hours": hours,
            "chip_hours": hours * self.devices,
        }

    def as_json(self) -> dict[str, Any]:
        """Return everything, as plain values."""
        values = asdict(self)
        values["fits"] = self.fits
        if self.times is not None:
            values["times"] |= {"best": self.rates(self.times.best), "worst": self.rates(self.times.worst)}
            values["times"]["bound"] = self.times.bound
        if self.collectives is not None:
            values["collectives"] = [
                asdict(one) | {"full_bytes": one.full_bytes, "sent_bytes": one.sent_bytes}
                for one in self.collectives
            ]
        return values


def make_plan(config: Config, machine: Machine) -> Plan:
    """Compile the step of ``config`` for ``machine`` and read what can be read.

    Raises:
        UserError: mesh, batch or parameters do not go with the number of devices.
    """
    mesh = make_mesh(config.mesh, machine.devices)
    check_batch(config.train, config.model, mesh)
    tokenizer = tokenizer_for_plan(config.tokenizer)
    model_flops = train_step_flops(
        build_objective(config, tokenizer, machine.devices[0].platform),
        config.train.batch_size,
        config.data.sequence_length,
    )
    compiled = compile_step(config, tokenizer, mesh)
    devices = len(machine.devices)
    # Kernels written by hand hide their products from the count; the model's own are done at least.
    hardware_flops = max(model_flops, compiled.product_flops)
    work: StepCost | None = None
    collectives: list[Collective] | None = None
    assumptions: list[str] = []
    memory = {
        "parameters": compiled.parameters,
        "optimizer": compiled.optimizer,
        "other state": compiled.other,
        "batch": compiled.batch,
        "temporaries": compiled.temporaries,
        "program": compiled.program,
    }
    capacity = compiled.available or _capacity(machine)
    why_not = compiled.out_of_memory or _excess(machine.devices[0].platform, memory, capacity)
    if why_not is None:
        work, collectives, assumptions = _step_cost(compiled, hardware_flops / devices, machine)
    chip, peak = machine.chip, peak_flops(machine.devices[0])
    times = None
    if work is not None and chip is not None and peak is not None:
        network = chip.outgoing_bandwidth(machine.shape)
        times = roofline(work, Speeds(peak, chip.hbm_bandwidth, network, chip.slices_bandwidth))
        assumptions = [*_published(machine, peak, network), *assumptions]
    return Plan(
        machine=machine.name,
        devices=devices,
        chip=chip.name if chip else None,
        mesh=dict(mesh.shape),
        batch_size=config.train.batch_size,
        microbatches=config.train.accumulation_steps,
        length=config.data.sequence_length,
        steps=config.train.total_steps,
        memory=memory,
        capacity=capacity,
        why_not=why_not,
        model_flops=model_flops,
        hardware_flops=hardware_flops,
        work=work,
        collectives=collectives,
        times=times,
        peak_flops=peak,
        compile_seconds=compiled.seconds,
        assumptions=assumptions,
    )


def _capacity(machine: Machine) -> float | None:
    if machine.chip is not None:
        return machine.chip.hbm_bytes
    stats = machine.devices[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


def _excess(platform: str, memory: Mapping[str, float | None], capacity: float | None) -> str | None:
    """Return that a compiled step needs more memory than there is, None where it does not or nothing is known of it.

    The compiler for TPUs refuses such a step, and knows better what it can do without; those for GPUs and CPUs compile
    it all the same.
    """
    needed = _together(memory)
    if platform == "tpu" or capacity is None or needed <= capacity:
        return None
    return f"the step needs {_bytes(needed)} on each device, which has {_bytes(capacity)}"


def _together(memory: Mapping[str, float | None]) -> float:
    return sum(size for size in memory.values() if size is not None)


def _step_cost(
    compiled: CompiledStep, flops: float, machine: Machine
) -> tuple[StepCost, list[Collective] | None, list[str]]:
    if compiled.text is None:
        moved = compiled.bytes_accessed or 0.0
        return (
            StepCost(flops, moved, 0.0),
            None,
            [
                f"the compiled program cannot be printed for this chip ({compiled.text_error}): collectives are not "
                "known and take no time below; bytes moved are the compiler's count, a loop's body once"
            ],
        )
    module = parse_hlo(compiled.text)
    collectives = merge(
        find_collectives(module, len(machine.devices) // machine.slices, slices=machine.slices)
    )
    between = sum(one.sent_bytes for one in collectives if one.between_slices)
    sent = sum(one.sent_bytes for one in collectives) - between
    notes = [
        "bytes moved: every compiled operation reads its operands from memory and writes its result once (what stays "
        "in the chip does not count); an estimate, as caches and padding are not known",
        "bytes sent: ring algorithms, 2(n-1)/n of what is all-reduced, (n-1)/n of what is gathered or scattered",
    ]
    if unknown := {step.computation.name for step in executed(module) if not step.certain}:
        notes.append(
            f"{len(unknown)} loops whose number of turns cannot be read are counted as one turn each"
        )
    return StepCost(flops, memory_bytes(module), sent, between), collectives, notes


def _published(machine: Machine, peak: float, network: float) -> list[str]:
    chip = machine.chip
    assert chip is not None
    lines = [
        f"matrix products at {peak / 1e12:,.0f} TFLOP/s a device, the 16-bit peak ({chip.source})",
        f"memory at {chip.hbm_bandwidth / 1e9:,.0f} GB/s a device (same source)",
    ]
    if len(machine.devices) > machine.slices and chip.torus_axes:
        lines.append(
            f"network at {network / 1e9:,.0f} GB/s sent by a device: all links that it has in a slice of this shape, "
            f"of {chip.link_bandwidth / 1e9:,.0f} GB/s both ways for all (same source); a collective over a part of "
            "the mesh, or where the slice does not wrap around, gets less"
        )
    elif len(machine.devices) > 1:
        lines.append(f"network at {network / 1e9:,.0f} GB/s sent by a device, NVLink within one host")
    if machine.slices > 1 and chip.slices_bandwidth:
        lines.append(
            f"network between slices at {chip.slices_bandwidth / 1e9:,.3f} GB/s sent by a device, its share of the "
            "data-centre network (same source)"
        )
    elif machine.slices > 1:
        lines.append(
            f"nothing is published of the network between slices of {chip.name}: WHAT IS SENT BETWEEN SLICES TAKES NO "
            "TIME BELOW, not even at worst"
        )
    return [
        *lines,
        "at best everything overlaps and the slowest of the three decides; at worst nothing overlaps; real steps add "
        "what no peak shows, such as products too small to fill the units, so expect more than the best",
    ]


def format_plan(plan: Plan) -> str:
    """Return the plan as a page of text."""
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    rows = plan.batch_size // plan.microbatches // (plan.mesh["data"] * plan.mesh["fsdp"])
    lines = [
        f"{plan.machine}: {plan.devices} devices, mesh {mesh}",
        f"batch {plan.batch_size} x {plan.length} in {plan.microbatches} microbatches, {rows} rows a device each; "
        f"compiled in {plan.compile_seconds:.0f} s",
        "",
        _verdict(plan),
        *_memory_lines(plan),
        "",
        f"model FLOPs a step    {plan.model_flops / 1e12:12,.3f} T ({plan.hardware_flops / 1e12:,.3f} T with what "
        "is recomputed)",
    ]
    if plan.work is not None:
        lines.append(f"bytes moved a device  {_bytes(plan.work.memory_bytes):>14}")
        if plan.collectives is not None:
            within = [one for one in plan.collectives if not one.between_slices]
            between = [one for one in plan.collectives if one.between_slices]
            lines += _collective_lines("bytes sent a device", within, plan.work.sent_bytes)
            if between:
                lines += _collective_lines("to other slices", between, plan.work.slices_bytes)
    if plan.times is not None:
        lines += ["", *_time_lines(plan, plan.times)]
    elif plan.fits:
        lines += ["", "no figures are published for these devices, so the time of a step is not estimated"]
    if plan.assumptions:
        lines += ["", "assumed:", *(f"- {line}" for line in plan.assumptions)]
    return "\n".join(lines)


def _verdict(plan: Plan) -> str:
    if not plan.fits:
        return f"DOES NOT FIT: {plan.why_not}"
    return "fits" if plan.capacity else "compiled; the memory of this device is not known"


def _memory_lines(plan: Plan) -> list[str]:
    lines = [f"  {kind:<12}{_bytes(size):>14}" for kind, size in plan.memory.items() if size is not None]
    of = f" of {_bytes(plan.capacity)}" if plan.capacity else ""
    return ["bytes a device:", *lines, f"  {'together':<12}{_bytes(_together(plan.memory)):>14}{of}"]


def _collective_lines(title: str, collectives: list[Collective], sent: float, shown: int = 8) -> list[str]:
    if not collectives:
        return ["no collectives"]
    lines = [f"{title:<22}{_bytes(sent):>14} in {sum(c.times for c in collectives)} collectives:"]
    for one in collectives[:shown]:
        lines.append(
            f"  {one.kind:<18} {one.times:>4} x {_bytes(one.full_bytes):>10} over {one.devices:>3}  {one.arrays}"
        )
    if rest := collectives[shown:]:
        lines.append(
            f"  and {sum(c.times for c in rest)} smaller, {_bytes(sum(c.sent_bytes for c in rest))} sent"
        )
    return lines


def _time_lines(plan: Plan, times: Roofline) -> list[str]:
    best, worst = plan.rates(times.best), plan.rates(times.worst)
    head = f"{'':<18}{'at best':>14}{'at worst':>14}"
    table = [
        ("step", f"{best['seconds_a_step'] * 1e3:,.2f} ms", f"{worst['seconds_a_step'] * 1e3:,.2f} ms"),
        ("tokens/s", f"{best['tokens_per_second']:,.0f}", f"{worst['tokens_per_second']:,.0f}"),
        ("MFU", f"{best['model_flops_utilization']:.1%}", f"{worst['model_flops_utilization']:.1%}"),
        (f"{plan.steps:,} steps", f"{best['hours']:,.1f} h", f"{worst['hours']:,.1f} h"),
        ("chip-hours", f"{best['chip_hours']:,.0f}", f"{worst['chip_hours']:,.0f}"),
    ]
    between = f", between slices {times.slices * 1e3:,.2f} ms" if times.slices else ""
    parts = (
        f"products {times.compute * 1e3:,.2f} ms, memory {times.memory * 1e3:,.2f} ms, "
        f"network {times.network * 1e3:,.2f} ms{between}: bound by {times.bound}"
    )
    return [head, *(f"{name:<18}{low:>14}{high:>14}" for name, low, high in table), parts]


def _bytes(size: float) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:,.2f} {unit}"
    return f"{size:.0f} B"
