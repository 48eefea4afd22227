"""Labels as a lesson gets them: read beside the process that writes the journal, and written to a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.files.roots import Roots
from daemon.filing.class_paths import is_in_folder_of
from daemon.filing.labelled_images import find_labelled
from daemon.journal.journal import read_history, read_labels
from daemon.journal.labels import Label, WantedLabels
from daemon.journal.reader import JournalReader
from daemon.journal.records import Filing, State
from daemon.learning.record import LessonRecord
from models.checkpoints.checkpoint import read_pointer
from models.errors import CheckpointError
from models.files.atomic import atomic_file
from models.text.jsontext import json_text

#: The file in a run folder with the labels that it has learned from, as `trainer.learning` writes it.
LEARNED_NAME = "labels.jsonl"
_MOST_BYTES = 1 << 28
#: So many of the last filings are looked at for images that were left where they were filed.
_LATEST_FILED = 1000


@dataclass(frozen=True)
class LabelState:
    """The labels that hold now: the ``digest`` of what they say, how many there are, and the greatest of their ids.

    ``waiting``: how many are not learned from, or were and are taken back.
    """

    digest: str
    count: int
    last_id: int
    waiting: int


def look_at_labels(journal: Path, known: LessonRecord | None) -> LabelState:
    """Find out what labels there are beside those that are ``known``. Raises `UserError`."""
    lines, last_id, new = [], 0, 0
    known = known or LessonRecord(labels="", result="", says="", time=0, seconds=0)
    for label in read_labels(journal) if journal.exists() else ():
        assert label.id is not None
        lines.append(f"{label.sha256} {label.label or ''}\n")
        last_id = max(last_id, label.id)
        new += label.id > known.last_id
    digest = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    taken_back = max(0, known.count - (len(lines) - new))
    return LabelState(digest, len(lines), last_id, 0 if digest == known.learned else new or taken_back)


def write_labels(journal: Path, file: Path, folders: Sequence[Path], checkpoints: Path) -> None:
    """Write the labels that hold for `trainer learn`. Raises `UserError`, OSError and sqlite3.Error.

    ``folders``: the inboxes and the output. With them go the labels that the run in use in ``checkpoints`` has learned
    from and this journal has never had: those of another daemon with the same checkpoints, or of a journal that was
    lost, which a lesson would otherwise unlearn.
    """
    roots = Roots(folders)
    seen: set[str] = set()  # every content that was ever labelled, also those whose label was taken back
    held: set[str] = set()
    with atomic_file(file, durable=False, mode=None) as opened, closing(JournalReader(journal)) as reader:
        for label in read_labels(journal, WantedLabels(every=True)) if journal.exists() else ():
            seen.add(label.sha256)
            if not label.forgotten and label.sha256 not in held:  # the newest comes first
                held.add(label.sha256)
                opened.write(_line(label, find_labelled(label, roots, reader.filed_with_inode)))
        for learned in _learned(checkpoints):
            if learned["sha256"] not in seen:
                opened.write(f"{json_text(learned)}\n".encode())


def filed_file(labels: Path) -> Path:
    """Return the file of filed images that lies beside one of labels."""
    return labels.with_name(f"{labels.stem}-filed{labels.suffix}")


def write_filed(journal: Path, file: Path, outputs: Sequence[Path]) -> None:
    """Write the images that were filed last into class folders of the outputs and still lie there, for `trainer learn`.

    Raises `UserError`, OSError and sqlite3.Error.
    """
    with atomic_file(file, durable=False, mode=None) as opened:
        for filing in read_history(journal, limit=_LATEST_FILED) if journal.exists() else ():
            if _is_left(filing, outputs):
                given = {
                    "path": str(filing.destination),
                    "label": filing.label,
                    "how": "filed",
                    "time": filing.time.isoformat(timespec="milliseconds"),
                }
                opened.write(f"{json_text(given)}\n".encode())


def _is_left(filing: Filing, outputs: Sequence[Path]) -> bool:
    """Whether an image lies in the folder of the class that it was filed as."""
    path = filing.destination
    if filing.state is not State.DONE or path is None or filing.label is None:
        return False
    with suppress(OSError):
        return is_in_folder_of(filing.label, path.parent, outputs) and path.lstat().st_ino == filing.filed_ino
    return False


def _line(label: Label, now: Path | None) -> bytes:
    given = {
        "path": str(label.path),
        "now": None if now is None else str(now),
        "sha256": label.sha256,
        "label": label.label,
        "how": label.how.value,
        "time": label.time.isoformat(timespec="milliseconds"),
    }
    return f"{json_text(given)}\n".encode()


def _learned(checkpoints: Path) -> Iterator[dict[str, Any]]:
    """Yield the labels that the run in use has learned from; none where that cannot be read: the lesson will tell."""
    with suppress(OSError, ValueError, CheckpointError, RecursionError):
        pointer = read_pointer(checkpoints)
        file = None if pointer is None else checkpoints / pointer.run / LEARNED_NAME
        if file is None or file.stat().st_size > _MOST_BYTES:
            return
        for line in file.read_bytes().splitlines():
            learned = json.loads(line)
            if isinstance(learned, dict) and isinstance(learned.get("sha256"), str) and "label" in learned:
                yield learned
