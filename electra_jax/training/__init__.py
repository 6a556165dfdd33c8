"""The training loop's parts: state, step, checkpoints, metrics, logs."""
