"""Bring images back to where they came from, a few at a step, and say what became of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.files.outputs import output_of
from daemon.filing.corrections import Corrections
from daemon.filing.status import Status
from daemon.filing.undo import Undone, undo
from daemon.filing.untagging import has_lost_tag
from daemon.journal.records import Filing, State
from daemon.operations.desk import Desk, Item, Result
from daemon.operations.moving import log_move
from daemon.operations.selection import record
from models.text.language import mark, tr
from models.text.printable import quoted

#: The outcomes after which nothing is left to be done.
DONE = frozenset({Status.UNDONE, Status.PLANNED, Status.ALREADY})


@dataclass
class Returning:
    """Images on their way back. ``as_json``: names in sentences are written as they are, not as a shell takes them."""

    desk: Desk
    dry_run: bool
    as_json: bool
    holds: bool
    done: int = 0
    left: int = 0
    in_inbox: int = 0
    held: int = 0
    _kept_out: set[Path] = field(default_factory=set)
    _untagged: set[int | None] = field(default_factory=set)  # filings whose tags somebody else has taken out

    def __post_init__(self) -> None:
        self._corrections = Corrections(self.desk.output, other_outputs=self.desk.outputs[1:])
        self._taken: set[Path] = set()
        self._name: Callable[[Path], str] = str if self.as_json else _quoted

    def bring_back(self, filings: Sequence[Filing]) -> Generator[Item, None, None]:
        """Bring back some images and yield an item for each. Raises `UserError` and JournalBusy."""
        desk = self.desk
        desk.begin_step()
        if not self.dry_run:
            self._keep_out(filings)
        tagged = [filing for filing in filings if filing.action == "tag" and filing.destination is not None]
        self._untagged = {filing.id for filing in tagged if has_lost_tag(filing, desk.roots)}
        journal = None if self.dry_run else desk.journal
        held = desk.held if self.holds else None
        undone = list(undo(journal, filings, desk.roots, taken=self._taken, held=held))
        self._look_again(undone)
        if any(_may_be_corrected(image) for image in undone):
            for _ in self._corrections.read():
                yield {}
        for image in undone:
            yield self._item(image)

    def result(self) -> Result:
        """Return how many are done and left, and how many of those done are in an inbox now, and held there."""
        return {"done": self.done, "left": self.left, "in_inbox": self.in_inbox, "held": self.held}

    def _keep_out(self, filings: Sequence[Filing]) -> None:
        """Keep daemons out of the inboxes that images go back to, as far as they are this daemon's."""
        inboxes = {
            inbox
            for inbox in self.desk.settings.watch
            if inbox != self.desk.output and any(filing.source.is_relative_to(inbox) for filing in filings)
        }
        if inboxes - self._kept_out:
            self.desk.keep_out(inboxes - self._kept_out)
            self._kept_out |= inboxes

    def _look_again(self, undone: Sequence[Undone]) -> None:
        """Have what is not held filed at once, also where the watcher has dealt with it or has no events."""
        done = [image for image in undone if image.status is Status.UNDONE]
        # What was left where it is, by a rule or since it cannot be read, is not held.
        free = [image for image in done if not self.holds or (image.filing.destination is None and not image.held)]
        back = [image.destination or image.filing.source for image in free]
        if back and not self.dry_run:
            self.desk.look_again(back)

    def _item(self, undone: Undone) -> Item:
        ok = undone.status in DONE
        self.done, self.left = self.done + ok, self.left + (not ok)
        # What resort had moved came from a class folder. An inbox may be the output itself.
        is_from_class_folder = output_of(undone.filing.source.parent, self.desk.outputs) is not None
        self.in_inbox += ok and not is_from_class_folder
        self.held += undone.held
        back = None if undone.destination is None else str(undone.destination)
        if undone.status is Status.UNDONE and undone.destination is not None and undone.filing.destination is not None:
            log_move(self.desk, undone.filing.destination, undone.destination)
        return record(undone.filing) | {
            "outcome": undone.status.value,
            "back": back,
            "held": undone.held,
            "says": self._sentence(undone),
        }

    def _sentence(self, undone: Undone) -> str:
        filing = undone.filing
        source = self._name(filing.source)
        is_done = undone.status in (Status.UNDONE, Status.PLANNED)
        if filing.destination is None and is_done and (undone.held or filing.state is State.DONE):
            return tr("{source} had got no tag, and gets none", source=source)
        if filing.state in (State.REFUSED, State.LEFT) or (filing.destination is None and is_done):
            return tr("{source} will be classified again", source=source)
        destination = self._name(filing.destination or filing.source)
        if filing.action == "tag" and is_done:
            if filing.id in self._untagged:
                return tr("{source} has no tag of this program any more: there is nothing to take out", source=source)
            says = mark("the tag of {source} is taken out"), mark("the tag of {source} is to be taken out")
            return tr(says[undone.status is Status.PLANNED], source=source)
        match undone.status:
            case Status.UNDONE if undone.destination is not None:
                return f"{destination} -> {self._name(undone.destination)}"
            case Status.PLANNED if undone.destination is not None:
                return tr("{name} would go to {place}", name=destination, place=self._name(undone.destination))
            case Status.UNDONE:
                return tr("{name} is removed; the original is {source}", name=destination, source=source)
            case Status.PLANNED:
                return tr("{name} is to be removed; the original is {source}", name=destination, source=source)
            case Status.GONE:
                return self._gone(filing, destination)
            case Status.CHANGED if filing.action in ("move", "tag"):
                return tr("{name} is another file now, and stays", name=destination)
            case Status.CHANGED:
                return tr(
                    "{name} stays: {source} is no longer there with the same content", name=destination, source=source
                )
            case Status.STOPPED:
                return tr("{name} stays: the program was told to stop", name=destination)
            case _:
                return undone.error or tr("{name} was undone already", name=destination)

    def _gone(self, filing: Filing, destination: str) -> str:
        corrected = self._corrections.find(filing)
        if corrected is None:
            return tr("{name} is no longer there", name=destination)
        return tr(
            "{name} was corrected: somebody moved it to {place}, and there it stays",
            name=destination,
            place=self._name(corrected),
        )


def _may_be_corrected(undone: Undone) -> bool:
    return undone.status is Status.GONE and undone.filing.destination is not None


def _quoted(path: Path) -> str:
    return quoted(str(path))
