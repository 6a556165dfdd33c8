"""Searching many candidates from the command line: ``python -m electra_jax.search ACTION``."""
