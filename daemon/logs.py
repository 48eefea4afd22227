"""Logging: one line per image to standard error, plain or JSON."""

from __future__ import annotations

import sys

from loguru import logger

_PLAIN = "<green>{time:YYYY-MM-DD HH:mm:ss}</green> <level>{level: <7}</level> {message}"


def start_logging(level: str, *, as_json: bool) -> None:
    """Log to standard error; tracebacks never show the values of variables, which may be anybody's file names."""
    logger.remove()
    logger.add(sys.stderr, level=level, format=_PLAIN, serialize=as_json, diagnose=False, backtrace=False)
