"""Few shapes for texts of any length and number: rows of a batch, and the lengths they are padded to."""

from jax.sharding import Mesh

# Rows of a batch per accelerator; for all CPU devices together, since they are one machine.
ROWS_PER_DEVICE = 32


def batch_size_over(mesh: Mesh, rows: int) -> int:
    """Return the rows of a batch, a multiple of the number of devices, of rows for each or for all CPU devices."""
    if mesh.devices.flat[0].platform == "cpu":
        return -(-rows // mesh.size) * mesh.size
    return rows * mesh.size


def inference_buckets(longest: int = 8192) -> list[int]:
    """Return multiples of 8 that grow by about 15 %, the most padding a batch has above some 50 tokens."""
    buckets = [8]
    while buckets[-1] < longest:
        grown = int(buckets[-1] * 1.15) // 8 * 8
        buckets.append(max(buckets[-1] + 8, grown))
    return buckets
