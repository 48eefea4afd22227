"""Fine-tune the backbones."""
