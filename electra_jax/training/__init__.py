"""The parts of training: state, step, loop, checkpoints, metrics, logs."""
