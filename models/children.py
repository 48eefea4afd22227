"""Child processes: what needs torch and is done once runs in one, so that a service need not import torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from models.allowed import PLUGINS_VARIABLE, allowed_plugins
from models.errors import UserError, WeightsUnavailable
from models.text.language import tr


def run_child(module: str, *arguments: str) -> str:
    """What one of our modules prints, run in a child process; its complaint becomes a `WeightsUnavailable`.

    The child may import the plug-ins that this process may.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],  # -P: the present folder may hold another `models`
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [tr("exit code {code}", code=done.returncode)]
        said = done.returncode == UserError.exit_code
        raise WeightsUnavailable(
            lines[-1] if said else tr("{module} failed: {reason}", module=module, reason=lines[-1])
        )
    return done.stdout


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, PLUGINS_VARIABLE: ",".join(allowed_plugins())}
