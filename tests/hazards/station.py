"""A real daemon at work on folders of its own, and what the tests ask of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daemon.commands.status import read
from daemon.monitoring.health import Health
from daemon.state import journal_path, status_path
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save
from tests.processes import Daemon, daemon, wait_for

_SEEDS = itertools.count(1)


class Station:
    """``folder`` holds everything: the inbox, what is sorted, the daemon's state, and pictures on their way."""

    def __init__(self, folder: Path, inbox: Path, output: Path, running: Daemon) -> None:
        self.folder = folder
        self.inbox = inbox
        self.output = output
        self.running = running
        self.journal = journal_path(folder / "state", output)

    def picture(self, name: str, kind: str = KINDS[0]) -> Path:
        """A new picture, on the inbox's file system and outside the inbox; no two have the same bytes."""
        return save(kind, next(_SEEDS), self.inbox.parent / f"outside-{next(_SEEDS)}" / name)

    def status(self) -> Health:
        """How the daemon says that it is."""
        return read(status_path(self.folder / "state", self.output))

    def holders(self, content: bytes) -> list[Path]:
        """Every file with these bytes, in the inbox and where images are filed to."""
        return [path for root in (self.inbox, self.output) for path in root.rglob("*") if _holds(path, content)]

    def filed(self, path: Path, content: bytes, folder: str = KINDS[0]) -> None:
        """Wait until what is at ``path`` in the inbox has left it, and these bytes are in that folder alone.

        Between two drives the original is unlinked, under a hidden name, some time after it has left its place.
        """
        wait_for(lambda: not path.exists(), f"{path.name} leaves the inbox:\n{self.running.log()[-2000:]}")
        filed = [self.output / folder / path.name]
        wait_for(lambda: self.holders(content) == filed, f"{path.name} is filed:\n{self.running.log()[-2000:]}")

    def touch(self, path: Path) -> None:
        """Let a file in the inbox be looked at now that waits for its time to be tried again."""
        path.touch()
        path.open("ab").close()

    def well(self) -> None:
        """The daemon is the one that was started, and files what comes now."""
        assert self.running.process.poll() is None
        picture = self.picture(f"well-{next(_SEEDS)}.png")
        content = picture.read_bytes()
        self.filed(picture.rename(self.inbox / picture.name), content)
        assert "Traceback" not in self.running.log()


def _holds(path: Path, content: bytes) -> bool:
    """Whether it is a file of these bytes; others may be filed at this very moment."""
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


@contextmanager
def station(
    folder: Path,
    publish: Publish,
    *arguments: str,
    inbox: Path | None = None,
    output: Path | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[Station]:
    """A daemon that knows the kinds of pictures and settles quickly; it must end well."""
    publish(folder / "checkpoints" / "run")
    inbox, output = inbox or folder / "inbox", output or folder / "sorted"
    places = ("--watch", str(inbox), "--output", str(output), "--state-dir", "state", "--checkpoint", "checkpoints")
    quick = ("--threshold", "0", "--settle-seconds", "0.2")
    with daemon(folder, *places, *quick, *arguments, command=command) as running:
        yield Station(folder, inbox, output, running)
        assert running.terminate() == 0, running.log()[-2000:]
        assert "Traceback" not in running.log()
