"""Whether layers are scanned or unrolled: ``compute.scan_layers``, and what null means."""

# From this depth on, scanning pays on a CPU: it compiles in the time of one layer, needs less memory, and takes
# 2 to 5 % more processor time per step. Fewer layers compile as fast unrolled, and run faster (docs/performance.md).
SCAN_FROM_LAYERS = 6


def resolve_scan_layers(requested: bool | None, num_layers: int, platform: str) -> bool:
    """Decide whether one layer is compiled and scanned over, or all are unrolled.

    Args:
        requested: compute.scan_layers; null (None) decides by the devices and the depth.
        num_layers: Layers of the encoder.
        platform: Of the devices (cpu, gpu, tpu).
    """
    return requested if requested is not None else platform == "cpu" and num_layers >= SCAN_FROM_LAYERS
