"""Run one-time work that needs torch in child processes, so that the service never imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from models.allowed import PLUGINS_VARIABLE, allowed_plugins
from models.errors import UserError, WeightsUnavailable
from models.text.language import tr


def run_child(module: str, *arguments: str) -> str:
    """Run one of our modules in a child process, and return what it prints. Raises `WeightsUnavailable` if it fails.

    The child may import the same plug-ins as this process.
    """
    completed = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],  # -P: the current folder may hold another `models`
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if completed.returncode != 0:
        lines = completed.stderr.strip().splitlines() or [tr("exit code {code}", code=completed.returncode)]
        is_user_error = completed.returncode == UserError.exit_code
        raise WeightsUnavailable(
            lines[-1] if is_user_error else tr("{module} failed: {reason}", module=module, reason=lines[-1])
        )
    return completed.stdout


def child_environment() -> dict[str, str]:
    """Return the environment for one of our modules: it finds this source, and may import the same plug-ins."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, PLUGINS_VARIABLE: ",".join(allowed_plugins())}
