"""Load, prove and swap checkpoints while the daemon runs."""
