"""What a training step will need and cost on a machine, known before there is one."""
