"""Fine-tuning: what is learned on top of a pre-trained encoder."""
