"""A report counts the rows of a manifest, and shows the least sure pictures."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from daemon.archiving.manifest import table_of, write_block
from daemon.archiving.rows import Row, hash_of
from daemon.commands.archive_report import main
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS


def row(number: int, **more: object) -> Row:
    uri = f"file:///{number}.jpg"
    values: dict[str, object] = {"outcome": "sure", "label": "dog", "class_name": "dog", "strangeness": 0.0}
    values |= {"taken": datetime(2026, 1 + number % 2, 3), "confidence": 0.9} | more
    return Row(uri=uri, uri_hash=hash_of(uri), size=1, mtime_ns=1, model="0", **values)  # type: ignore[arg-type]


def test_rows_are_counted_by_class_outcome_month_and_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_block(tmp_path, table_of([row(1), row(2, label="고양이", confidence=0.75), row(3, confidence=0.4)]))
    others = [
        row(4, outcome="unsure", confidence=0.2),
        row(5, outcome="unknown", strangeness=2.0, taken=None),
        row(6, outcome="quarantine", reason="empty", label=None, class_name=None, confidence=None, taken=None),
        row(3, label="cat", confidence=0.96, supersedes=True),
    ]
    write_block(tmp_path, table_of(others))
    assert main([str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == 6
    assert said["outcomes"] == {"sure": 3, "unsure": 1, "unknown": 1, "quarantine": 1}
    assert said["classes"] == {"dog": 1, "고양이": 1, "cat": 1}
    assert said["reasons"] == {"empty": 1}
    assert said["months"] == {"2026-01": 2, "2026-02": 2}
    in_class = {each["threshold"]: each["in_class"] for each in said["thresholds"]}
    assert (in_class[0.0], in_class[0.3], in_class[0.8], in_class[0.95]) == (5, 3, 2, 1)
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for line in ("6 images in the manifest", "        1  고양이", "        2  2026-01", "        2  40.0% with 0.8"):
        assert line in text


def test_a_sheet_shows_the_pictures_of_each_folder(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    (archive.inbox / "0/fog.jpg").unlink()
    sheets = archive.manifest / "sheets"
    assert main([str(archive.manifest), "--sheets", str(sheets), "--threads", "1"]) == 0
    assert f"4 contact sheets in {sheets}" in capsys.readouterr().out
    sizes = {}
    for path in sheets.glob("*.jpg"):
        with Image.open(path) as sheet:
            sizes[path.stem] = sheet.width
    assert sizes == dict.fromkeys(KINDS, 3 * 164 + 4) | {"fog": 2 * 164 + 4}
