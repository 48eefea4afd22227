"""Fine-tuning of the backbones."""
