"""An example package of backbones for imagesortd: one that works, and two that do not."""
