"""Make a journal as an earlier version of the program left it, with the code of that version.

``PYTHONPATH=CHECKOUT python make.py 3 FOLDER`` in a checkout of that version writes FOLDER/3.db, the journal, and
FOLDER/3.json: the rows as that version reads them, the notes, and the files that there were. All was made below
`ROOT`, and `FAR` on another file system; neither is there any more.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT, FAR = Path("/srv/imagesortd-era"), Path("/dev/shm/imagesortd-era")
_MTIME = 1_600_000_000


def main(version: int, folder: Path) -> None:
    for place in (ROOT, FAR):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    try:
        desk = import_module("tests.filing_desk").make_desk(ROOT)
        work(desk, version)
        with sqlite3.connect(desk.journal_path) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what was interrupted is in the log
        db.close()
        shutil.copyfile(desk.journal_path, folder / f"{version}.db")
        record = {"rows": rows(desk.journal_path, version), "files": [*files(ROOT), *files(FAR)], "notes": NOTES}
        (folder / f"{version}.json").write_text(json.dumps(record, indent=1) + "\n")
    finally:
        for place in (ROOT, FAR):
            shutil.rmtree(place)


NOTES = {"bad model": "ab" * 32, "아무 말": "좋아요"}


def work(desk: Any, version: int) -> None:
    """All that can happen to an image."""
    put(desk, "moved.jpg")
    file(desk, "moved.jpg", "cat", confidence=0.875, model_digest="cd" * 32)
    for content in ("first", "second"):
        put(desk, "twice.jpg", content)
        file(desk, "twice.jpg", "dog", confidence=0.5, model_digest="ef" * 32)
    put(desk, "고양이 사진.jpg")
    file(desk, "고양이 사진.jpg", "고양이")
    strange, folder = os.fsdecode(b"\xff\xfe\n.jpg"), desk.inbox / os.fsdecode(b"\xe9t\xe9")
    put(desk, strange)
    file(desk, strange, "cat")
    folder.mkdir()
    put(desk, f"{folder.name}/inside.jpg")
    file(desk, f"{folder.name}/inside.jpg", "cat")
    put(desk, "with sidecar.jpg")
    put(desk, "with sidecar.xmp")
    file(desk, "with sidecar.jpg", "cat")
    for action in ("copy", "link"):
        put(desk, f"{action}.jpg")
        file(desk, f"{action}.jpg", "dog", action=action)
    put(desk, "refused.jpg")
    file(desk, "refused.jpg", "quarantine/truncated", action="copy", reason="truncated", detail="it ends too soon")
    put(desk, "quarantined.jpg")
    file(desk, "quarantined.jpg", "quarantine/corrupt", label=None, reason="corrupt", detail="끝이 없습니다")
    put(desk, "undone.jpg")
    file(desk, "undone.jpg", "cat")
    take_back(desk, version)
    put(desk, "sorted again.jpg")
    file(desk, "sorted again.jpg", "cat")
    file(desk, desk.output / "cat" / "sorted again.jpg", "dog")
    journal = desk.journal()
    for key, value in NOTES.items():
        journal.note(key, value)
    journal.close()
    interrupt(desk, "not begun.jpg", 1, "write")
    interrupt(desk, "renamed.jpg", 1, "write_later")
    interrupt(desk, "copied.jpg", 3, "write", FAR / "sorted")


def put(desk: Any, name: str, content: str | None = None) -> None:
    path = desk.put(name, os.fsencode(content or name))
    os.utime(path, (_MTIME, _MTIME))


def file(desk: Any, name: str | Path, folder: str, *, action: str = "move", **more: Any) -> None:
    desk.file([desk.decide(desk.inbox / name, folder, **more)], action=action)


def take_back(desk: Any, version: int) -> None:
    undo, journals = (import_module(name) for name in MODULES[version][:2])
    journal = desk.journal()
    list(undo.undo(journal, [next(journals.read_history(desk.journal_path))]))
    journal.close()


def interrupt(desk: Any, name: str, times: int, method: str, output: Path | None = None) -> None:
    """File an image in a process that ends at once: after so many calls of ``write``, or before ``write_later``."""
    put(desk, name)
    child = os.fork()
    if child == 0:
        journal = import_module(MODULES_JOURNAL).Journal
        setattr(journal, method, ending(getattr(journal, method), times, before=method == "write_later"))
        if output is not None:
            desk.output = output
        file(desk, name, "cat")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def ending(real: Callable[..., None], times: int, *, before: bool) -> Callable[..., None]:
    left = [times]

    def call(*arguments: Any, **more: Any) -> None:
        left[0] -= 1
        if before:
            os._exit(9)
        real(*arguments, **more)
        if not left[0]:
            os._exit(9)

    return call


#: Where undo, the journal and its rows are in each version.
MODULES = {
    **dict.fromkeys((1, 2, 3), ("daemon.undo", "daemon.journal", "daemon.rows", "_SELECT", "_decode")),
    **dict.fromkeys(
        (4, 5), ("daemon.filing.undo", "daemon.journal.journal", "daemon.journal.records", "SELECT", "decode")
    ),
}


def rows(path: Path, version: int) -> list[dict[str, Any]]:
    """Every row as that version reads it."""
    module = import_module(MODULES[version][2])
    select, decode = (getattr(module, name) for name in MODULES[version][3:])
    with sqlite3.connect(path) as db:
        filings = [decode(row) for row in db.execute(f"{select} ORDER BY id")]
    return [
        {
            "id": row.id,
            "state": row.state.value,
            "action": row.action,
            "source": str(row.source),
            "identity": list(row.identity),
            "sha256": row.sha256,
            "destination": None if row.destination is None else str(row.destination),
            "copy_ino": row.copy_ino,
            "label": row.label,
            "confidence": row.confidence,
            "model_digest": row.model_digest,
            "reason": row.reason,
            "detail": row.detail,
            "image_id": getattr(row, "image_id", None),
            "run": row.run,
            "time": row.time.isoformat(),
        }
        for row in filings
    ]


def files(root: Path) -> list[dict[str, Any]]:
    """Every file but the journal: where it is, its inode and its bytes."""
    found = sorted(Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return [
        {"path": str(path), "ino": path.stat().st_ino, "content": path.read_bytes().hex()}
        for path in found
        if path.parent.name != "state"
    ]


if __name__ == "__main__":
    MODULES_JOURNAL = MODULES[int(sys.argv[1])][1]
    main(int(sys.argv[1]), Path(sys.argv[2]).absolute())
