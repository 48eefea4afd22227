"""Checkpoint files: what is in them, how they are written, checked and read, and what they promise."""
