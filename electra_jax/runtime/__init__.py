"""The machine and the process: published figures of chips, the allocator, CPU devices, compiled programs, traces."""
