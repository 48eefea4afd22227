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
    """Do what a daemon would do, with the locks that it would have. Raises `UserError`.

    A signal to end raises KeyboardInterrupt after the step that is under way; a copy that is being made is given up.
    """
    place.require_journal()
    stopped = threading.Event()
    with ExitStack() as closing:
        operation = METHODS[method].run(_desk(place, params, closing), params)
        closing.callback(operation.close)
        while True:
            with stopped_by_signals(stopped), copying.reporting_to(lambda: None, stopped.is_set):
                try:
                    item = next(operation)
                except StopIteration as end:
                    return dict(end.value)
            yield item
            if stopped.is_set():
                raise KeyboardInterrupt


def _desk(place: FiledOutput, params: Params, closing: ExitStack) -> Desk:
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
        held=HeldImages(journal, settings.output, settings.watch),
        keep_out=lambda inboxes: hold(place, inboxes, closing),
    )
