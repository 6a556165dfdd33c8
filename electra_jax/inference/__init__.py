"""Using a trained model from Python."""
