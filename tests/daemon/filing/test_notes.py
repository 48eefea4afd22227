"""The note beside a quarantined image: letters as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.filing_desk import make_desk


def test_a_note_has_the_letters_of_names(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    for name in (os.fsencode("봄.jpg"), b"caf\xe9.jpg"):
        image = desk.put(os.fsdecode(name))
        desk.file([desk.decide(image, "quarantine/truncated", reason="truncated", label=None, detail="Es ist kürzer.")])
        note = desk.output / "quarantine" / "truncated" / f"{os.fsdecode(name)}.json"
        written = note.read_text(encoding="utf-8")
        assert os.fsencode(json.loads(written)["source"]) == os.fsencode(image)
        assert "kürzer" in written
    assert "봄.jpg" in (desk.output / "quarantine" / "truncated" / "봄.jpg.json").read_text(encoding="utf-8")
