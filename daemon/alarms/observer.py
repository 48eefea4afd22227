"""Judge what may be wrong with the inboxes and the drives; on a thread of its own, since a drive may not answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from daemon.alarms import room
from daemon.alarms.causes import ACCUSTOMED, ENDING, Cause, Trouble
from daemon.alarms.inbox_record import RECENT, SHARES, Arrival, InboxRecord, Span
from daemon.alarms.rhythm import DAY, WINDOW
from daemon.config import Settings, watches_inside
from daemon.journal import arrivals, opening
from daemon.journal.arrivals import HourOfFolder

#: Seconds between two times that what is usual is learned anew.
_LEARN_SECONDS = float(DAY)
#: After so long a share that has risen counts as the usual one.
ACCUSTOMED_SECONDS = 28.0 * DAY


class Verdict(NamedTuple):
    """Whether something is wrong, and what is to be said of it."""

    wrong: bool
    details: Mapping[str, object]


@dataclass(frozen=True)
class Watched:
    """What is watched: inboxes, the drives of all these folders, and when one of those counts as nearly full."""

    inboxes: tuple[Path, ...]
    inside: bool
    outputs: tuple[Path, ...]
    others: Path
    state: Path
    causes: frozenset[Cause]
    free_mb: float | None
    has_addresses: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, state: Path) -> Watched:
        """Watch what the settings name; ``state``: the folder of the journal."""
        return cls(
            inboxes=tuple(settings.watch),
            inside=watches_inside(settings),
            outputs=tuple(settings.outputs),
            others=settings.output / settings.others_dir,
            state=state,
            causes=frozenset(map(Cause, settings.alarms)),
            free_mb=None if settings.alarm_free_mb == "auto" else settings.alarm_free_mb,
            has_addresses=bool(settings.alerts) or settings.alerts_file is not None,
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders whose drives are watched."""
        return (*self.outputs, self.state, *self.inboxes)

    def inbox_of(self, folder: Path) -> Path | None:
        """Return the inbox that a folder is, or lies in; None for a class folder and others."""
        if not self.inside:
            return folder if folder in self.inboxes else None
        if any(folder.is_relative_to(output) for output in self.outputs if output not in self.inboxes):
            return None
        inboxes = [inbox for inbox in self.inboxes if folder.is_relative_to(inbox)]
        return max(inboxes, key=lambda inbox: len(inbox.parts), default=None)

    def has(self, trouble: Trouble) -> bool:
        """Whether this is watched for; that of a drive is, whichever of its folders names it."""
        if trouble.cause not in self.causes:
            return False
        subject = Path(trouble.subject)
        if trouble.cause is Cause.DISK:
            return subject in self.folders
        return trouble.cause not in (Cause.SILENCE, *SHARES) or subject in self.inboxes


class Observer:
    """Knows the inboxes of one daemon, whose journal lies at ``journal``. Times are seconds since 1970."""

    def __init__(self, watched: Watched, journal: Path) -> None:
        self.watched = watched
        self._journal = journal
        self._records: dict[Path, InboxRecord] = {}
        self._learned: float | None = None

    def learn(self, now: float, begun: Mapping[Trouble, float], usual_from: Mapping[Trouble, float]) -> None:
        """Learn once a day what is usual. Raises `UserError` where the journal cannot be read.

        ``begun``: when what is wrong now began to be; ``usual_from``: since when a share counts as usual that had
        risen for long.
        """
        if self._learned is not None and 0 <= now - self._learned < _LEARN_SECONDS:
            return
        since = datetime.fromtimestamp(now, UTC) - timedelta(seconds=WINDOW)
        with opening.reading(self._journal) as db:
            hours = arrivals.by_hour(db, self.watched.others, since)
        self._learned = now
        for inbox, of_inbox in self._by_inbox(hours).items():
            for cause in SHARES:
                trouble = Trouble(cause, str(inbox))
                risen = begun.get(trouble)
                until = now - RECENT if risen is None else min(now - RECENT, risen)
                span = Span(usual_from.get(trouble, now - WINDOW), until, risen is None)
                self._record(inbox).learn_share(cause, of_inbox, span)
            self._record(inbox).learn_rhythm(of_inbox, now)

    def _by_inbox(self, hours: Iterable[HourOfFolder]) -> dict[Path, list[HourOfFolder]]:
        by_inbox: dict[Path, list[HourOfFolder]] = {inbox: [] for inbox in self.watched.inboxes}
        for hour in hours:
            if (inbox := self.watched.inbox_of(Path(hour.folder))) is not None:
                by_inbox[inbox].append(hour)
        return by_inbox

    def arrived(self, path: Path, arrival: Arrival) -> None:
        """Note a picture that has come."""
        if (inbox := self.watched.inbox_of(path.parent)) is not None:
            self._record(inbox).add(arrival)

    def _record(self, inbox: Path) -> InboxRecord:
        return self._records.setdefault(inbox, InboxRecord())

    def judge(self, now: float, watching_since: float, begun: Mapping[Trouble, float]) -> dict[Trouble, Verdict]:
        """Judge all that can be judged now. ``begun``: when what is known to be wrong began to be."""
        verdicts: dict[Trouble, Verdict] = {}
        for inbox in self.watched.inboxes:
            record = self._record(inbox)
            verdicts |= dict(_silence(inbox, record, now, watching_since, begun))
            for cause in SHARES:
                verdicts |= dict(_share(cause, inbox, record, self.watched, now, begun))
        verdicts |= self._drives(begun)
        return {trouble: verdict for trouble, verdict in verdicts.items() if trouble.cause in self.watched.causes}

    def _drives(self, active: Collection[Trouble]) -> dict[Trouble, Verdict]:
        if Cause.DISK not in self.watched.causes:
            return {}
        full = dict(room.nearly_full(self.watched.folders, self.watched.free_mb, active))
        verdicts = {trouble: Verdict(True, details) for trouble, details in full.items()}
        for trouble in active:
            if (
                trouble.cause is Cause.DISK
                and trouble not in full
                and (free := room.free_mb(trouble.subject)) is not None
            ):
                verdicts[trouble] = Verdict(False, {"free_mb": free})
        return verdicts


def _silence(
    inbox: Path, record: InboxRecord, now: float, watching_since: float, begun: Mapping[Trouble, float]
) -> Iterator[tuple[Trouble, Verdict]]:
    trouble = Trouble(Cause.SILENCE, str(inbox))
    if trouble in begun:
        if record.last is not None and record.last > begun[trouble]:
            yield trouble, Verdict(False, {})
        return
    if record.last is None or record.rhythm is None:
        return
    since = max(record.last, watching_since)
    if (due := record.rhythm.due(since, now)) is not None:
        yield trouble, Verdict(True, {"since": since, "due": due})


def _share(
    cause: Cause, inbox: Path, record: InboxRecord, watched: Watched, now: float, begun: Mapping[Trouble, float]
) -> Iterator[tuple[Trouble, Verdict]]:
    trouble, rise = Trouble(cause, str(inbox)), record.rise(cause)
    if trouble in begun and now - begun[trouble] > ACCUSTOMED_SECONDS:
        yield trouble, Verdict(False, {ENDING: ACCUSTOMED})
        record.forget(cause)
    elif rise is None:
        return
    elif trouble not in begun:
        if rise.is_risen:
            usual, folder = record.usual_percentage(cause), watched.others.name
            details = {"recent": rise.recent, "count": rise.count, "usual": usual, "folder": folder}
            yield trouble, Verdict(True, details)
            rise.begin_end()
    elif rise.is_over:
        yield trouble, Verdict(False, {})
        rise.begin_anew()
