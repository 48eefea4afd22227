"""Images of a burst are decided together, and nothing else about their way changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from daemon.commands.history import sentence
from daemon.filing.filer import Filer, Status
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.outcome import Outcome
from daemon.journal.journal import Journal, read_history
from daemon.monitoring.messages import line
from daemon.pipeline import Pipeline
from models.classifier import Classifier, Seen
from models.inference.engines import Crops
from tests.daemon.pipeline.conftest import SETTINGS
from tests.pictures import exif, files_below

BURSTS = replace(SETTINGS, burst_seconds=10.0)
DEER, ELK = 200, 60  # how red a picture of them is


@pytest.fixture
def watcher_of_animals(classifier: Classifier) -> Classifier:
    """A classifier that knows deer from elks by how red a picture is, and takes all pictures for alike."""
    animals = copy.copy(classifier)
    animals.metadata = classifier.metadata.model_copy(update={"classes": ["deer", "elk"]})

    def see(crops: Sequence[Crops]) -> list[Seen]:
        deer = np.array([image[..., 0].mean() / 255 for image in crops[0]], np.float32)
        return [Seen(np.array([share, 1 - share], np.float32), 0.0, np.array([1, 0], np.float32)) for share in deer]

    animals.see = see  # type: ignore[method-assign]
    return animals


@pytest.fixture
def make(tmp_path: Path, watcher_of_animals: Classifier) -> Iterator[Callable[..., Pipeline]]:
    made: list[Pipeline] = []
    journal = Journal(tmp_path / "journal.db")

    def pipeline(**more: object) -> Pipeline:
        filer = Filer(tmp_path / "sorted", journal=journal, **more)  # type: ignore[arg-type]
        made.append(Pipeline(watcher_of_animals, filer, BURSTS, threads=2))
        return made[-1]

    with closing(journal):
        yield pipeline
        for each in made:
            each.close()


def shoot(path: Path, red: int, second: int | None, camera: str = "trap", minute: int = 0) -> Path:
    time = "" if second is None else f"2026:05:01 12:{minute:02}:{second:02}"
    shade = crc32(path.name.encode()) % 250  # no two are equal
    Image.new("RGB", (64, 64), (red, shade, 90)).save(path, exif=exif(time, camera), quality=95)
    return path


def shoot_burst(inbox: Path, *, minute: int = 0) -> list[Path]:
    """Eleven deer, and one that is taken for an elk."""
    reds = [DEER] * 5 + [ELK] + [DEER] * 6
    return [
        shoot(inbox / f"{minute}-{number:02}.jpg", red, number // 2, minute=minute) for number, red in enumerate(reds)
    ]


def test_eleven_deer_and_one_elk_are_twelve_deer(make: Callable[..., Pipeline], inbox: Path, tmp_path: Path) -> None:
    paths = shoot_burst(inbox)
    alone = shoot(inbox / "alone.jpg", ELK, 30, minute=7)
    outcomes = list(make().process([*paths[:6], alone, *paths[6:]]))
    assert files_below(tmp_path / "sorted") == {"deer": [path.name for path in paths], "elk": ["alone.jpg"]}
    burst = [outcome for outcome in outcomes if outcome.path != alone]
    (confidence,) = {outcome.confidence for outcome in burst}
    assert confidence is not None
    logit = (11 * np.log(DEER / (255 - DEER)) + np.log(ELK / (255 - ELK))) / 12
    assert confidence == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.01), "the mean of their logits"
    assert line(burst[0]) == f"0-00.jpg -> deer/0-00.jpg ({confidence:.2f}, decided together with 11 others)"
    told = {row.source.name: sentence(row, [tmp_path / "sorted"]) for row in read_history(tmp_path / "journal.db")}
    assert told["0-05.jpg"].endswith("decided together with 11 others)")
    assert "together" not in told["alone.jpg"]


def test_without_bursts_each_image_is_decided_by_itself(
    make: Callable[..., Pipeline], inbox: Path, tmp_path: Path
) -> None:
    pipeline = make()
    pipeline.adopt(SETTINGS)
    pipeline.classifier.predict = lambda crops: [  # type: ignore[method-assign]
        pipeline.classifier.predict_together([seen]) for seen in pipeline.classifier.see(crops)
    ]
    list(pipeline.process(shoot_burst(inbox)))
    assert files_below(tmp_path / "sorted")["elk"] == ["0-05.jpg"]


def test_the_layout_notes_when_they_were_taken_as_well(
    make: Callable[..., Pipeline], inbox: Path, tmp_path: Path
) -> None:
    list(make(layout=FolderLayout("{class}/{taken:%Y}")).process(shoot_burst(inbox)))
    details = {row.detail for row in read_history(tmp_path / "journal.db")}
    assert "decided together with 11 others; taken 2026-05-01 12:00:00, by its EXIF data" in details


class Daemon:
    """The calls that the work loop makes, at times that the test says."""

    def __init__(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pipeline = pipeline
        self.now = 0.0
        self.stopping = False
        pipeline.leave_slow(lambda: None)
        monkeypatch.setattr("daemon.filing.bursts.monotonic", lambda: self.now)

    def step(self, *paths: Path) -> list[Outcome]:
        return list(self.pipeline.process(paths, stopping=lambda: self.stopping))


Start = Callable[[Pipeline], Daemon]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    return lambda pipeline: Daemon(pipeline, monkeypatch)


def test_a_running_daemon_waits_for_the_next_image_of_a_burst(
    make: Callable[..., Pipeline], start: Start, inbox: Path, tmp_path: Path
) -> None:
    daemon = start(make())
    paths = shoot_burst(inbox)
    undated = shoot(inbox / "undated.jpg", DEER, None)
    assert [outcome.path for outcome in daemon.step(*paths[:4], undated)] == [undated], "that one belongs to no burst"
    assert sorted(daemon.pipeline.pending) == paths[:4]
    assert sorted(path for path in inbox.iterdir()) == paths, "they lie where they were meanwhile"
    daemon.now = 4.0
    assert daemon.step(*paths[4:]) == []
    daemon.now = 8.0
    assert daemon.step() == []
    daemon.now = 9.0
    assert {outcome.label for outcome in daemon.step()} == {"deer"}
    assert daemon.pipeline.pending == []
    assert files_below(tmp_path / "sorted")["deer"] == sorted([path.name for path in paths] + ["undated.jpg"])


def test_a_daemon_that_stops_files_what_waits(make: Callable[..., Pipeline], start: Start, inbox: Path) -> None:
    daemon = start(make())
    paths = shoot_burst(inbox)[:3]
    assert daemon.step(*paths) == []
    daemon.stopping = True
    assert sorted(outcome.path for outcome in daemon.step()) == paths


def test_another_model_looks_at_what_waits_once_more(
    make: Callable[..., Pipeline], start: Start, watcher_of_animals: Classifier, inbox: Path
) -> None:
    daemon = start(make())
    paths = shoot_burst(inbox)[:3]
    daemon.step(*paths)
    newer = copy.copy(watcher_of_animals)
    newer.metadata = watcher_of_animals.metadata.model_copy(update={"classes": ["roe", "moose"]})
    daemon.pipeline.classifier = newer
    assert daemon.step() == []
    daemon.now = 60.0
    assert [outcome.label for outcome in daemon.step()] == ["roe"] * 3


def test_without_the_setting_nothing_waits_any_longer(make: Callable[..., Pipeline], start: Start, inbox: Path) -> None:
    daemon = start(make())
    daemon.step(*shoot_burst(inbox)[:3])
    daemon.pipeline.adopt(SETTINGS)
    assert len(daemon.step()) == 3


def test_what_happens_to_an_image_that_waits(
    make: Callable[..., Pipeline], start: Start, inbox: Path, tmp_path: Path
) -> None:
    daemon = start(make())
    paths = shoot_burst(inbox)
    daemon.step(*paths)
    paths[0].unlink()
    shoot(paths[1], ELK, 1, camera="another")
    daemon.now = 60.0
    statuses = {outcome.path: outcome.status for outcome in daemon.step()}
    assert statuses == dict.fromkeys(paths, Status.FILED) | {paths[0]: Status.GONE, paths[1]: Status.CHANGED}
    assert paths[1].exists()
    assert files_below(tmp_path / "sorted") == {"deer": [path.name for path in paths[2:]]}


def test_copies_of_a_picture_count_once(make: Callable[..., Pipeline], inbox: Path) -> None:
    """However often the elk came, there is one picture of it and two of the deer."""
    elks = [shoot(inbox / "e0.jpg", ELK, 0)]
    elks += [inbox / f"e{number}.jpg" for number in range(1, 6)]
    for path in elks[1:]:
        path.write_bytes(elks[0].read_bytes())
    deer = [shoot(inbox / f"d{second}.jpg", DEER, second) for second in (1, 2)]
    assert {outcome.label for outcome in make().process([*elks, *deer])} == {"deer"}
