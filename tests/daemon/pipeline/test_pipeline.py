"""The way of an image, with a real classifier and real files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from PIL import Image

from daemon.commands.history import sentence
from daemon.decoding.decoder import Decoded, Task
from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Filer, Status
from daemon.filing.outcome import Outcome
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, read_history
from daemon.monitoring.messages import fields, line
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.threshold import in_force
from models.checkpoints.metadata import DEFAULT_THRESHOLD, Unknown
from models.classifier import Classifier, Prediction, open_classifier
from models.deciding.rule import Fate
from models.inference.engines import Crops
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.daemon.pipeline.conftest import SETTINGS
from tests.pictures import KINDS, files_below, save


def by_name(outcomes: list[Outcome]) -> dict[str, Outcome]:
    return {outcome.path.name: outcome for outcome in outcomes}


def test_each_kind_goes_to_its_folder(pipeline: Pipeline, inbox: Path, tmp_path: Path) -> None:
    paths = [save(kind, seed, inbox / f"{kind}{seed}.png") for kind in KINDS for seed in range(3)]
    outcomes = list(pipeline.process(paths))
    assert sorted(outcome.path for outcome in outcomes) == sorted(paths)  # two are decoded at a time
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    assert files_below(tmp_path / "sorted") == {
        kind: [f"{kind}{seed}.png" for seed in range(3)] for kind in sorted(KINDS)
    }
    assert list(inbox.iterdir()) == []


@pytest.mark.parametrize("policy", ["folder", "leave"])
def test_a_duplicate_is_of_no_class(
    classifier: Classifier, inbox: Path, tmp_path: Path, policy: DuplicatePolicy
) -> None:
    filer = Filer(tmp_path / "sorted", duplicates=Duplicates(policy))
    pipeline = Pipeline(classifier, filer, SETTINGS, threads=1)
    first = save("fog", 1, inbox / "a.png")
    shutil.copyfile(first, inbox / "b.png")
    _, outcome = pipeline.process([first, inbox / "b.png"])
    pipeline.close()
    assert (outcome.label, outcome.confidence, outcome.fate) == (None, None, None)
    assert outcome.duplicate_of == tmp_path / "sorted/fog/a.png"
    assert fields(outcome)["reason"] == "duplicate"
    if policy == "folder":
        assert line(outcome) == "b.png -> duplicates/b.png (the same as fog/a.png)"
    else:
        assert (outcome.status, outcome.detail) == (Status.LEFT, "the same as fog/a.png")


def test_under_the_threshold_an_image_goes_to_the_others(classifier: Classifier, inbox: Path, tmp_path: Path) -> None:
    settings = PipelineSettings(**{**vars(SETTINGS), "threshold": 1.0, "others_dir": "unsure"})
    pipeline = Pipeline(classifier, Filer(tmp_path / "sorted"), settings, threads=1)
    (outcome,) = pipeline.process([save("fog", 1, inbox / "a.png")])
    pipeline.close()
    assert outcome.label == "fog"
    assert outcome.destination == tmp_path / "sorted" / "unsure" / "a.png"


def test_the_threshold_is_the_users_else_the_checkpoints_else_a_half(
    publish: Publish, store: WeightsStore, classifier: Classifier, tmp_path: Path
) -> None:
    publish(tmp_path / "checkpoints" / "run", threshold=0.7)
    careful = open_classifier(tmp_path / "checkpoints", store)
    automatic = PipelineSettings(**{**vars(SETTINGS), "threshold": None})
    for settings, model, expected in [
        (SETTINGS, careful, 0.0),
        (automatic, careful, 0.7),
        (automatic, classifier, DEFAULT_THRESHOLD),
    ]:
        pipeline = Pipeline(model, Filer(tmp_path / "sorted"), settings, threads=1)
        assert pipeline.threshold.value == expected
        pipeline.close()
    pipeline.classifier = careful  # as hot reload does
    assert pipeline.threshold.value == 0.7


@pytest.mark.parametrize(("threshold", "folder"), [(0.01, "others"), (None, "others"), (0.0, "fog")])
def test_an_image_unlike_all_known_ones_goes_to_the_others_unless_everything_is_to_be_filed(
    publish: Publish, store: WeightsStore, inbox: Path, tmp_path: Path, threshold: float | None, folder: str
) -> None:
    publish(tmp_path / "checkpoints" / "run", unknown=Unknown(limit=1e-3, refused=0.01))
    settings = PipelineSettings(**{**vars(SETTINGS), "threshold": threshold})
    journal = Journal(tmp_path / "journal.db")
    strict = open_classifier(tmp_path / "checkpoints", store)
    pipeline = Pipeline(strict, Filer(tmp_path / "sorted", journal=journal), settings, threads=1)
    (outcome,) = pipeline.process([save("fog", 1, inbox / "a.png")])
    pipeline.close()
    journal.close()
    assert outcome.fate is (Fate.UNKNOWN if folder == "others" else Fate.SURE)
    assert outcome.label == "fog"
    assert outcome.destination == tmp_path / "sorted" / folder / "a.png"
    (row,) = read_history(tmp_path / "journal.db", Wanted(), 10)
    assert row.reason is None
    if folder == "others":
        assert outcome.detail == row.detail
        assert row.detail is not None
        assert row.detail.startswith("unlike anything it was taught: ")
        assert f", {row.detail})" in sentence(row, [tmp_path / "sorted"])
        assert f", {row.detail})" in line(outcome)
    else:
        assert outcome.detail is None
        assert row.detail is None


def test_other_settings_hold_from_the_next_call_on(pipeline: Pipeline, inbox: Path) -> None:
    first, second = (save(KINDS[0], seed, inbox / f"{seed}.png") for seed in (1, 2))
    (before,) = pipeline.process([first])
    pipeline.adopt(replace(SETTINGS, threshold=1.0, others_dir="unsure", batch_size=1))
    (after,) = pipeline.process([second])
    assert before.destination is not None
    assert before.destination.parent.name in KINDS
    assert after.destination is not None
    assert after.destination.parent.name == "unsure"


def test_the_rule_is_made_once_for_a_model_and_not_for_each_image(
    publish: Publish, store: WeightsStore, classifier: Classifier, inbox: Path, tmp_path: Path
) -> None:
    publish(tmp_path / "checkpoints" / "run", threshold=1.0)
    strict = open_classifier(tmp_path / "checkpoints", store)
    pipeline = Pipeline(classifier, Filer(tmp_path / "sorted"), replace(SETTINGS, threshold=None), threads=1)
    pictures = [save("fog", seed, inbox / f"{seed}.png") for seed in range(9)]
    with patch("daemon.reloading.pipeline_settings.in_force", wraps=in_force) as made:
        fates = [outcome.fate for outcome in pipeline.process(pictures[:8])]
        assert made.call_count == 1
        pipeline.classifier = strict  # as hot reload does
        fates += [outcome.fate for outcome in pipeline.process(pictures[8:])]
    pipeline.close()
    assert fates == [Fate.SURE] * 8 + [Fate.UNSURE]


def test_one_bad_file_leaves_its_neighbours_alone(pipeline: Pipeline, inbox: Path, tmp_path: Path) -> None:
    good = [save(kind, 1, inbox / f"{kind}.png") for kind in KINDS]
    text, cut, large, folder = inbox / "text.jpg", inbox / "cut.png", inbox / "large.png", inbox / "folder.jpg"
    text.write_text("no picture")
    cut.write_bytes(good[3].read_bytes()[:-2000])
    large.write_bytes(bytes(SETTINGS.max_bytes + 1))
    folder.mkdir()
    link = inbox / "link.png"
    link.symlink_to(good[0])
    paths = [text, good[0], cut, good[1], large, inbox / "gone.png", good[2], folder, link, good[3]]
    outcomes = by_name(list(pipeline.process(paths)))
    assert {name: outcomes[name].status for name in outcomes} == {
        "text.jpg": Status.FILED,
        "cut.png": Status.FILED,
        "large.png": Status.FILED,
        "gone.png": Status.GONE,
        "folder.jpg": Status.REFUSED,
        "link.png": Status.REFUSED,
        **{path.name: Status.FILED for path in good},
    }
    quarantine = tmp_path / "sorted" / "quarantine"
    assert files_below(quarantine) == {
        "not-an-image": ["text.jpg", "text.jpg.json"],
        "too-large": ["large.png", "large.png.json"],
        "truncated": ["cut.png", "cut.png.json"],
    }
    assert files_below(tmp_path / "sorted").keys() == {*KINDS, "quarantine"}


def test_an_image_that_is_still_written_has_no_outcome(pipeline: Pipeline, inbox: Path) -> None:
    whole = save("fog", 1, inbox / "whole.png")
    half, begun = inbox / "half.png", inbox / "begun.png"
    half.write_bytes(whole.read_bytes()[:-2000])
    begun.touch()
    asked: list[Path] = []

    def waits(path: Path) -> bool:
        asked.append(path)
        return True

    outcomes = list(pipeline.process([half, begun, whole], waits))
    assert sorted(asked) == sorted([half, begun])  # two are decoded at a time
    assert [outcome.path for outcome in outcomes] == [whole]
    assert half.is_file()


def test_an_image_without_its_end_is_waited_for_and_then_classified(pipeline: Pipeline, inbox: Path) -> None:
    whole = inbox / "whole.jpg"
    with Image.open(save("fog", 1, inbox.parent / "fog.png")) as picture:
        picture.convert("RGB").save(whole, "JPEG")
    unended, cut = inbox / "unended.jpg", inbox / "cut.jpg"
    unended.write_bytes(whole.read_bytes()[:-2])
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    asked: list[Path] = []

    def waits(path: Path) -> bool:
        asked.append(path)
        return asked.count(path) == 1

    assert [outcome.path for outcome in pipeline.process([unended, cut, whole], waits)] == [whole]
    assert sorted(asked) == sorted([unended, cut])  # two are decoded at a time
    outcomes = {outcome.path: outcome for outcome in pipeline.process([unended, cut], waits)}
    filed, broken = outcomes[unended], outcomes[cut]
    assert filed.reason is None
    assert filed.label is not None
    assert broken.reason == "truncated"


def test_stopping_between_batches_leaves_the_rest_in_the_inbox(pipeline: Pipeline, inbox: Path) -> None:
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(20)]
    stream = pipeline.process(paths)
    first = [next(stream) for _ in range(SETTINGS.batch_size)]
    stream.close()  # type: ignore[attr-defined]
    assert sorted(inbox.iterdir()) == paths[SETTINGS.batch_size :]
    assert [outcome.path for outcome in first] == paths[: SETTINGS.batch_size]


def test_told_to_stop_it_files_what_is_decoded_and_says_so_of_each(pipeline: Pipeline, inbox: Path) -> None:
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(20)]
    outcomes: list[Outcome] = []
    for outcome in pipeline.process(paths, stopping=lambda: bool(outcomes)):
        outcomes.append(outcome)
    assert [outcome.path for outcome in outcomes] == paths[: len(outcomes)]
    assert sorted(inbox.iterdir()) == paths[len(outcomes) :] != []


def test_a_batch_is_filed_while_the_next_one_is_decoded(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large images take longer to decode than all the rest."""
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(2 * SETTINGS.batch_size)]
    submit = pipeline.decoders.submit
    filing_began = threading.Event()

    def late(task: Task) -> Future[Decoded]:
        decoded = submit(task)
        if task.path == paths[-1]:
            decoded.result()
            return pool.submit(lambda: (filing_began.wait(300), decoded.result())[1])
        return decoded

    monkeypatch.setattr(pipeline.decoders, "submit", late)
    with ThreadPoolExecutor(1) as pool:
        order = []
        for outcome in pipeline.process(paths):
            order.append((outcome.path, filing_began.is_set()))
            filing_began.set()
    assert order[0] == (paths[0], False)
    assert [path for path, _ in order] == paths


