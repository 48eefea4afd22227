"""Bring quarantined images back, to be classified again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pydantic import Field

from daemon.filing import tagging
from daemon.filing.unjournaled import reason_folders, unjournaled_images
from daemon.journal.history import Wanted
from daemon.journal.records import Filing, State
from daemon.operations.desk import Desk, Operation, Params, explaining_a_busy_journal
from daemon.operations.returning import Returning
from daemon.operations.selection import pages
from models.errors import REASONS, UserError
from models.text.language import tr

_STATES = (State.DONE, State.REFUSED)


class RetryParams(Params):
    """``reasons``: only images that could not be read for one of these; none means any. ``ids``: only these filings."""

    reasons: tuple[str, ...] = Field(default=(), strict=False)
    ids: tuple[int, ...] | None = Field(default=None, strict=False)
    dry_run: bool = False
    as_json: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is moved."""
        return not self.dry_run


def retry(desk: Desk, params: RetryParams) -> Operation:
    """Bring quarantined images back; those that the journal does not know go by the notes beside them.

    The result also says which ``reasons`` there are. Raises `UserError`.
    """
    quarantine = desk.output / desk.settings.quarantine_dir
    known_reasons = sorted({*REASONS, tagging.REASON, *(folder.name for folder in reason_folders(quarantine))})
    for reason in params.reasons:
        if reason not in known_reasons:
            raise UserError(
                tr("there is no reason '{reason}': give one of {names}", reason=reason, names=", ".join(known_reasons))
            )
    returning = Returning(desk, dry_run=params.dry_run, as_json=params.as_json, holds=False)
    with explaining_a_busy_journal():
        desk.recover()
        known = {row.destination for row in desk.journal.interrupted()}
        wanted = Wanted(reasons=params.reasons, ids=params.ids, states=_STATES, as_written=True)
        for filings in pages(desk.journal, wanted, desk.step):
            known.update(filing.destination for filing in filings)
            yield from returning.bring_back(filings)
        unknown = iter(()) if params.ids is not None else _unknown(desk, quarantine, known, params.reasons)
        while filings := list(islice(unknown, desk.step)):
            yield from returning.bring_back(filings)
    return returning.result() | {"reasons": known_reasons}


def _unknown(desk: Desk, quarantine: Path, known: set[Path | None], reasons: tuple[str, ...]) -> Iterator[Filing]:
    """Yield the images that the journal does not know, nor those that a daemon has filed there meanwhile."""
    for filing in unjournaled_images(quarantine, desk.settings.watch, known, reasons, desk.roots):
        if not desk.journal.history(Wanted(name=str(filing.destination), states=_STATES), 1):
            yield filing
