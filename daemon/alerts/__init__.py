"""Alerts: send alarms to people, from a process of its own that has a network and touches no picture."""
