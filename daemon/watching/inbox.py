"""One inbox: whether it is there, how it is watched, and the walks that find what no event named."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.files.inotify import FolderIdentity, identify
from daemon.files.locks import FolderBusy
from daemon.files.marker import is_marked
from daemon.files.mounts import remote_kind
from daemon.files.roots import Roots
from daemon.files.walk import walk
from daemon.watching.backlog import Backlog
from daemon.watching.complaints import InboxComplaints
from daemon.watching.handled import Handled
from daemon.watching.hints import HintSource, reason_to_poll, sentence_of_polling
from daemon.watching.presence import Presence
from daemon.watching.settle import Signature
from daemon.watching.skipped import LeftoverPictures, Skipped
from models.files.leftovers import is_below_leftover
from models.text.language import tr

_PAUSE_PER_COST = 20  # least pause between two walks, as a multiple of the time that a walk took
#: New folders remembered before the whole inbox is walked instead.
MOST_ARRIVALS = 10_000

_Names = Iterator[os.DirEntry[str] | None]


@dataclass(frozen=True)
class Pace:
    """Seconds between two walks of an inbox: with events, and when it is polled."""

    rescan: float
    poll: float


class Inbox:
    """A folder to watch, by its absolute path. The ``excluded`` folders below it are not part of it."""

    def __init__(
        self,
        path: str,
        *,
        excluded: Sequence[str],
        outputs: Sequence[str] = (),
        recursive: bool,
        poll: bool,
        pace: Pace,
        clock: Callable[[], float],
        surveyed: Callable[[Skipped], None] = lambda _: None,
        roots: Roots | None = None,
        cross_mounts: bool = False,
        claim: Callable[[], None] = lambda: None,
    ) -> None:
        """``outputs``: where class folders belong; one elsewhere was put there, and is reported.

        ``surveyed`` is called after each whole walk with what it skipped. ``roots``: all inboxes. ``claim``: see
        `Presence`.
        """
        self.path = path
        self.prefix = path.rstrip("/") + "/"
        self.why_missing: str | None = None  # None if it is there
        self.why_polled: str | None = None  # None with events
        self.other_files = 0  # files that the last whole walk skipped because of their names
        self.not_entered = 0  # folders that it did not enter: see `Skipped.not_entered`
        self.handled = Handled()
        self.backlog = Backlog()
        self.next_walk = 0.0
        self._roots = (roots or Roots()).including(Path(path))
        self._force_poll = poll
        # Asked for once: another inbox may be on a share that does not answer later.
        self._real_paths = [*map(os.path.realpath, [path, *excluded])]
        self._outputs = outputs
        self._excluded = frozenset(p for p in excluded if p.startswith(self.prefix))
        self._excluded_identities: frozenset[FolderIdentity] = frozenset()
        self._recursive = recursive
        self._cross_mounts = cross_mounts
        self._pace = pace
        self._clock = clock
        self._surveyed = surveyed
        self.presence = Presence(path, claim, clock, pace.rescan)
        self._survey = self._new_survey()  # of the present walk
        self._identity: FolderIdentity | None = None
        self._hints: HintSource | None = None
        self._walk: _Names | None = None
        self._walk_again = False
        self._walk_cost = 0.0
        self._step_begun = 0.0
        self._arrivals: dict[str, None] = {}
        self._arrivals_walk: _Names | None = None
        self._leftovers = LeftoverPictures()
        self._turn = 0
        self._complaints = InboxComplaints()

    @property
    def walking(self) -> bool:
        """Whether a walk is under way."""
        return bool(self._walk or self._arrivals_walk or self._arrivals)

    @property
    def has_work(self) -> bool:
        """Whether there is something to walk now."""
        return self.why_missing is None and (self.walking or self._clock() >= self.next_walk)

    def answers(self) -> bool:
        """Whether its file system may be asked now. A share whose server does not answer counts as missing."""
        if self.presence.answers():
            return True
        self._go_missing(tr("its server or drive does not answer"))
        return False

    def check(self, source: HintSource | None) -> None:
        """See whether the folder is there and still the same; arm it and begin a walk when it is new."""
        try:
            identity = self.presence.identify()
            self.presence.claim(is_new=identity != self._identity)
        except (OSError, FolderBusy) as error:
            self._go_missing(error.strerror or str(error) if isinstance(error, OSError) else error)
            return
        same = identity == self._identity and source is self._hints
        # A folder deleted and made again is often given the same inode: its identity is old, its watch is gone.
        if same and (self.why_polled is not None or source is None or source.is_armed(identity)):
            return
        if self.why_missing is not None:
            logger.info(tr("inbox '{path}' is back", path=self.path))
        elif self._identity is not None and source is self._hints:
            logger.warning(tr("inbox '{path}' was replaced: watching the folder that is there now", path=self.path))
        self._begin_watching(identity, source)

    def close(self) -> None:
        """Close the folders that a walk holds open."""
        self._walk = self._arrivals_walk = None
        self._arrivals.clear()
        self.backlog.clear()

    def folder_appeared(self, folder: str) -> None:
        """Arm and walk a folder soon that was made in the inbox or moved there."""
        if not self._recursive:
            return
        if len(self._arrivals) < MOST_ARRIVALS:
            self._arrivals[folder] = None
        else:
            self.rescan()

    def rescan(self) -> None:
        """Walk the inbox at once, or once more when the present walk ends."""
        if self._walk is not None:
            self._walk_again = True
        else:
            self.next_walk = min(self.next_walk, self._clock())

    def step(self, names: int, room: int) -> list[tuple[str, Signature]]:
        """Go on with the walks for ``names`` names: at most ``room`` candidates that were not dealt with yet."""
        self._step_begun = self._clock()
        if self.why_missing is None and self._walk is None and self._step_begun >= self.next_walk:
            self._begin_walk()
        candidates: list[tuple[str, Signature]] = []
        while names > 0 and len(candidates) < room and self.walking:
            names -= 1
            entry = self._next_name()
            if entry is None:
                continue
            signature = self._signature_of(entry)
            if signature is not None and not self.handled.meet(entry.path, signature):
                candidates.append((entry.path, signature))
        self._walk_cost += self._clock() - self._step_begun
        self.backlog.met(len(candidates))
        return candidates

    def count_ahead(self, knows: Callable[[str], bool]) -> None:
        """Count the files that the walk has not come to, while it is paused because there is no room."""
        if self._walk is not None:
            self.backlog.count(
                self._turn, self._names_ahead, lambda entry: knows(entry.path) or self._is_handled(entry)
            )

    def _names_ahead(self) -> _Names:
        def enter(folder: str) -> bool:
            return self._identity is not None and self._is_part(folder, os.lstat(folder))

        return walk(
            [self.path],
            recursive=self._recursive,
            enter=lambda folder: folder == self.path or enter(folder),
            failed=lambda *_: None,
            not_a_file=lambda *_: None,
        )

    def _is_handled(self, entry: os.DirEntry[str]) -> bool:
        if not self.handled.knows_any:
            return False  # images are moved: no file needs to be compared
        signature = self._signature_of(entry)
        return signature is None or self.handled.meet(entry.path, signature)

    def signature(self, path: str) -> Signature | None:
        """Read the state of a file; None when it is gone, no regular file, or in a folder that is not watched.

        None also of a share that does not answer: the walk that begins when it does again meets the file anew.
        """
        if not self.answers():
            return None
        try:
            signature = self._to_signature(self._roots.status(path))
        except OSError:
            return None
        folder = path.rpartition("/")[0]
        if is_below_leftover(folder, self.path):
            return None
        while len(folder) > len(self.path):
            if is_marked(folder):
                return None
            folder = folder.rpartition("/")[0]
        return signature

    def _go_missing(self, why: str | FolderBusy) -> None:
        if self.why_missing is None and isinstance(why, FolderBusy):
            logger.error(tr("not watched yet: {why}", why=str(why)))
        elif self.why_missing is None:
            logger.warning(
                tr("inbox '{path}' is missing ({why}): it is watched again once it is back", path=self.path, why=why)
            )
        why = str(why)
        self.why_missing, self.other_files = why, 0
        self.close()
        if self._hints is not None and self._identity is not None:
            self._hints.sweep(self.path)
        self._identity = None
        self.presence.is_remote = True

    def _begin_watching(self, identity: FolderIdentity, source: HintSource | None) -> None:
        if source is not None and source is self._hints:
            source.sweep(self.path)
        self.close()
        self.why_missing, self._identity, self._hints = None, identity, source
        self._choose_mode()
        if self.why_polled is None:
            self._arm(self.path, identity)
        self._walk_again = False
        self.next_walk = self._clock()

    def _choose_mode(self) -> None:
        before = self.why_polled
        remote = remote_kind(self.path)
        self.presence.is_remote = remote is not None
        self.why_polled = reason_to_poll(remote, asked_for=self._force_poll, has_events=self._hints is not None)
        if self.why_polled not in (None, before):
            logger.info(
                tr(
                    "inbox '{path}' is polled every {poll:g} s: {polled}",
                    path=self.path,
                    poll=self._pace.poll,
                    polled=self.why_polled,
                )
            )

    def _begin_walk(self) -> None:
        self._refresh_excluded()
        self._turn += 1
        self._walk_cost = 0.0
        self._walk_again = False
        self._survey = self._new_survey()
        self._walk = self._names([self.path], self._survey)

    def _new_survey(self) -> Skipped:
        return Skipped(self.path, recursive=self._recursive, known=self._real_paths)

    def _end_walk(self) -> None:
        now = self._clock()
        self._walk = None
        self.backlog.clear()
        self.handled.turn()
        if self._hints is not None and self.why_polled is None:
            self._hints.sweep(self.path, self._turn)
        pause = self._pace.rescan if self.why_polled is None else self._pace.poll
        cost = self._walk_cost + now - self._step_begun
        self.next_walk = now + (cost if self._walk_again else max(pause, _PAUSE_PER_COST * cost))
        self.other_files, self.not_entered = self._survey.count, len(self._survey.not_entered)
        for sentence in self._survey.not_entered:
            if self._complaints.is_new(sentence, None, self._turn):
                logger.warning("{}", sentence)
        self._surveyed(self._survey)
        self._complaints.forget_before(self._turn)

    def _next_name(self) -> os.DirEntry[str] | None:
        """Go on by one name; folders that have just appeared come before the walk of the whole inbox."""
        if self._arrivals_walk is None and self._arrivals:
            folders, self._arrivals = list(self._arrivals), {}
            self._refresh_excluded()
            self._arrivals_walk = self._names(folders)
        try:
            if self._arrivals_walk is not None:
                return next(self._arrivals_walk)
            if self._walk is not None:
                return next(self._walk)
        except StopIteration:
            if self._arrivals_walk is not None:
                self._arrivals_walk = None
            else:
                self._end_walk()
        return None

    def _names(self, folders: list[str], survey: Skipped | None = None) -> _Names:
        def failed(folder: str, error: OSError) -> None:
            if survey is not None:
                survey.unreadable += 1
            self._complaints.of_folder(folder, error, self._turn)

        def not_a_file(path: str, what: str) -> None:
            if survey is not None:
                survey.not_files += 1
            self._complaints.of_file(path, what, self._turn)

        return walk(
            folders,
            recursive=self._recursive,
            enter=self._enter,
            failed=failed,
            not_a_file=not_a_file,
            other=None if survey is None else survey.meet,
            roots=self._roots,
            leftover=None
            if survey is None
            else lambda folder: survey.leftovers.count_folder(
                self._leftovers.pictures_in(folder), folder.rpartition("/")[2]
            ),
        )

    def _enter(self, folder: str) -> bool:
        if folder == self.path:
            identity = self.presence.identify()
            if identity != self._identity:
                return False  # check() will find out
        else:
            stat = os.lstat(folder)
            identity = (stat.st_dev, stat.st_ino)
            if not self._is_part(folder, stat, self._survey):
                return False
        if self.why_polled is None:
            self._arm(folder, identity)
        return True

    def _is_part(self, folder: str, stat: os.stat_result, survey: Skipped | None = None) -> bool:
        """Whether a folder below the inbox is a part of it; a folder that a person may miss is added to ``survey``."""
        identity = (stat.st_dev, stat.st_ino)
        if not modes.S_ISDIR(stat.st_mode) or self._identity is None:
            return False
        if is_below_leftover(folder, self.path):
            return False  # renamed since it was met
        if folder in self._excluded or identity in self._excluded_identities:
            return False
        if is_marked(folder):
            if survey is not None:
                survey.meet_marked(folder, self._outputs)
            return False
        if stat.st_dev == self._identity[0] or self._cross_mounts:
            return True
        if survey is not None:
            survey.meet_mount(folder)
        return False

    def _arm(self, folder: str, identity: FolderIdentity) -> None:
        if self._hints is None:
            return
        try:
            self._hints.arm(folder, identity, owner=self.path, turn=self._turn, follow=folder == self.path)
        except (FileNotFoundError, NotADirectoryError):
            return  # taken away while we looked; of the inbox itself, check() will find out
        except OSError as error:
            self._poll_instead(error, len(self._hints))
            self._hints.sweep(self.path)

    def _poll_instead(self, error: OSError, watched: int) -> None:
        self.why_polled = error.strerror or str(error)
        logger.warning(sentence_of_polling(self.path, error, watched, self._pace.poll))

    def _signature_of(self, entry: os.DirEntry[str]) -> Signature | None:
        try:
            return self._to_signature(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complaints.of_folder(entry.path.rpartition("/")[0], error, self._turn)
            return None

    def _to_signature(self, stat: os.stat_result) -> Signature | None:
        if not modes.S_ISREG(stat.st_mode):
            return None
        is_foreign = self._identity is not None and stat.st_dev != self._identity[0]
        return Signature(stat.st_size, stat.st_mtime_ns, 0 if self.why_polled or is_foreign else stat.st_ino)

    def _refresh_excluded(self) -> None:
        self._excluded_identities = frozenset(filter(None, map(identify, self._excluded)))
