"""Logs, status, metrics and notifications of the service."""
