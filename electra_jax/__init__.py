"""ELECTRA pre-training, fine-tuning and use in JAX/Flax."""

__version__ = "0.1.0"
