"""Lock the folders and open the journal for a command that moves filed images itself."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from daemon.commands.filters import FiledOutput
from daemon.files.inbox_mark import InboxMark
from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OutputAway
from daemon.filing.recovery import recover
from daemon.journal.journal import Journal, JournalBusy
from daemon.state import lock
from models.errors import UserError
from models.text.language import tr


def hold(place: FiledOutput, folders: Collection[Path], held: ExitStack) -> None:
    """Keep every daemon out of these folders until ``held`` is closed. Raises `UserError` where one is at work there.

    A daemon would file again at once what goes back, and only one process may write the journal.
    """
    try:
        held.enter_context(lock(place.state, folders))
        if place.settings.output in folders:
            held.callback(place.marks.release)
            held.enter_context(place.marks.at_work(make=False))
        for inbox in set(folders) & set(place.settings.watch):
            inbox_mark = InboxMark(inbox, place.state)
            held.callback(inbox_mark.release)
            inbox_mark.take(make=False)
    except OutputAway as error:
        raise UserError(str(error)) from error
    except FolderBusy as error:
        raise UserError(error.for_a_command) from error


def open_journal(place: FiledOutput, held: ExitStack) -> Journal:
    """Open the journal for writing, and recover interrupted filings; nobody else files into this output meanwhile."""
    hold(place, place.settings.outputs, held)
    journal = Journal(place.journal)
    held.callback(journal.close)
    try:
        recover(journal, place.roots)
    except JournalBusy as error:
        raise UserError(tr("the journal cannot be written now ({error}): try again later", error=error)) from error
    return journal
