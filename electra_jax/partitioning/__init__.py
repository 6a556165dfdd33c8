"""The mesh, the one table of logical axes, and how parameters and batches are laid over devices."""
