"""Probation: a new model that is unsure far more often, or fails, gives way to the one before, and stays away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact

from daemon import config
from daemon.filing.filer import Filer, Status
from daemon.filing.outcome import Outcome
from daemon.journal.journal import Journal, read_history
from daemon.loop import WorkLoop
from daemon.monitoring.health import Tally
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.systemd import Notifier
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reconfigure import Configuration
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.probation import ALPHA, MEMORY, TESTS, Observation, Probation, by_chance, from_journal
from daemon.reloading.reloader import Reloader
from daemon.watching.watcher import InboxWatcher
from models.checkpoints import checkpoint as checkpoints
from models.classifier import Classifier, Prediction
from models.deciding.rule import Fate
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.filing_desk import make_desk
from tests.pictures import KINDS, save
from tests.processes import wait_for

SURE, UNSURE = Observation("a", False), Observation("a", True)


@pytest.mark.parametrize(("unsure", "images", "before", "of"), [(9, 25, 3, 200), (0, 25, 3, 9), (25, 25, 0, 1)])
def test_the_probability_is_that_of_fishers_exact_test(unsure: int, images: int, before: int, of: int) -> None:
    table = [[unsure, images - unsure], [before, of - before]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert math.isclose(by_chance(unsure, images, before, of), expected, rel_tol=1e-9)


def judged(probation: Probation, seen: Sequence[Observation]) -> str | None:
    """The first fault, if there is one."""
    return next((fault for each in seen if (fault := probation.fault(each, 0.9)) is not None), None)


def test_a_jump_is_seen_at_the_first_look() -> None:
    probation = Probation(100, [SURE] * 190 + [UNSURE] * 10, ["a"])
    fault = judged(probation, [SURE, UNSURE] * 50)
    assert fault == "it sent 12 of its first 25 images to the others, and of the 200 before only 10 went there"
    assert len(probation.seen) == 25


@pytest.mark.parametrize(
    ("before", "seen", "classes"),
    [
        ([SURE] * 190 + [UNSURE] * 10, [SURE] * 92 + [UNSURE] * 8, ["a"]),
        ([UNSURE] * 200, [UNSURE] * 100, ["a"]),
        ([], [UNSURE] * 100, ["a"]),
        ([SURE] * 100 + [Observation("b", False)] * 100, [SURE, UNSURE] * 50, ["a", "c"]),
        ([SURE] * 500, ([UNSURE] + [SURE] * 10) * 900, ["a"]),
    ],
    ids=["as before", "as bad as before", "nothing before", "a class that is gone", "too little to matter"],
)
def test_what_is_no_jump_passes(before: list[Observation], seen: list[Observation], classes: list[str]) -> None:
    probation = Probation(len(seen), before, classes)
    assert judged(probation, seen) is None
    assert probation.passed


def test_few_images_before_are_enough_for_a_disaster() -> None:
    assert judged(Probation(100, [SURE] * 5, ["a"]), [UNSURE] * 25) is not None


def test_a_model_that_is_no_worse_is_hardly_ever_sent_away() -> None:
    """2,000 probations at each share: no more faults than promised, with room for chance."""
    random = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.6):
        faults = 0
        for _ in range(2000):
            draws = random.random(400) < share
            seen = [UNSURE if unsure else SURE for unsure in draws]
            faults += judged(Probation(100, seen[:300], ["a"]), seen[300:]) is not None
        assert faults <= 2000 * ALPHA + 4


def test_probabilities_that_are_no_numbers_are_a_fault_at_once() -> None:
    assert Probation(100, [], ["a"]).fault(UNSURE, math.nan) == "its probabilities are not numbers"


def test_a_probation_of_one_image_comes_to_an_end() -> None:
    probation = Probation(1, [SURE] * MEMORY, ["a"])
    probation.fault(SURE, 0.9)
    assert probation.passed
    assert len(TESTS) == 3


class Place:
    """A place to publish to; ``start`` is a restart of the daemon, and ``see`` what it makes of images."""

    def __init__(self, folder: Path, store: WeightsStore, publish: Publish) -> None:
        self.folder = folder / "checkpoints"
        self.journal = folder / "journal.sqlite"
        self._store = store
        self._publish = publish

    def start(self, probation: int = 20) -> Reloader:
        options = CheckpointOptions(location=self.folder, threads=1, probation=probation)
        return Reloader(options, self._store, Journal(self.journal))

    def publish(self, run: str, names: Sequence[str], **metadata: object) -> str:
        return self._publish(self.folder / run, names, **metadata)

    def publish_again(self, run: str) -> None:
        digest = checkpoints.read(self.folder / run / checkpoints.FILE_NAME).digest
        checkpoints.publish(self.folder / run, digest, datetime.now(UTC).isoformat())


@pytest.fixture
def place(tmp_path: Path, store: WeightsStore, publish: Publish) -> Place:
    return Place(tmp_path, store, publish)


def see(reloader: Reloader, count: int, *, unsure: bool, confidence: float = 0.9) -> None:
    for _ in range(count):
        folder = "others" if unsure else "a"
        outcome = Outcome(
            path=Path("x"),
            status=Status.FILED,
            label="a",
            confidence=confidence,
            fate=Fate.UNSURE if unsure else Fate.SURE,
            destination=Path("sorted", folder, "x"),
        )
        reloader.outcome(outcome)


def newer(reloader: Reloader) -> Classifier:
    found: list[Classifier] = []

    def look() -> bool:
        found.extend(filter(None, [reloader.poll()]))
        return bool(found)

    wait_for(look, "another classifier")
    return found[0]


def nothing_new(reloader: Reloader) -> bool:
    return all(reloader.poll() is None and reloader.loading is None for _ in range(3))


def on_probation(place: Place) -> tuple[Reloader, str, str]:
    """A daemon that went over from one model, of which it saw 50 images, to another."""
    reloader, good, newest = gone_over(place)
    return reloader, good, newest.digest


def gone_over(place: Place) -> tuple[Reloader, str, Classifier]:
    """Such a daemon, and the classifier that it went over to."""
    good = place.publish("run-1", ["a", "b"])
    reloader = place.start()
    assert reloader.first(place.journal).digest == good
    see(reloader, 50, unsure=False)
    bad = place.publish("run-2", ["a", "b", "c"])
    newest = newer(reloader)
    assert newest.digest == bad
    return reloader, good, newest


def test_a_worse_model_gives_way_and_stays_away_until_it_is_published_anew(place: Place, logged: list[str]) -> None:
    reloader, good, bad = on_probation(place)
    see(reloader, 20, unsure=True)
    assert newer(reloader).digest == good
    (said,) = [line for line in logged if line.startswith("back to checkpoint")]
    assert said.startswith(
        f"back to checkpoint {good[:12]} from {bad[:12]}: it sent 5 of its first 5 images to the others"
    )
    assert (reloader.why_given_up(good), str(reloader.why_given_up(bad))[:12]) == (None, "it sent 5 of")
    assert nothing_new(reloader)
    see(reloader, 20, unsure=True)  # of the good one now
    assert nothing_new(reloader)
    reloader.close()

    again = place.start()
    assert again.first(place.journal).digest == good
    assert nothing_new(again)
    place.publish_again("run-2")
    assert newer(again).digest == bad
    see(again, 20, unsure=True)  # somebody insists
    assert nothing_new(again)
    assert place.start().first(place.journal).digest == bad


def test_a_model_that_was_asked_to_be_surer_may_be_unsure_more_often(place: Place) -> None:
    good = place.publish("run-1", ["a", "b"])
    reloader = place.start()
    assert reloader.first(place.journal).digest == good
    see(reloader, 50, unsure=False)
    surer = place.publish("run-2", ["a", "b"], max_error=0.01, threshold=0.99)
    assert newer(reloader).digest == surer
    see(reloader, 30, unsure=True)
    assert nothing_new(reloader)
    place.publish("run-3", ["a", "b", "c"], max_error=0.01, threshold=0.98)
    newer(reloader)
    see(reloader, 20, unsure=True)  # as the one before
    assert nothing_new(reloader)


def test_a_model_as_good_as_the_one_before_is_the_one_to_go_back_to(place: Place) -> None:
    reloader, _, better = on_probation(place)
    see(reloader, 20, unsure=False)
    worst = place.publish("run-3", ["b"])
    assert newer(reloader).digest == worst
    see(reloader, 1, unsure=True, confidence=math.nan)
    assert newer(reloader).digest == better


def test_a_model_that_gives_way_may_fail_on_the_images_taken_before(place: Place) -> None:
    """The one before takes over between two handfuls only."""
    reloader, good, _ = on_probation(place)
    see(reloader, 1, unsure=True, confidence=math.nan)
    before = reloader.failed(RuntimeError("the graph does not run"))
    assert before is not None
    assert before.digest == good
    assert reloader.failed(RuntimeError("the graph does not run")) is None


def test_no_folder_takes_the_name_of_a_class_of_the_model_to_go_back_to(
    place: Place, tmp_path: Path, logged: list[str]
) -> None:
    place.publish("run-1", ["a", "b"])
    reloader = place.start()
    reloader.first(place.journal)
    see(reloader, 50, unsure=False)
    place.publish("run-2", ["a", "c"])
    classifier = newer(reloader)
    settings = config.load({"output": tmp_path / "sorted"})
    pipeline = Pipeline(classifier, Filer(settings.output), PipelineSettings.from_settings(settings), threads=1)
    tally = Tally(settings.output, classifier, lambda: pipeline.threshold)
    configuration = Configuration(settings, lambda: settings.model_copy(update={"others_dir": "b"}))
    configuration.refresh(pipeline, reloader)
    tally.stop_recording()
    pipeline.close()
    assert configuration.settings.others_dir == "others"
    assert any("has a class b, and the folder b is for other images" in line for line in logged)


def test_of_two_new_ones_in_a_row_neither_is_gone_back_to(place: Place) -> None:
    reloader, good, _ = on_probation(place)
    third = place.publish("run-3", ["a"])
    assert newer(reloader).digest == third
    see(reloader, 20, unsure=True)
    assert newer(reloader).digest == good


def test_without_probation_a_new_model_is_trusted(place: Place) -> None:
    place.publish("run-1", ["a", "b"])
    reloader = place.start(probation=0)
    reloader.first(place.journal)
    see(reloader, 50, unsure=False)
    digest = place.publish("run-2", ["a", "c"])
    assert newer(reloader).digest == digest
    see(reloader, 50, unsure=True)
    assert nothing_new(reloader)
    assert reloader.failed(ValueError("no")) is None


def test_a_restart_in_the_middle_begins_the_probation_anew(place: Place) -> None:
    reloader, good, bad = on_probation(place)
    see(reloader, 4, unsure=True)
    reloader.close()
    again = place.start()
    assert again.first(place.journal).digest == bad
    assert again.failed(RuntimeError("no memory")) is not None
    assert place.start().first(place.journal).digest == good


def test_the_journal_knows_what_a_model_made_of_its_last_images(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    assert from_journal(desk.journal_path, "1" * 64, [desk.output]) == []
    for number, folder in enumerate(["a", "others", "a"]):
        path = desk.put(f"{number}.png", b"%d" % number)
        desk.file_one(path, folder, label="a", model_digest="1" * 64)
    desk.file_one(desk.put("other.png", b"of another"), "b", model_digest="2" * 64)
    desk.file_one(desk.put("torn.png", b"torn"), "quarantine/truncated", reason="truncated")
    assert from_journal(desk.journal_path, "1" * 64, [desk.output]) == [SURE, UNSURE, SURE]


def test_a_history_that_cannot_be_read_keeps_no_daemon_from_starting(place: Place, logged: list[str]) -> None:
    """Another program may hold the journal, or its disk fail for a moment; exit code 2 would be for good."""
    digest = place.publish("run-1", ["a", "b"])
    history = place.journal.with_name("unreadable.sqlite")
    history.write_bytes(b"no database at all" * 1000)
    assert place.start().first(history).digest == digest
    assert any("cannot read how checkpoint" in line for line in logged)


@pytest.mark.parametrize("once", [False, True])
def test_images_that_a_new_model_fails_on_are_classified_by_the_one_before(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: bool
) -> None:
    reloader, good, failing = gone_over(place)
    desk = make_desk(tmp_path)
    pictures = [save(KINDS[seed % 2], seed, desk.inbox / f"{seed}.png") for seed in range(5)]

    def fail(crops: object) -> list[Prediction]:
        raise RuntimeError("the graph does not run")

    monkeypatch.setattr(failing, "predict", fail)
    pipeline_settings = PipelineSettings.from_settings(config.load({"output": desk.output, "settle_seconds": 0.01}))
    pipeline = Pipeline(failing, Filer(desk.output, journal=desk.journal()), pipeline_settings, threads=1)
    watcher = InboxWatcher([desk.inbox], settle_seconds=0.01)
    tally = Tally(desk.output, failing, lambda: pipeline.threshold)
    settings = config.load({})
    monitor = Monitor(Notifier.from_environment(), tally)
    loop = WorkLoop(watcher, pipeline, reloader, monitor, Configuration(settings, lambda: settings))
    watcher.start()
    try:
        if once:
            assert loop.run_once() == 0
        wait_for(lambda: loop.step(0.05) is None or not any(path.exists() for path in pictures), "all filed")
    finally:
        watcher.stop()
        pipeline.close()
    assert {row.model_digest for row in read_history(desk.journal_path)} == {good}
    assert pipeline.classifier.digest == good != failing.digest
    assert sum(tally.images.values()) == len(pictures)
    assert not tally.health(watcher.status()).attempts, "none was to be tried again"


def test_a_proven_model_that_fails_ends_the_daemon(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.publish("run-1", ["a", "b"])
    reloader = place.start()
    classifier = reloader.first(place.journal)

    def fail(crops: object) -> list[Prediction]:
        raise RuntimeError("the graph does not run")

    monkeypatch.setattr(classifier, "predict", fail)
    desk = make_desk(tmp_path)
    pipeline = Pipeline(classifier, Filer(desk.output), PipelineSettings.from_settings(config.load({})), threads=1)
    with pytest.raises(ModelFailed, match="RuntimeError: the graph does not run"):
        list(pipeline.process([save(KINDS[0], 1, desk.inbox / "1.png")]))
    pipeline.close()
    assert (desk.inbox / "1.png").exists()
    assert reloader.failed(RuntimeError()) is None
