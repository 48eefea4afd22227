"""What a command needs that moves filed images itself: nobody else at work on their folders, and the journal."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from daemon.journal import Journal, JournalBusy
from daemon.outputmark import OutputAway, OutputMark
from daemon.replay import replay
from daemon.selection import Place
from daemon.state import lock
from models.errors import UserError
from models.language import tr


def hold(place: Place, folders: Collection[Path], held: ExitStack, why: str = "") -> None:
    """Keep every daemon out of these folders until ``held`` is closed. Raises `UserError` where one is at work there.

    ``why``: the reason why none may be, which is marked for translation, and ends that sentence.
    """
    try:
        held.enter_context(lock(place.state, folders))
        if place.settings.output in folders:
            mark = OutputMark(place.settings.output, place.journal.parent)
            held.callback(mark.release)
            held.enter_context(mark.at_work(make=False))
    except OutputAway as error:
        raise UserError(str(error)) from error
    except UserError as error:
        if why:
            raise UserError(tr("{error}; {why} (--dry-run may be used meanwhile)", error=error, why=tr(why))) from error
        raise UserError(tr("{error} (--dry-run may be used meanwhile)", error=error)) from error


def open_journal(place: Place, held: ExitStack, why: str = "") -> Journal:
    """The journal, to be written, with what was left half done put right; nobody files into this output meanwhile."""
    hold(place, [place.settings.output], held, why)
    journal = Journal(place.journal)
    held.callback(journal.close)
    try:
        replay(journal, place.roots)
    except JournalBusy as error:
        raise UserError(tr("the journal cannot be written now ({error}): try again later", error=error)) from error
    return journal