def test_what_a_model_fails_at_waits_for_another_one(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is decoded twice."""
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(10)]
    coming, submitted = iter(paths), []
    outcomes: list[Outcome] = []
    good, submit = pipeline.classifier, pipeline.decoders.submit
    failing = Mock(wraps=good, metadata=good.metadata, transforms=good.transforms, digest=good.digest)
    failing.predict = Mock(side_effect=RuntimeError("the graph does not run"))

    def noted(task: Task) -> Future[Decoded]:
        submitted.append(task.path)
        return submit(task)

    monkeypatch.setattr(pipeline.decoders, "submit", noted)
    pipeline.classifier = failing
    with pytest.raises(ModelFailed, match="the graph does not run"):
        outcomes += pipeline.process(coming)
    pipeline.classifier = good
    outcomes += pipeline.process(coming)
    assert sorted(outcome.path for outcome in outcomes) == submitted == paths
    assert list(inbox.iterdir()) == []


def test_two_batches_are_looked_at_at_once(pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no core waits at the end of a batch for what another one still has of it."""
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(4 * SETTINGS.batch_size)]
    predict, both = Classifier.predict, threading.Barrier(2)

    def together(classifier: Classifier, crops: Sequence[Crops]) -> list[Prediction]:
        both.wait(300)
        return predict(classifier, crops)

    monkeypatch.setattr(Classifier, "predict", together)
    assert sorted(outcome.path for outcome in pipeline.process(paths)) == paths


