"""Archives: classify millions of images once, into a manifest, by which they are then counted, shown and filed."""
