"""Load, prove and swap checkpoints while the daemon runs; the threshold in force."""
