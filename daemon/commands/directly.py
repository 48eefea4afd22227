"""Carry out an operation in the process of a command, where no daemon runs."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from daemon.commands.exclusive import hold, open_journal
from daemon.commands.filters import FiledOutput
from daemon.commands.stopping import stopped_by_signals
from daemon.files import copying
from daemon.filing.held import HeldImages
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, read_history
from daemon.operations.desk import Desk, Operation, Params
from daemon.operations.methods import METHODS


def operate_directly(place: FiledOutput, method: str, params: Params) -> Operation:
    """Carry out an operation here, with the locks that a daemon would hold. Raises `UserError`.

    Ctrl-C or SIGTERM raises KeyboardInterrupt after the current step, when all that was done has been yielded; a copy
    that is being made is given up.
    """
    place.require_journal()
    stopped = threading.Event()
    with (
        ExitStack() as closing,
        stopped_by_signals(stopped),
        copying.reporting_to(lambda: None, stopped.is_set),
    ):
        desk = _desk(place, params, stopped, closing)
        return (yield from METHODS[method].run(desk, params))


def _desk(place: FiledOutput, params: Params, stopped: threading.Event, closing: ExitStack) -> Desk:
    """Make the desk; its journal is opened for reading only, and nothing is locked, where nothing will change."""
    if params.changes:
        journal = open_journal(place, closing)
    else:
        there = place.journal.exists()
        if there:
            next(read_history(place.journal, Wanted(), 1), None)  # raises UserError where it cannot be read
        journal = Journal(place.journal if there else None, read_only=True)
        closing.callback(journal.close)
    settings = place.settings
    return Desk(
        settings=settings,
        journal=journal,
        roots=place.roots,
        held=HeldImages(journal, settings.output, settings.watch, other_outputs=settings.outputs[1:]),
        keep_out=lambda inboxes: hold(place, inboxes, closing),
        is_to_stop=stopped.is_set,
    )
