"""Raise the number of files that this process may have open."""

from __future__ import annotations

import resource

from models.errors import UserError
from models.text.language import tr

#: What a daemon of a few inboxes needs at least; undo holds two folders open for each image of a batch.
_LEAST, _WANTED = 64, 512


def allow_open_files() -> None:
    """Raise the limit where it is low and may be raised. Raises `UserError` where it stays too low for the daemon.

    Images would be left behind one after the other by "Too many open files".
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _WANTED:
        return
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < _LEAST:
        raise UserError(
            tr(
                "the system lets this program have only {limit} files open at a time: allow {least} at least, with "
                "ulimit -n or, for a service, LimitNOFILE=",
                limit=wanted,
                least=_LEAST,
            )
        )
