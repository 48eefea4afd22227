"""Load, prove and swap checkpoints while the daemon runs; the threshold in force, and the pipeline's other settings."""
