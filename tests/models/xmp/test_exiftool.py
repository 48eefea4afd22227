"""ExifTool, a program of others, reads what we write, and what it read before is still there."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from models.xmp.tags import Tag, merge, remove
from tests.models.xmp.sidecars import BY_PROGRAM

DOG = Tag("animals/dog", 0.9312, "ab" * 32)
#: The lists that a tag is put into, and what ExifTool says of the file itself.
LISTS = {"XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList", "XMP-microsoft:LastKeywordXMP"}


def told(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all XMP in a folder, by file."""
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.skip("ExifTool is not installed (libimage-exiftool-perl)")
    command = [exiftool, "-json", "-struct", "-a", "-G1", "-XMP:all", "-warning", "-error", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
    return {Path(told.pop("SourceFile")).stem: told for told in json.loads(output)}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def test_exiftool_reads_our_tags_and_those_of_others_as_before(tmp_path: Path) -> None:
    states = {"before": lambda content: content, "after": lambda content: merge(content, DOG), "without": round_trip}
    folders = {state: tmp_path / state for state in states}
    for state, change in states.items():
        folders[state].mkdir()
        for name, content in BY_PROGRAM.items():
            (folders[state] / f"{name}.xmp").write_bytes(change(content))
    (folders["after"] / "new.xmp").write_bytes(merge(None, Tag("가 & <나>'\"", 0.5, "m")))
    before, after, without = (told(folder) for folder in folders.values())
    new = after.pop("new")
    assert as_list(new["XMP-dc:Subject"]) == ["가 & <나>'\""]
    assert new["XMP-imagesortd:Class"] == "가 & <나>'\""
    assert without == before
    for name, others in before.items():
        ours = after[name]
        assert "ExifTool:Error" not in ours
        assert ours.get("ExifTool:Warning") == others.get("ExifTool:Warning")
        assert {key: value for key, value in ours.items() if key in others.keys() - LISTS} == {
            key: value for key, value in others.items() if key not in LISTS
        }
        for key in LISTS & others.keys():
            assert as_list(ours[key])[: len(as_list(others[key]))] == as_list(others[key])
        assert as_list(ours["XMP-dc:Subject"])[-2:] == ["animals", "dog"]
        assert "animals|dog" in as_list(ours["XMP-lr:HierarchicalSubject"])
        assert ours["XMP-imagesortd:Confidence"] == 0.9312
        assert ours["XMP-imagesortd:Model"] == DOG.model


def round_trip(content: bytes) -> bytes:
    return remove(merge(content, DOG))
