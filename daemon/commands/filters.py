"""Options that choose filings, and the journal that they are looked up in."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from daemon import config
from daemon.config import Settings
from daemon.files.output_marks import OutputMarks
from daemon.files.roots import Roots
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing
from daemon.monitoring.messages import quoted
from daemon.operations.selection import LAST_RUN, GivenName
from daemon.state import journal_of
from models.errors import UserError
from models.text.commandline import Parser
from models.text.language import tr
from models.text.shares import read_share

_EXAMPLE = "2026-11-23T14:30"
#: Days that may be called by a word.
_DAYS_AGO = {"today": 0, "yesterday": 1, "오늘": 0, "어제": 1}


def add_place(parser: Parser) -> None:
    """Add the options that say whose journal is meant."""
    parser.add_argument("--output", metavar="DIR", help=tr("the output folder of the daemon"))
    parser.add_argument("--state-dir", metavar="DIR", help=tr("where the daemon keeps its journal"))
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=tr("settings file (./config.toml where there is one)")
    )


def place_again(options: argparse.Namespace) -> str:
    """Return the options of `add_place` as they were given, quoted for a shell, for another command."""
    given = {"--output": options.output, "--state-dir": options.state_dir, "--config": options.config}
    return "".join(f" {option} {_shell_word(str(value))}" for option, value in given.items() if value is not None)


def _shell_word(text: str) -> str:
    return shlex.quote(text) if text.isprintable() else quoted(text)


def add_which(parser: Parser) -> None:
    """Add the options that choose filings."""
    add = parser.add_argument
    add(
        "--file",
        metavar="NAME",
        help=tr("only images with this name, in the inbox or where they were filed; or a path, or the end of one"),
    )
    add(
        "--since",
        type=instant,
        metavar="DAY",
        help=tr("only from that day on (2026-11-23, today, yesterday, or 2026-11-23T14:30)"),
    )
    add(
        "--run",
        metavar="RUN",
        help=tr('only of one run of the daemon, or "{last_run}"; history names the runs', last_run=LAST_RUN),
    )
    add(
        "--checkpoint",
        type=digest,
        metavar="DIGEST",
        help=tr("only what was filed with this checkpoint; the first letters of its digest are enough"),
    )


def which(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_which` ask for, as an operation takes it; see `Which`."""
    file = None if options.file is None else GivenName.here(options.file)
    return {
        "file": None if file is None else file.name,
        "path": None if file is None or "/" not in file.name else file.path,
        "since": options.since,
        "run": options.run,
        "checkpoint": options.checkpoint,
    }


class FiledOutput:
    """Output of a daemon, and the journal of what was filed there."""

    def __init__(self, options: argparse.Namespace, *, without_journal: bool = False, by_daemon: bool = False) -> None:
        """Raises UserError for settings that are wrong, and where there is no journal.

        ``without_journal``: a quarantine is enough. ``by_daemon``: so is a running daemon, whose journal this user need
        not be able to read; call `require_journal` where none runs.
        """
        given = {key: value for key in ("output", "state_dir") if (value := getattr(options, key)) is not None}
        self.settings: Settings = config.load(given, options.config)
        state_dir, output, outputs = self.settings.state_dir, self.settings.output, self.settings.outputs
        self.journal = journal_of(state_dir, output)
        self.marks = OutputMarks(outputs, self.journal.parent)
        why_closed = self.marks.why_closed if outputs[1:] else None
        self.roots = Roots([*self.settings.watch, *outputs], why_closed=why_closed)
        self.state = self.journal.parents[1]
        self._without_journal = without_journal
        if not by_daemon:
            self.require_journal()

    def require_journal(self) -> None:
        """Raise UserError where there is no journal, and no quarantine that is enough."""
        has_quarantine = self._without_journal and (self.settings.output / self.settings.quarantine_dir).is_dir()
        if not _exists(self.journal) and not has_quarantine:
            raise UserError(
                tr(
                    "there is no journal of filings into {output} in {state}: where a daemon files elsewhere, "
                    "give its --output and --state-dir; else nothing was filed yet",
                    output=self.settings.output,
                    state=self.state,
                )
            )

    def filings(self, wanted: Wanted, limit: int | None = None) -> Iterator[Filing]:
        """Yield the wanted filings, newest first; none where there is no journal."""
        if not _exists(self.journal):
            return iter(())
        return read_history(self.journal, wanted, limit)


def _exists(path: Path) -> bool:
    """Whether a file is there, as far as this user can see."""
    try:
        return path.exists()
    except OSError:
        return False


def instant(text: str) -> datetime:
    """Parse a day (its beginning) or a time, of this machine's zone where none is given."""
    if (days := _DAYS_AGO.get(text.casefold())) is not None:
        today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return (today - timedelta(days=days)).astimezone()  # of the day's own zone, where the clocks changed since
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            tr(
                "'{text}' is neither a day like 2026-11-23, today or yesterday, nor a time like {example}",
                text=text,
                example=_EXAMPLE,
            )
        ) from error


def end(text: str) -> datetime:
    """Parse a time as `instant` does, or a day: then its end."""
    moment = instant(text)
    if (re.fullmatch(r"[\d-]+", text) or text.casefold() in _DAYS_AGO) and moment.time() == time():
        return (moment.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    return moment


def digest(text: str) -> str:
    """Parse a checkpoint's digest or its beginning."""
    if not re.fullmatch(r"[0-9a-fA-F]{4,64}", text):
        raise argparse.ArgumentTypeError(
            tr("'{text}' is not how a digest begins: give at least its first 4 letters", text=text)
        )
    return text.lower()


def probability(text: str) -> float:
    """Parse a number from 0 to 1, or a share such as 70%."""
    try:
        number = read_share(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(tr("'{text}' is not a number from 0 to 1, nor a share such as 70%", text=text))
    return number


def count(text: str) -> int:
    """Parse a whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(tr("'{text}' is not a whole number of at least 1", text=text))
    return int(text)
