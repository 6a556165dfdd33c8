"""Seconds of a step from what it does and what the chip can do (Williams et al. 2009), between two bounds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCost:
    """What one device does in a step.

    Attributes:
        flops: of matrix products.
        memory_bytes: read from and written to its main memory.
        sent_bytes: sent to other devices of its slice.
        slices_bytes: sent to other slices.
    """

    flops: float
    memory_bytes: float
    sent_bytes: float
    slices_bytes: float = 0.0


@dataclass(frozen=True)
class Speeds:
    """What one device can do at most.

    Attributes:
        flops: FLOP/s.
        memory: bytes/s read from and written to its memory.
        network: bytes/s sent within its slice.
        slices: bytes/s sent to other slices, None where it is not known.
    """

    flops: float
    memory: float
    network: float
    slices: float | None = None


@dataclass(frozen=True)
class Roofline:
    """Seconds that each part of a step takes at least.

    Attributes:
        compute: matrix products.
        memory: reading and writing main memory.
        network: sending within the slice.
        slices: sending to other slices; 0 where that is not known.
    """

    compute: float
    memory: float
    network: float
    slices: float = 0.0

    @property
    def best(self) -> float:
        """Everything overlaps with everything: the slowest part alone."""
        return max(self._parts.values())

    @property
    def worst(self) -> float:
        """Nothing overlaps, each part still at its published speed."""
        return sum(self._parts.values())

    @property
    def bound(self) -> str:
        """Which part is the slowest."""
        return max(self._parts, key=lambda name: self._parts[name])

    @property
    def _parts(self) -> dict[str, float]:
        return {
            "matrix products": self.compute,
            "memory bandwidth": self.memory,
            "network": self.network,
            "network between slices": self.slices,
        }


def roofline(cost: StepCost, speeds: Speeds) -> Roofline:
    """Return the time of each part at its full speed; what is not sent needs no network."""
    return Roofline(
        compute=cost.flops / speeds.flops,
        memory=cost.memory_bytes / speeds.memory,
        network=cost.sent_bytes / speeds.network if cost.sent_bytes else 0.0,
        slices=cost.slices_bytes / speeds.slices if speeds.slices else 0.0,
    )
