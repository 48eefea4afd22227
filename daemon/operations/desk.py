"""What an operation works with, and the shape that all operations have.

An operation is a generator. Each step of it is short (a group of a few images; some 50 ms where no large copy is made)
and ends with everything in the journal, so that it may be closed wherever it has yielded, and nothing is lost. In each
step the output is there, and nobody else files into it: the caller sees to that. It
yields an item for each image, or an empty one where a step of longer work had nothing to say, and returns a result.
Items and results are values of JSON: beside what a program wants of them they hold sentences, in the language that is
in use while the operation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from daemon.config import Settings
from daemon.files.roots import Roots
from daemon.filing.held import HeldImages
from daemon.filing.recovery import recover
from daemon.journal.journal import Journal, JournalBusy
from models.errors import UserError
from models.text.language import tr

#: An image and what became of it: its record, and ``says``, a sentence. An empty one is to be skipped.
Item = dict[str, object]
#: What there is to say at the end.
Result = dict[str, object]
Operation = Generator[Item, None, Result]

#: Images of one step: beside a running daemon, whose arriving images wait for it, and without one.
STEP_BESIDE_A_DAEMON, STEP = 8, 64


class Params(BaseModel):
    """What an operation is asked for, as a peer sends it: every name and type is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def changes(self) -> bool:
        """Whether the operation writes anything: else it needs neither locks nor a journal that can be written."""
        return True


def tell_nobody(paths: Sequence[Path]) -> None:
    """Stand in for `Desk.look_again` where no daemon runs."""


def lock_nothing(inboxes: Collection[Path]) -> None:
    """Stand in for `Desk.keep_out` in a daemon, which holds the locks of its inboxes already."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What an operation works with: the output of a daemon, its journal, and the daemon itself if it runs.

    ``roots``: the inboxes and the output. ``held``: the images that are held, as the daemon knows them.
    ``look_again``: have the watcher look at files of the inboxes although it has dealt with them.
    ``keep_out``: keep daemons out of these inboxes until the operation is over; raises `UserError` where one is at
    work. ``is_to_stop``: whether somebody wants the operation to end.
    """

    settings: Settings
    journal: Journal
    roots: Roots
    held: HeldImages
    look_again: Callable[[Sequence[Path]], None] = tell_nobody
    keep_out: Callable[[Collection[Path]], None] = lock_nothing
    is_to_stop: Callable[[], bool] = lambda: False
    is_running: bool = False

    @property
    def output(self) -> Path:
        """Return the folder of the class folders."""
        return self.settings.output

    @property
    def outputs(self) -> list[Path]:
        """Return the folders of class folders: that one, and those of classes that have their own."""
        return self.settings.outputs

    @property
    def step(self) -> int:
        """Return how many images an operation deals with at a time."""
        return STEP_BESIDE_A_DAEMON if self.is_running else STEP

    def begin_step(self) -> None:
        """Raise KeyboardInterrupt where the operation is to end; all that was done has been said by then."""
        if self.is_to_stop():
            raise KeyboardInterrupt

    def recover(self) -> None:
        """Finish what an error has left half done since the daemon began; without one it is done already.

        Raises JournalBusy.
        """
        if self.is_running and self.journal.interrupted():
            recover(self.journal, self.roots)


@contextmanager
def explaining_a_busy_journal() -> Iterator[None]:
    """Raise `UserError` where the body raises JournalBusy: what is done by then is done."""
    try:
        yield
    except JournalBusy as error:
        raise UserError(
            tr("the journal cannot be used now ({error}): run this again for what is left", error=error)
        ) from error
