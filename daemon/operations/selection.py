"""Choose filings by what people ask for, a few at a time, and describe them as JSON has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.operations.desk import Params

#: In place of the name of a run: the one that filed last.
LAST_RUN = "last"


class GivenName(BaseModel):
    """What a person named a file by, and the path that it would be where the person is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    path: str

    @classmethod
    def here(cls, name: str) -> GivenName:
        """Take a name from the command line; links on the way to it are followed, but not the file itself."""
        path = Path(name)
        return cls(name=name, path=str(path.parent.resolve() / path.name))


class Which(Params):
    """Conditions that filings are chosen by; all that are given must be met.

    ``file`` is a name or the end of a path. ``path``: if it is more than a name, the same as an absolute path, from the
    folder of the command. ``ids``: filings.
    """

    file: str | None = None
    path: str | None = None
    since: AwareDatetime | None = Field(default=None, strict=False)
    run: str | None = None
    checkpoint: str | None = None
    ids: tuple[int, ...] | None = Field(default=None, strict=False)

    def wanted(self, history: Callable[[Wanted, int], Iterable[Filing]], **more: Any) -> Wanted:
        """Return the conditions for the journal, and ``more`` of them.

        ``history`` reads the newest filings that are wanted, up to a number. Raises what it raises.
        """
        run = self.run
        if run == LAST_RUN:
            newest = next(iter(history(Wanted(states=[State.DONE], as_written=True), 1)), None)
            run = None if newest is None else newest.run
        name = self._name(history)
        return Wanted(name=name, since=self.since, run=run, model_digest=self.checkpoint, ids=self.ids, **more)

    def _name(self, history: Callable[[Wanted, int], Iterable[Filing]]) -> str | None:
        if self.file is None or self.path is None:
            return self.file
        file = Path(self.file)
        is_end = not file.is_absolute() and not any(history(Wanted(name=self.path), 1))
        # "cat/a.jpg" is how the log and the history say it.
        return str(file) if is_end and len(file.parts) > 1 else self.path


def pages(journal: Journal, wanted: Wanted, size: int, limit: int | None = None) -> Iterator[list[Filing]]:
    """Yield the newest ``limit`` of the wanted filings, ``size`` at a time, the last one written first.

    Each page is read when it is asked for, and nothing is kept open between two; filings that are written meanwhile are
    not among them. Raises JournalBusy.
    """
    left = limit
    while left is None or left > 0:
        count = size if left is None else min(size, left)
        page = journal.history(wanted, count)
        if page:
            yield page
        if len(page) < count:
            return
        left = None if left is None else left - count
        wanted = replace(wanted, before_id=page[-1].id)


def record(filing: Filing) -> dict[str, object]:
    """Return a filing as JSON has it."""
    return {
        "id": filing.id,
        "time": filing.time.isoformat(timespec="milliseconds"),
        "state": filing.state.value,
        "action": filing.action,
        "source": str(filing.source),
        "destination": None if filing.destination is None else str(filing.destination),
        "class": filing.label,
        "confidence": None if filing.confidence is None else round(filing.confidence, 6),
        "checkpoint": filing.model_digest,
        "reason": filing.reason,
        "detail": filing.detail,
        "duplicate_of": filing.duplicate_of,
        "sha256": filing.sha256,
        "run": filing.run,
    }
