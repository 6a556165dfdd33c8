"""Whether layers are looped over or written out one by one: ``compute.scan_layers``, and what null means."""

# From so many layers on, a loop on a CPU pays: it compiles in the time of one layer, needs less memory, and takes
# 2 to 5 % more processor time a step. Fewer compile as fast written out, and then are faster (docs/performance.md).
LOOPED_FROM = 6


def loops_over_layers(asked: bool | None, num_layers: int, platform: str) -> bool:
    """Whether one layer is compiled and looped over, on devices of ``platform``; ``asked`` is compute.scan_layers."""
    return asked if asked is not None else platform == "cpu" and num_layers >= LOOPED_FROM
