"""Undo filings: the images go back to where they came from, and are held there."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from daemon.journal.records import State
from daemon.operations.desk import Desk, Operation, explaining_a_busy_journal
from daemon.operations.returning import Returning
from daemon.operations.selection import Which, pages
from models.errors import UserError
from models.text.language import tr


class UndoParams(Which):
    """The filings to undo: ``last`` of them, the newest, by the conditions of `Which`."""

    last: int | None = Field(default=None, ge=1)
    dry_run: bool = False
    as_json: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is moved."""
        return not self.dry_run


def undo(desk: Desk, params: UndoParams) -> Operation:
    """Undo filings, newest first; see `Returning` for what is yielded and returned. Raises `UserError`.

    Where nothing is chosen but images that were left as duplicates, ``left_duplicates`` of the result names the newest.
    """
    chosen_by = (params.file, params.since, params.run, params.checkpoint, params.last, params.ids)
    if all(value is None for value in chosen_by):
        raise UserError(tr("say what to undo: --last N, --file NAME, --since DAY, --run RUN or --checkpoint DIGEST"))
    returning = Returning(desk, dry_run=params.dry_run, as_json=params.as_json, holds=True)
    with explaining_a_busy_journal():
        desk.recover()
        # Nothing was done with an image that was left as a duplicate: it is only meant where its own path is given.
        wanted = params.wanted(
            desk.journal.history,
            states=[State.DONE, State.LEFT],
            as_written=True,
            without_left_duplicates=params.path is None,
        )
        for filings in pages(desk.journal, wanted, desk.step, params.last):
            yield from returning.bring_back(filings)
        if not returning.done and not returning.left and wanted.without_left_duplicates:
            left = desk.journal.history(replace(wanted, without_left_duplicates=False), 1)
            return returning.result() | {"left_duplicates": [str(filing.source) for filing in left]}
    return returning.result()
