"""The trainer: it fits and evaluates the checkpoints that the daemon serves."""
