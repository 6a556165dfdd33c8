"""Exchange of checkpoints with Hugging Face and with the original TensorFlow code."""
