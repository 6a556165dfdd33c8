"""Trying meshes and microbatches on one machine, and ranking them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.planning.report import Plan


@dataclass(frozen=True)
class Candidate:
    """One way to lay a run over the devices."""

    data: int
    fsdp: int
    tensor: int
    microbatches: int

    def __str__(self) -> str:
        return (
            f"mesh.data={self.data} mesh.fsdp={self.fsdp} mesh.tensor={self.tensor} "
            f"train.accumulation_steps={self.microbatches}"
        )


@dataclass(frozen=True)
class SweepResult:
    """What became of the candidates.

    Attributes:
        plans: of those that were tried, fastest first and those that do not fit last.
        skipped: those that were left out, and why.
    """

    plans: list[tuple[Candidate, Plan]]
    skipped: list[tuple[Candidate, str]]


MAX_TENSOR = 8
MAX_MICROBATCHES = 16


def candidates(batch_size: int, devices: int) -> list[Candidate]:
    """Return all factorizations of ``devices`` into data, fsdp and tensor, each with 1, 2, 4, … microbatches.

    Simple ones come first, few microbatches before many. Microbatches must divide the batch evenly over the devices.
    """
    meshes = [
        (devices // fsdp // tensor, fsdp, tensor)
        for tensor in _divisors(devices)
        for fsdp in _divisors(devices // tensor)
        if tensor <= MAX_TENSOR
    ]
    # Data alone, then fsdp over everything, then what is between; tensor parallelism sends most and comes last.
    meshes.sort(key=lambda mesh: (mesh[2], mesh[1] > 1, mesh[0] > 1, mesh[1]))
    counts = [n for n in (2**power for power in range(5)) if n <= MAX_MICROBATCHES]
    return [
        Candidate(*mesh, pieces)
        for pieces in counts
        for mesh in meshes
        if batch_size % (pieces * mesh[0] * mesh[1]) == 0
    ]


def _divisors(n: int) -> Iterator[int]:
    return (d for d in range(1, n + 1) if n % d == 0)


def apply(config: Config, candidate: Candidate) -> Config:
    """Return the configuration with the mesh and the number of microbatches of a candidate."""
    mesh = config.mesh.model_copy(
        update={"data": candidate.data, "fsdp": candidate.fsdp, "tensor": candidate.tensor}
    )
    train = config.train.model_copy(update={"accumulation_steps": candidate.microbatches})
    return config.model_copy(update={"mesh": mesh, "train": train})


def sweep(
    config: Config,
    devices: int,
    plan: Callable[[Config], Plan],
    *,
    limit: int,
    report: Callable[[str], None],
) -> SweepResult:
    """Plan at most ``limit`` candidates; a mesh that fits is not tried with more microbatches, which only cost time.

    Args:
        config: the run.
        devices: how many there are.
        plan: compiles one configuration.
        limit: most compilations.
        report: called with a line before each compilation.

    Raises:
        UserError: the batch cannot be split over these devices in any way.
    """
    possible = candidates(config.train.batch_size, devices)
    if not possible:
        raise UserError(
            f"train.batch_size {config.train.batch_size} cannot be split evenly over {devices} devices by any mesh: "
            f"use a multiple of {devices}"
        )
    plans: list[tuple[Candidate, Plan]] = []
    skipped: list[tuple[Candidate, str]] = []
    fitting_meshes: set[tuple[int, int, int]] = set()
    for candidate in possible:
        mesh = candidate.data, candidate.fsdp, candidate.tensor
        if mesh in fitting_meshes:
            skipped.append((candidate, "fits with fewer microbatches"))
        elif len(plans) == limit:
            skipped.append((candidate, f"more than {limit} compilations (--limit)"))
        else:
            report(f"{len(plans) + 1}: {candidate}")
            try:
                made = plan(apply(config, candidate))
            except UserError as error:  # such as a dimension that this mesh does not divide
                skipped.append((candidate, str(error)))
                continue
            plans.append((candidate, made))
            if made.fits:
                fitting_meshes.add(mesh)
    return SweepResult(sorted(plans, key=_rank), skipped)


def _rank(pair: tuple[Candidate, Plan]) -> tuple[bool, float, float]:
    """Return the key that sorts plans: those that fit by time at worst, or by memory where no speeds are published."""
    plan = pair[1]
    memory = sum(size for size in plan.memory.values() if size is not None)
    return not plan.fits, plan.times.worst if plan.times else 0.0, memory


def format_sweep(result: SweepResult) -> str:
    """Return a table, the best first, and what was not tried."""
    several = any(plan.work is not None and plan.work.slices_bytes for _, plan in result.plans)
    lines = [
        f"{'data':>5}{'fsdp':>6}{'tensor':>8}{'micro':>7}{'memory':>11}{'sent':>11}"
        + (f"{'to slices':>11}" if several else "")
        + f"{'step at best':>14}{'at worst':>11}"
    ]
    for candidate, plan in result.plans:
        head = f"{candidate.data:>5}{candidate.fsdp:>6}{candidate.tensor:>8}{candidate.microbatches:>7}"
        memory = sum(size for size in plan.memory.values() if size is not None)
        if not plan.fits:
            lines.append(f"{head}{memory / 1e9:>8.2f} GB   does not fit")
            continue
        sent, to_slices = f"{'-':>11}", f"{'-':>11}"
        if plan.work is not None and plan.collectives is not None:
            sent = f"{plan.work.sent_bytes / 1e6:>8,.0f} MB"
            to_slices = f"{plan.work.slices_bytes / 1e6:>8,.0f} MB"
        lines.append(f"{head}{memory / 1e9:>8.2f} GB{sent}{to_slices if several else ''}" + _times(plan))
    reasons: dict[str, list[Candidate]] = {}
    for candidate, reason in result.skipped:
        reasons.setdefault(reason, []).append(candidate)
    for reason, left_out in reasons.items():
        more = f" and {len(left_out) - 1} others" if len(left_out) > 1 else ""
        lines.append(f"not tried: {left_out[0]}{more}: {reason}")
    return "\n".join(lines)


def _times(plan: Plan) -> str:
    if plan.times is None:
        return f"{'-':>14}{'-':>11}"
    return f"{plan.times.best * 1e3:>11,.2f} ms{plan.times.worst * 1e3:>8,.2f} ms"
