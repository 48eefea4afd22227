"""Alarms: notice what goes wrong while nobody looks; say so once, and once more when it is over."""
