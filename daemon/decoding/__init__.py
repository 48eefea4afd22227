"""Decode images in child processes, so that a hostile file harms nothing but itself."""
