"""Check the review page: whether its server could run here, and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from daemon.commands.probes import Finding, fine, note, wrong
from daemon.config import Settings
from daemon.monitoring.audits import AUDIT_FILE, AuditFile, broken_promise
from daemon.review.keys import KEY_FILE, PASSWORD_FILE
from daemon.state import journal_path, state_folders
from models.text.language import tr

_LIBRARIES = ("starlette", "uvicorn", "jinja2")


def review_findings(settings: Settings) -> Iterator[Finding]:
    """Check what the page needs, and who may read its key and password."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        text = tr("the review page cannot be served: {names} is not installed", names=", ".join(missing))
        yield wrong("review", text, tr("install imagesortd again with pip"))
    for state in state_folders(settings.state_dir):
        folder = journal_path(state, settings.output).parent
        for name in (KEY_FILE, PASSWORD_FILE):
            path = folder / name
            try:
                is_open = path.stat().st_mode & 0o077
            except OSError:
                continue
            if is_open:
                text = tr("{path} lets others into the review page: others than its owner may read it", path=path)
                yield wrong("review", text, tr("let only its owner read it: chmod 600 {path}", path=path))
            elif os.access(path, os.R_OK) and name == KEY_FILE:
                yield fine("review", tr("the review page was used here; its key is only its owner's"))
        audit = AuditFile(folder / AUDIT_FILE).latest()
        if audit is not None and audit.is_broken:
            yield note("review", broken_promise(audit))
