"""System calls on files and processes, and the rules of names."""
