"""The devices a plan is for: those of a named TPU topology, or those that are here."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from electra_jax.errors import UserError
from electra_jax.runtime.chips import TPU_CHIPS, Chip, chip_of


@dataclass(frozen=True)
class Machine:
    """Devices and what is known of them.

    Attributes:
        name: the topology's and how many of it, or the kind of the local devices.
        devices: themselves.
        chip: published figures, None where there are none.
        shape: chips along each axis of the network of one slice; () where any chip reaches any other.
        slices: how many of that shape, joined by a slower network.
    """

    name: str
    devices: tuple[jax.Device, ...]
    chip: Chip | None
    shape: tuple[int, ...]
    slices: int = 1


def parse_topology(name: str) -> tuple[str, tuple[int, ...]]:
    """Return chip and shape of a topology's name: ``v5e:4x4`` → ("v5e", (4, 4)).

    Raises:
        UserError: another form, an unknown chip, or a shape that such chips are not wired in.
    """
    known = ", ".join(TPU_CHIPS)
    written = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)*)", name)
    if written is None:
        raise UserError(f"--topology {name} is not of the form CHIP:AxB, such as v5e:4x4 (chips: {known})")
    chip, shape = written[1], tuple(int(size) for size in written[2].split("x"))
    if chip not in TPU_CHIPS:
        raise UserError(f"--topology {name}: no figures are known of the chip {chip}; known: {known}")
    axes = TPU_CHIPS[chip].torus_axes
    if len(shape) != axes:
        example = "x".join(["4"] * axes)
        raise UserError(f"--topology {name}: {chip} is wired in {axes} dimensions, as in {chip}:{example}")
    return chip, shape


def topology_machine(name: str, slices: int = 1) -> Machine:
    """Return the devices of ``slices`` slices of a TPU topology that need not be there; only good for compiling.

    The environment must be `environment.COMPILE_ONLY`.

    Raises:
        UserError: the name or number is wrong, libtpu is not installed, or it knows no such topology.
    """
    if slices < 1:
        raise UserError(f"--slices {slices} must be at least 1")
    from jax.experimental import topologies

    chip_name, shape = parse_topology(name)
    chip = TPU_CHIPS[chip_name]
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise UserError(
            "--topology needs libtpu, which compiles for TPUs that are not there: pip install 'electra_jax[plan]' "
            "(in a checkout: pip install -e '.[plan]')"
        ) from None
    # v4 and v5p put both their cores behind one device; that is called megacore.
    options: dict[str, object] = {"chip_config_name": "megacore"} if chip.torus_axes == 3 else {}
    if math.prod(shape) < 4:
        options["chips_per_host_bounds"] = (*shape, 1, 1)[:3]
    if slices > 1:
        options["num_slices"] = slices
    try:
        described = topologies.get_topology_desc(name, "tpu", **options)  # type: ignore[arg-type]
    except Exception as error:
        first_line = str(error).splitlines()[0]
        raise UserError(
            f"--topology {name}: libtpu knows no such slice ({first_line}); sides of 2, 4, 8 and 16 are usual"
        ) from None
    whole = name if slices == 1 else f"{slices} x {name}"
    return Machine(whole, tuple(described.devices), chip, shape, slices)


def local_machine() -> Machine:
    """Return the devices of this process."""
    devices = tuple(jax.devices())
    kind, chip = devices[0].device_kind, chip_of(devices[0])
    return Machine(f"{len(devices)} x {kind}", devices, chip, () if chip is None else shape_of(devices, chip))


def shape_of(devices: Sequence[jax.Device], chip: Chip) -> tuple[int, ...]:
    """Return how many chips there are along each axis of the network of TPUs; () for other chips."""
    places = [device.coords[: chip.torus_axes] for device in devices] if chip.torus_axes else []
    return tuple(len(set(along)) for along in zip(*places, strict=True))
