"""Published figures of accelerators, the only ones that a share of the peak or an estimate is made from."""

from dataclasses import dataclass

import jax

_TPU = "docs.cloud.google.com/tpu/docs/"


@dataclass(frozen=True)
class Chip:
    """One device as jax counts them, by its vendor's data sheet.

    Attributes:
        name: as a topology is named, or the vendor's name.
        kinds: jax's device_kind, which differs by version.
        peak_flops: FLOP/s in dense products of 16-bit numbers.
        hbm_bytes: capacity of its memory.
        hbm_bandwidth: bytes a second.
        link_bandwidth: bytes a second to its neighbours, out and in added up, over all its links.
        slices_bandwidth: bytes a second that it sends to other slices, through the data-centre network, its share of
            its host's or pod's; None where none is published.
        torus_axes: dimensions of the network of such chips; 0 where any chip reaches any other.
        source: where the figures are published.
    """

    name: str
    kinds: tuple[str, ...]
    peak_flops: float
    hbm_bytes: float
    hbm_bandwidth: float
    link_bandwidth: float
    torus_axes: int
    source: str
    slices_bandwidth: float | None = None

    def outgoing_bandwidth(self, shape: tuple[int, ...]) -> float:
        """Return the bytes a second that a chip can send in a slice of this shape.

        A dimension of 1 has no link, one of 2 has one to the only neighbour, longer ones have two.
        """
        out = self.link_bandwidth / 2
        if not self.torus_axes:
            return out
        links = sum(min(size - 1, 2) for size in shape)
        return out * links / (2 * self.torus_axes)


CHIPS = (
    Chip(
        "v4",
        ("TPU v4",),
        275e12,
        32 * 2**30,
        1200e9,
        600e9,
        3,
        f"{_TPU}v4; links: Jouppi et al. 2023, six of 50 GB/s each way",
    ),
    # Between slices: 6.4 and 25.6 Tbit/s for a pod of 256 chips of v5e and v6e, 50 Gbit/s a chip of v5p.
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 16e9, 819e9, 400e9, 2, f"{_TPU}v5e", 6.4e12 / 8 / 256),
    Chip("v5p", ("TPU v5", "TPU v5p"), 459e12, 95 * 2**30, 2765e9, 1200e9, 3, f"{_TPU}v5p", 50e9 / 8),
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 32e9, 1638e9, 800e9, 2, f"{_TPU}v6e", 25.6e12 / 8 / 256),
    Chip(
        "A100 40GB", ("NVIDIA A100-SXM4-40GB",), 312e12, 40e9, 1555e9, 600e9, 0, "NVIDIA A100 data sheet, SXM"
    ),
    Chip(
        "A100 80GB", ("NVIDIA A100-SXM4-80GB",), 312e12, 80e9, 2039e9, 600e9, 0, "NVIDIA A100 data sheet, SXM"
    ),
    Chip("H100", ("NVIDIA H100 80GB HBM3",), 989e12, 80e9, 3350e9, 900e9, 0, "NVIDIA H100 data sheet, SXM"),
    Chip("H200", ("NVIDIA H200",), 989e12, 141e9, 4800e9, 900e9, 0, "NVIDIA H200 data sheet, SXM"),
)

TPU_CHIPS = {chip.name: chip for chip in CHIPS if chip.torus_axes}

# Peaks by the first words of a device_kind, which other chips have too: of those, nothing else is known here.
_PEAKS = {
    **{kind: chip.peak_flops for chip in CHIPS for kind in chip.kinds},
    "TPU7x": 2307e12 / 2,  # such a chip is two devices
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 1671e12 / 2,  # published for products with half of the numbers zero
    "NVIDIA H200 NVL": 1671e12 / 2,
    "NVIDIA L4": 121e12,
    "NVIDIA L40": 181e12,
    "NVIDIA L40S": 362e12,
    "Tesla V100": 125e12,
    "Tesla T4": 65e12,
}


def chip_of(device: jax.Device) -> Chip | None:
    """Return the figures of a device, None where they are not all known (CPUs among them)."""
    return next((chip for chip in CHIPS if device.device_kind in chip.kinds), None)


def peak_flops(device: jax.Device) -> float | None:
    """Return the peak of one device in dense 16-bit products, in FLOP/s.

    None where it is not known, as for CPUs and parts of a GPU (MIG).
    """
    kind = device.device_kind
    if " MIG " in kind:
        return None
    matches = [name for name in _PEAKS if kind == name or kind.startswith((f"{name} ", f"{name}-"))]
    return _PEAKS[max(matches, key=len)] if matches else None
