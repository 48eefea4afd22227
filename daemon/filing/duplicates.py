"""Recognise duplicates: images with the same bytes as one that was filed before and is still there.

The journal has an index of the filings by content; whether the image of one is still there, the file system says: it
lies where it was filed, where a person moved it to, or under another name in its folder, and is what was filed, by its
inode, size and time or else by its content. A filing that was itself a duplicate does not count, and in doubt an image
is no duplicate: it is filed like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from daemon.files.copying import Stopping
from daemon.filing.folders import Folders
from daemon.filing.identity import is_as_filed
from daemon.filing.renamed import name_of
from daemon.filing.transfer import Transfer
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.labels import WantedLabels
from daemon.journal.records import Filing, State
from models.text.language import tr
from models.text.printable import shown

#: What becomes of duplicates: they are filed like other images, go to a folder of their own, or stay where they are.
DuplicatePolicy = Literal["keep", "folder", "leave"]

#: Filings of one content that are looked at, newest first: mostly the first one is there.
_FEW_FILINGS, _MOST_FILINGS = 2, 20
#: Images remembered that no journal knows of; beyond them it starts over, for a dry run may go on for months.
_MOST_KNOWN = 100_000


class Original(NamedTuple):
    """The image that another one is a duplicate of: its filing, and where it lies."""

    filing: Filing
    path: Path

    def note_in(self, row: Filing, output: Path) -> None:
        """Turn the row of an image into that of a duplicate of this one, which is of no class."""
        row.duplicate_of = self.filing.id
        row.label = row.confidence = row.model_digest = None
        place = self.path.relative_to(output) if self.path.is_relative_to(output) else self.path
        row.detail = tr("the same as {path}", path=shown(str(place)))


class Duplicates:
    """What one filer does with duplicates, and how it recognises them.

    ``folder``: the one for them, below the output.
    """

    def __init__(self, policy: DuplicatePolicy = "keep", folder: str = "duplicates") -> None:
        self.folder = folder
        self.are_kept = policy == "keep"
        self.are_left = policy == "leave"
        self._known: dict[str, Filing] = {}

    def rounds(self, images: Sequence[Transfer]) -> Iterator[list[Transfer]]:
        """Split a batch, so that no two images with the same content are filed at once, in the order of the batch.

        Whether the first one was filed is known before the second one is looked at.
        """
        left = list(images)
        while left and not self.are_kept:
            contents: set[str] = set()
            now: list[Transfer] = []
            later: list[Transfer] = []
            for image in left:
                content = image.row.sha256
                (later if content in contents else now).append(image)
                if content is not None:
                    contents.add(content)
            yield now
            left = later
        if left:
            yield left

    def remember(self, row: Filing) -> None:
        """Remember an image that is filed, or would be after a dry run, without a row in the journal."""
        if self.are_kept or row.sha256 is None or row.reason is not None or row.duplicate_of is not None:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.setdefault(row.sha256, row)

    def original_of(self, row: Filing, journal: Journal, folders: Folders, *, dry_run: bool) -> Original | None:
        """Find the image that this one is a duplicate of; None for any other. Raises JournalBusy and Stopping."""
        if self.are_kept or row.sha256 is None or row.reason is not None:
            return None
        known = self._known.get(row.sha256)
        if known is not None and known.place is not None:
            original = Original(known, known.place)
            if dry_run or _is_there(original, folders):
                return original
        return next(
            (candidate for candidate in _candidates(row.sha256, journal) if _is_there(candidate, folders)), None
        )


def _candidates(content: str, journal: Journal) -> Iterator[Original]:
    """Yield the filings of a content and where their images may lie, the likeliest place first."""
    filings = journal.filed_with_content(content, _FEW_FILINGS)
    yield from _where_filed(filings)
    if len(filings) == _FEW_FILINGS:
        filings = journal.filed_with_content(content, _MOST_FILINGS)
        yield from _where_filed(filings[_FEW_FILINGS:])
    if not filings:
        return
    for label in journal.labels(WantedLabels(sha256=[content])):
        if label.filing_id is not None:
            named = journal.history(Wanted(ids=[label.filing_id], states=[State.DONE]), 1)
            yield from (Original(filing, label.path) for filing in named)
    for filing in [filing for filing in filings if filing.duplicate_of is None][:1]:
        if filing.folder is not None:
            with suppress(OSError):
                name = name_of(filing.folder, filing.filed_ino)
                if name is not None:
                    yield Original(filing, filing.folder / name)


def _where_filed(filings: Iterable[Filing]) -> Iterator[Original]:
    for filing in filings:
        if filing.duplicate_of is None and filing.place is not None:
            yield Original(filing, filing.place)


def _is_there(original: Original, folders: Folders) -> bool:
    try:
        return is_as_filed(folders.entry(original.path), original.filing)
    except Stopping:
        raise
    except OSError:
        return False  # it is gone, or on a drive that is away
