"""Data sets of class folders, and what is computed from their images before a head is fitted."""
