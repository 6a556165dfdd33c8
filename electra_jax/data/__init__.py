"""From text to batches: sources, preparing tokens, packing, and `batch(step)`."""
