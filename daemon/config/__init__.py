"""Settings: what there is, where they come from, and what they must be."""

from daemon.config.checking import check_output, check_together
from daemon.config.loading import load, used_file
from daemon.config.settings import OPTIONS, PREFIX, RULES_KEY, Settings, watches_inside

__all__ = [
    "OPTIONS",
    "PREFIX",
    "RULES_KEY",
    "Settings",
    "check_output",
    "check_together",
    "load",
    "used_file",
    "watches_inside",
]
