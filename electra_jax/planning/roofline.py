"""Seconds of a step from what it does and what the chip can do (Williams et al. 2009), between two bounds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What one device does in a step.

    flops: of matrix products.
    memory_bytes: read from and written to its main memory.
    sent_bytes: sent to other devices.
    """

    flops: float
    memory_bytes: float
    sent_bytes: float


@dataclass(frozen=True)
class Speeds:
    """What one device can do at most: FLOP/s, bytes/s of memory, bytes/s sent."""

    flops: float
    memory: float
    network: float


@dataclass(frozen=True)
class Roofline:
    """Seconds that each part of a step takes at least."""

    compute: float
    memory: float
    network: float

    @property
    def best(self) -> float:
        """Everything overlaps with everything: the slowest part alone."""
        return max(self.compute, self.memory, self.network)

    @property
    def worst(self) -> float:
        """Nothing overlaps, each part still at its published speed."""
        return self.compute + self.memory + self.network

    @property
    def bound(self) -> str:
        """Which part is the slowest."""
        parts = {
            "matrix products": self.compute,
            "memory bandwidth": self.memory,
            "network": self.network,
        }
        return max(parts, key=lambda name: parts[name])


def roofline(work: Work, speeds: Speeds) -> Roofline:
    """Each part at its full speed; what is not sent needs no network."""
    return Roofline(
        compute=work.flops / speeds.flops,
        memory=work.memory_bytes / speeds.memory,
        network=work.sent_bytes / speeds.network if work.sent_bytes else 0.0,
    )
