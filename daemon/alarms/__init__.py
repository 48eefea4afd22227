"""Alarms: notice that something is wrong which nobody may be looking at, and say so once, and once when it is over."""