def test_what_was_copied_before_is_not_decoded_again(
    classifier: Classifier, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save("fog", 1, inbox / "a.png")
    for expected in (Status.FILED, Status.ALREADY):
        journal = Journal(tmp_path / "journal.sqlite")
        filer = Filer(tmp_path / "sorted", action="copy", journal=journal)
        pipeline = Pipeline(classifier, filer, SETTINGS, threads=1)
        assert [outcome.status for outcome in pipeline.process([path])] == [expected]
        pipeline.close()
        journal.close()
        monkeypatch.setattr("daemon.decoding.pool.DecoderPool.submit", lambda *_: pytest.fail("it was decoded again"))
    assert files_below(tmp_path / "sorted") == {"fog": ["a.png"]}


def test_every_decision_is_journaled_with_the_model_that_made_it(
    classifier: Classifier, inbox: Path, tmp_path: Path
) -> None:
    from daemon.journal.journal import read_history

    with_journal = Journal(tmp_path / "journal.sqlite")
    pipeline = Pipeline(classifier, Filer(tmp_path / "sorted", journal=with_journal), SETTINGS, threads=1)
    list(pipeline.process([save("checks", 7, inbox / "a.png")]))
    pipeline.close()
    with_journal.close()
    (row,) = read_history(tmp_path / "journal.sqlite")
    assert (row.label, row.model_digest) == ("checks", classifier.digest)
    assert row.confidence is not None
    assert 0.25 < row.confidence <= 1


def test_names_are_kept_whatever_they_are(pipeline: Pipeline, inbox: Path, tmp_path: Path) -> None:
    source = save("fog", 1, tmp_path / "source.png")
    names = [
        "-rf.png",
        "new\nline.png",
        "한글.png",
        b"\xff\xfe.png".decode("utf-8", "surrogateescape"),
        "a" * 251 + ".png",
    ]
    for name in names:
        shutil.copy(source, inbox / name)
    outcomes = list(pipeline.process([inbox / name for name in names]))
    assert [outcome.status for outcome in outcomes] == [Status.FILED] * len(names)
    assert files_below(tmp_path / "sorted")["fog"] == sorted(names)
