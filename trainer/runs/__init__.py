"""Run folders, and which of them the daemon serves."""
