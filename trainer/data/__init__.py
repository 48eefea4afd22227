"""Data sets of class folders, and what is computed of their images before a head is fitted."""
