"""Bursts, as `sort` and `resort` decide them."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.commands.rule_probes import output_findings
from daemon.filing import bursts
from tests.command_desk import Office, make_office
from tests.daemon.conftest import Publish
from tests.pictures import draw, exif, files_below

FOG = [f"{name}.jpg" for name in "pafk"]


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    """An office where all pictures of one moment are taken for alike."""
    monkeypatch.setattr(bursts, "LEAST_ALIKE", -1.0)
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


@pytest.fixture(scope="module")
def checkpoints(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    publish(folder / "run")
    return folder


def shoot(folder: Path) -> None:
    """Four pictures of fog and one of stripes in a row, and among their names others from another day."""
    folder.mkdir(exist_ok=True)
    for second, name in enumerate(FOG):
        draw("fog", second).save(folder / name, exif=exif(f"2026:05:01 12:00:0{second}"))
    draw("stripes", 1).save(folder / "c.jpg", exif=exif("2026:05:01 12:00:02"))
    for number, name in enumerate("bdz"):
        draw("stripes", 2 + number).save(folder / f"{name}.jpg", exif=exif(f"2026:05:0{2 + number} 12:00:00"))


def sort(checkpoints: Path, *options: str) -> dict[str, list[str]]:
    command = ["sort", "--input-dir", "photos", "--output-dir", "out", "--checkpoint", str(checkpoints), *options]
    assert main(command) == 0
    return {folder: list(names) for folder, names in files_below(Path("out")).items() if names}


def test_sort_finds_bursts_in_the_whole_folder(
    office: Office, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts, "MOST_WAITING", 2)  # so that they are found by their order alone
    shoot(Path("photos"))
    assert sort(checkpoints, "--burst-seconds", "10") == {
        "fog": sorted([*FOG, "c.jpg"]),
        "stripes": ["b.jpg", "d.jpg", "z.jpg"],
    }


def test_resort_does_not_undo_what_a_burst_decided(office: Office, checkpoints: Path) -> None:
    shoot(office.desk.inbox)
    for path in sorted(office.desk.inbox.iterdir()):
        folder = "stripes" if path.name in ("b.jpg", "d.jpg", "z.jpg") else "fog"
        office.desk.file_one(path, folder, label=folder, confidence=0.6, model_digest="0" * 64)
    command = ("resort", "--checkpoint", str(checkpoints), "--dry-run")
    assert "c.jpg would go to stripes" in office.run(*command)[1], "by itself it would"
    Path("config.toml").write_text("burst_seconds = 10", encoding="utf-8")
    assert office.run(*command)[1].startswith("0 would move by checkpoint")


def test_doctor_says_that_they_are_decided_together(office: Office) -> None:
    def texts(seconds: float) -> list[str]:
        settings = config.load({"output": office.desk.output, "burst_seconds": seconds})
        return [finding.text for finding in output_findings(settings) if "decided together" in finding.text]

    assert texts(0.0) == []
    assert texts(2.0) == [
        "images that one camera took within 2 s, and that look alike, are decided together: each waits up to 2 s for "
        "the next one"
    ]
