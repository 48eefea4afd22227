"""Archives: classify millions of images once into a manifest, and file, count and look at them by that."""
