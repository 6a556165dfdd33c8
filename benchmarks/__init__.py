"""Measurements of throughput; run as `python -m benchmarks.NAME`."""
