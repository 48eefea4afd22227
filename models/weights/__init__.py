"""Weights of backbones: where they lie, the model hub, downloads and conversions."""
