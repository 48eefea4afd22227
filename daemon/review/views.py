"""What the page shows: the pile, the classes, the quarantine, and what was filed last."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from daemon.files.roots import OpenFolders
from daemon.filing.class_paths import is_inside
from daemon.filing.quarantine_notes import read_reason
from daemon.journal.history import Wanted
from daemon.journal.records import Filing, State
from daemon.operations.classes import class_folder, class_folders
from daemon.review.api import (
    Class,
    Classes,
    ClassOrdering,
    ClassPage,
    Group,
    ImagePage,
    QuarantinedImage,
    QuarantinePage,
    Reason,
    UnsurePage,
)
from daemon.review.decisions import DecisionQueue
from daemon.review.grouping import Grouping
from daemon.review.images import Images, newest_of_each_place
from daemon.review.pile import SHARE_OF_TIME, Pile, PileReader
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal
from daemon.review.unlikeness import Unlikeness
from models.errors import UserError
from models.text.language import mark, tr
from models.text.printable import shown

#: Rows that are looked at for one page, at most, where many images were taken away.
_MOST_LOOKED_AT = 2000
_REASONS = {
    "empty": mark("the file is empty"),
    "not-an-image": mark("it is no image"),
    "truncated": mark("it is cut short"),
    "corrupt": mark("it is damaged"),
    "too-large": mark("it is too large"),
    "timeout": mark("it takes too long to decode"),
    "crashed-decoder": mark("it crashes the decoder"),
}


class Views:
    """Answers the questions of the page. Safe in any thread."""

    def __init__(
        self,
        place: ReviewedOutput,
        images: Images,
        pile: PileReader,
        grouping: Grouping,
        unlikeness: Unlikeness,
        decisions: DecisionQueue,
    ) -> None:
        self._place = place
        self._images = images
        self._pile = pile
        self._grouping = grouping
        self._unlikeness = unlikeness
        self._decisions = decisions
        self._counts = _Counts(images)

    def warm_up(self) -> None:
        """Read what every page begins with, before one is loaded."""
        with suppress(Refusal, UserError):  # whoever loads it is told
            self.classes()
            self._pile.current()

    def unsure(self, after: int | None, limit: int, images: int) -> UnsurePage:
        """Show some groups of the pile, each with its first images. Raises `Refusal`."""
        pile, waiting = self._undecided()
        groups = self._grouping.of(pile, after)
        shown_groups = [group for group in groups.groups if any(number in pile.contents for number in group.ids)]
        start = next((place + 1 for place, group in enumerate(shown_groups) if group.id == after), 0)
        page = shown_groups[start : start + limit]
        members = [[number for number in group.ids if number in pile.contents] for group in page]
        found = self._images.filings([number for ids in members for number in ids[:images]])
        return UnsurePage(
            total=len(pile.contents),
            grouping=groups.edition,
            is_grouped=groups.is_grouped,
            progress=groups.progress,
            left=groups.left or 0,
            trouble=groups.trouble,
            groups=[
                Group(
                    id=group.id,
                    kind=group.kind,
                    count=len(ids),
                    likely=list(group.likely),
                    images=[
                        self._images.describe(found[number], waiting) for number in ids[:images] if number in found
                    ],
                )
                for group, ids in zip(page, members, strict=True)
            ],
            next=page[-1].id if page and start + limit < len(shown_groups) else None,
        )

    def group(self, number: int, after: int | None, limit: int) -> ImagePage:
        """Show more images of one group. Raises `Refusal`."""
        pile, waiting = self._undecided()
        group = next((group for group in self._grouping.of(pile, number).groups if group.id == number), None)
        if group is None:
            raise Refusal(404, tr("the groups were made anew: load the page again"))
        ids = [number for number in group.after(after) if number in pile.contents]
        found = self._images.filings(ids[:limit])
        return ImagePage(
            images=[self._images.describe(found[number], waiting) for number in ids[:limit] if number in found],
            next=ids[limit - 1] if len(ids) > limit else None,
            total=sum(number in pile.contents for number in group.ids),
        )

    def class_images(self, name: str, after: int | None, limit: int, order: ClassOrdering) -> ClassPage:
        """Show images that lie in the folder of a class, or have its tag. Raises `Refusal`.

        Until they have been compared, the least sure come first in place of the most unlike.
        """
        try:
            folder = class_folder(name, self._place.settings, new=False, paths=self._images.class_paths)
        except UserError as error:
            raise Refusal(404, str(error)) from error
        path = self._place.folder_of(folder)

        def read(last: int | None, count: int, *, least_sure: bool = order != "newest") -> list[Filing]:
            return self._images.read(
                lambda reader: reader.of_class(folder.label or "", path, after=last, least_sure=least_sure, limit=count)
            )

        if order != "most-unlike":
            return ClassPage(**self._page(read, after, limit).model_dump())
        found = self._unlikeness.of(folder.folder, partial(read, least_sure=False))

        def read_unlike(last: int | None, count: int) -> list[Filing]:
            left, rows = found.after(last), list[Filing]()
            for start in range(0, len(left), count):
                ids = left[start : start + count]
                filings = self._images.filings(ids)
                rows += [filings[number] for number in ids if number in filings]
                if len(rows) >= count:
                    break
            return rows[:count]

        page = self._page(read_unlike if found.is_ordered else read, after, limit)
        return ClassPage(
            **page.model_dump(), is_ordered=found.is_ordered, progress=1.0 if found.is_ordered else found.progress
        )

    def live(self, minutes: int, after: int | None, limit: int) -> ImagePage:
        """Show what a model has filed in the last minutes, newest first. Raises `Refusal`."""
        since = datetime.now(UTC) - timedelta(minutes=minutes)

        def read(last: int | None, count: int) -> list[Filing]:
            wanted = Wanted(since=since, states=[State.DONE], as_written=True, before_id=last)
            return self._images.read(lambda reader: reader.history(wanted, count))

        return self._page(read, after, limit, is_wanted=lambda filing: not _is_by_hand(filing))

    def quarantine(self, reason: str | None, after: int | None, limit: int) -> QuarantinePage:
        """Show images that could not be read, newest first. Raises `Refusal`."""

        def read(last: int | None, count: int) -> list[Filing]:
            wanted = Wanted(
                reasons=() if reason is None else (reason,),
                states=[State.DONE, State.REFUSED],
                as_written=True,
                before_id=last,
            )
            return self._images.read(lambda reader: reader.history(wanted, count))

        filings, following = self._filings(read, after, limit)
        counts = self._images.read(lambda reader: reader.counts_by_reason())
        return QuarantinePage(
            images=[self._quarantined(filing) for filing in filings],
            next=following,
            reasons=[Reason(reason=name, count=count, says=_says(name)) for name, count in sorted(counts.items())],
        )

    def classes(self) -> Classes:
        """List all classes. Raises `Refusal`."""
        paths = self._images.class_paths
        folders = {name: name for name in paths.classes} | class_folders(self._place.settings, paths)
        counts = self._counts.current().of_classes(folders, self._place.outputs)
        return Classes(
            classes=[
                Class(
                    name=name,
                    count=counts[name],
                    is_learnt=name in paths.classes,
                    is_inner=name in paths.inner,
                )
                for name in sorted(folders)
                if name.isprintable()
            ],
            others=self._place.settings.others_dir,
        )

    def _undecided(self) -> tuple[Pile, dict[int, str]]:
        waiting = self._decisions.waiting()
        pile = self._pile.current()
        if waiting.keys().isdisjoint(pile.contents):
            return pile, waiting
        left = {number: sha256 for number, sha256 in pile.contents.items() if number not in waiting}
        return Pile(pile.edition, left), waiting

    def _page(
        self,
        read: Callable[[int | None, int], list[Filing]],
        after: int | None,
        limit: int,
        is_wanted: Callable[[Filing], bool] = lambda _: True,
    ) -> ImagePage:
        filings, following = self._filings(read, after, limit, is_wanted)
        waiting = self._decisions.waiting()
        return ImagePage(images=[self._images.describe(filing, waiting) for filing in filings], next=following)

    def _filings(
        self,
        read: Callable[[int | None, int], list[Filing]],
        after: int | None,
        limit: int,
        is_wanted: Callable[[Filing], bool] = lambda _: True,
    ) -> tuple[Sequence[Filing], int | None]:
        """Read until there is a page of images that are still there; also return what the next page comes after."""
        there: list[Filing] = []
        looked_at = 0
        while True:
            rows = read(after, limit)
            looked_at += len(rows)
            there += newest_of_each_place(self._images.still_there(filter(is_wanted, rows)))
            if len(there) >= limit:
                return there[:limit], there[limit - 1].id
            if len(rows) < limit:
                return there, None
            after = rows[-1].id
            if looked_at >= _MOST_LOOKED_AT:
                return there, after

    def _quarantined(self, filing: Filing) -> QuarantinedImage:
        reason = filing.reason or ""
        note = filing.detail or self._note(filing)
        return QuarantinedImage(
            **self._images.describe(filing, self._decisions.waiting()).model_dump(),
            reason=shown(reason),
            says=_says(reason),
            note=None if note is None else shown(note),
        )

    def _note(self, filing: Filing) -> str | None:
        if filing.destination is None:
            return None
        try:
            with OpenFolders(self._place.roots) as folders:
                detail = read_reason(folders.entry(filing.destination)).get("detail")
        except OSError:
            return None
        return detail if isinstance(detail, str) else None


def _is_by_hand(filing: Filing) -> bool:
    """Whether a person put an image there, by this page or a command."""
    return filing.confidence is None and filing.reason is None and filing.duplicate_of is None


def _says(reason: str) -> str:
    return tr(_REASONS[reason]) if reason in _REASONS else shown(reason)


@dataclass(frozen=True)
class _Counted:
    """How many images of each label lie in each folder: all of them, and those that got a tag there."""

    filed: Mapping[tuple[str, Path], int] = field(default_factory=dict)
    tagged: Mapping[tuple[str, Path], int] = field(default_factory=dict)

    def of_classes(self, folders: Mapping[str, str], outputs: Sequence[Path]) -> Counter[str]:
        """Count the images of each class in its folder, in those that a layout has in it, and its tags elsewhere."""
        found: Counter[str] = Counter()
        for counts, is_filed in ((self.filed, True), (self.tagged, False)):
            for (label, folder), count in counts.items():
                if label in folders:
                    place, outers = str(folder), [f"{output}/{folders[label]}" for output in outputs]
                    is_in_class = any(place == outer or is_inside(place, outer) for outer in outers)
                    found[label] += count if is_in_class == is_filed else 0
        return found


class _Counts:
    """Counts the images of each class again when the journal has changed, so often that it takes little of the time."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._lock = threading.Lock()
        self._counted = _Counted()
        self._state: object = None
        self._next = 0.0

    def current(self) -> _Counted:
        """Return the counts. Raises `Refusal`."""
        with self._lock:
            state, started = self._images.read(lambda reader: reader.state()), time.monotonic()
            if state != self._state and started >= self._next:
                self._counted = self._images.read(
                    lambda reader: _Counted(reader.counts_by_class(), reader.counts_of_tagged())
                )
                self._state = state
                self._next = time.monotonic() + (time.monotonic() - started) / SHARE_OF_TIME
            return self._counted
