"""Raw files on their way: pictures of their own, or sidecars of the picture that has their name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from daemon.files import lone_raw
from daemon.files.walk import walk
from daemon.filing.filer import Filer, Status
from daemon.journal.journal import Journal
from daemon.pipeline import Pipeline
from daemon.watching.skipped import Skipped, SkippedReporter, survey
from daemon.watching.unfinished import Unfinished
from models.classifier import Classifier
from tests.daemon.pipeline.conftest import SETTINGS
from tests.pictures import files_below, save
from tests.raw_files import dng


def put(inbox: Path, name: str, kind: str = "fog") -> Path:
    """A raw file with a preview of that kind."""
    preview = save(kind, 1, inbox.parent / "preview.png")
    (inbox / name).write_bytes(dng(Image.open(io.BytesIO(preview.read_bytes())).convert("RGB")))
    return inbox / name


def found(inbox: Path) -> list[str]:
    entries = walk(
        [str(inbox)], recursive=True, enter=lambda _: True, failed=lambda *_: None, not_a_file=lambda *_: None
    )
    return sorted(entry.name for entry in entries if entry is not None)


def test_one_alone_is_classified_and_moved_as_it_is(pipeline: Pipeline, inbox: Path, tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    paths = [put(inbox, "DSC_1.NEF"), put(inbox, "a.dng", "discs")]
    contents = [path.read_bytes() for path in paths]
    (inbox / "broken.cr2").write_bytes(b"II*\0" + b"\xff" * 500)
    (inbox / "really.orf").write_bytes(save("stripes", 1, tmp_path / "stripes.png").read_bytes())
    assert found(inbox) == ["DSC_1.NEF", "a.dng", "broken.cr2", "really.orf"]
    outcomes = list(pipeline.process([*paths, inbox / "broken.cr2", inbox / "really.orf"]))
    assert [outcome.label for outcome in outcomes] == ["fog", "discs", None, "stripes"]
    assert outcomes[2].reason in ("not-an-image", "corrupt", "truncated")
    assert [(tmp_path / "sorted" / name).read_bytes() for name in ("fog/DSC_1.NEF", "discs/a.dng")] == contents
    assert set(files_below(tmp_path / "sorted")) >= {"fog", "discs", "stripes"}


def test_beside_a_picture_of_its_name_it_is_a_sidecar(
    classifier: Classifier, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lone_raw, "reads_raw", lambda: True)
    raw, picture = put(inbox, "DSC_1.NEF", "discs"), save("fog", 1, inbox / "DSC_1.JPG")
    assert found(inbox) == ["DSC_1.JPG"]
    filer = Filer(tmp_path / "sorted", journal=Journal(tmp_path / "journal.db"))
    pipeline = Pipeline(classifier, filer, SETTINGS, threads=1)
    (outcome,) = pipeline.process([raw])
    assert outcome.status is Status.ALREADY, "it came before the picture"
    raw.rename(tmp_path / "kept")
    list(pipeline.process([picture]))
    (tmp_path / "kept").rename(raw)
    (outcome,) = pipeline.process([raw])
    assert outcome.status is Status.ALREADY, "and after it: it follows"
    pipeline.close()
    assert raw.exists()


def test_without_rawpy_they_stay_and_that_is_said_once(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setattr(lone_raw, "reads_raw", lambda: False)
    put(inbox, "DSC_1.NEF")
    assert found(inbox) == []
    reporter = SkippedReporter()
    for _ in range(3):
        reporter(survey(inbox, recursive=True, excluded=[]))
    (said,) = logged
    assert said.endswith("stays: to have it filed, install rawpy (pip install '.[raw]') and start again")
    passed = survey(inbox, recursive=True, excluded=[])
    assert (passed.count, passed.raw_files) == (0, 1)
    assert Skipped("x").about_raw_files == ""


def test_one_waits_for_the_picture_it_goes_with() -> None:
    unfinished = Unfinished(1.0, lambda: 0.0)
    assert unfinished.quiet("/inbox/DSC_1.NEF") == unfinished.quiet("/inbox/a.tif") > unfinished.quiet("/inbox/a.jpg")
