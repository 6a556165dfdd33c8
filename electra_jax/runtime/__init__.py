"""The process itself: its allocator, its CPU devices, the programs it compiles, a trace of what it does."""
