"""The model in use, the images behind its mistakes, and what can be done with it."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.review.model_api import ModelTask
from daemon.review.model_tasks import ModelTasks
from daemon.review.refusals import Refusal
from daemon.review.run_report import JudgedImage, RunReport
from models import allowed
from models.text.language import VARIABLE, speaking
from tests.daemon.conftest import Publish
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.pictures import KINDS, save
from tests.processes import wait_for

COLUMNS = ["file", "label", "sha256", "side", "fold", "predicted", "confidence", "true_probability", "reason"]


@pytest.fixture
def learnt(reviewed: Reviewed, tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of which two images were taken for other classes; its report is published."""
    data = tmp_path / "data"
    run = tmp_path / "checkpoints" / "20260101-000000-embedded"
    publish(run, settings={"data_dir": str(data), "lesson": True, "labels": 3})
    rows = []
    for number, (label, predicted, confidence, true) in enumerate(
        [("discs", "discs", 0.9, 0.9), ("discs", "checks", 0.8, 0.01), ("checks", "discs", 0.6, 0.3)]
    ):
        (data / label).mkdir(parents=True, exist_ok=True)
        path = save(KINDS[1], number, data / label / f"{number}.png")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = str(path.relative_to(data))
        rows.append([name, label, digest, "held-out", "0", predicted, str(confidence), str(true), ""])
    outside = save(KINDS[0], 7, tmp_path / "outside.png")
    digest = hashlib.sha256(outside.read_bytes()).hexdigest()
    rows.append(["../outside.png", "discs", digest, "held-out", "0", "discs", "0.9", "0.9", ""])
    rows.append(["discs/4.png", "discs", digest, "train", "", "", "", "", ""])
    with (run / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    data_set, labelled = (8, 8, 6), (2, 1, 0)
    names = ("images", "right", "right_before")
    judged = {"data_set": dict(zip(names, data_set, strict=True)), "labelled": dict(zip(names, labelled, strict=True))}
    (run / "metrics.json").write_text(json.dumps({"lesson": {"why": "it is better", "judged": judged}}))
    monkeypatch.setenv("IMAGESORTD_CHECKPOINT", str(tmp_path / "checkpoints"))
    return run


def test_the_mistakes_and_the_images_behind_them_are_shown(reviewed: Reviewed, learnt: Path) -> None:
    with open_page(reviewed) as page:
        model = page.browser.get("/api/model").json()
        discs, checks = model["classes"].index("discs"), model["classes"].index("checks")
        assert model["run"] == learnt.name
        assert model["matrix"][discs][checks] == 1
        assert model["matrix"][discs][discs] == 2
        assert (model["lesson"]["before"], model["lesson"]["after"]) == (0.6, 0.9)
        assert [image["number"] for image in model["likely_wrong"]] == [1]
        (image,) = page.browser.get("/api/model/cell?actual=discs&predicted=checks").json()["images"]
        assert image["name"] == "1.png"
        answer = page.browser.get(f"/thumbnails/learnt/{image['number']}/256")
        assert answer.headers["content-type"] == "image/jpeg"


def test_no_image_outside_of_the_data_set_is_shown(reviewed: Reviewed, learnt: Path, tmp_path: Path) -> None:
    with open_page(reviewed) as page:
        for number in (3, 4, 99):
            assert page.browser.get(f"/thumbnails/learnt/{number}/256").status == 404
        (tmp_path / "data" / "discs" / "1.png").write_bytes((tmp_path / "outside.png").read_bytes())
        assert page.browser.get("/thumbnails/learnt/1/256").status == 409


def test_a_report_is_read_once_until_it_is_another(
    reviewed: Reviewed, learnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[None] = []
    judged = RunReport.judged

    def count(self: RunReport) -> Iterator[JudgedImage]:
        read.append(None)
        return judged(self)

    monkeypatch.setattr(RunReport, "judged", count)
    with open_page(reviewed) as page:
        for _ in range(3):
            (image,) = page.browser.get("/api/model").json()["likely_wrong"]
        assert page.browser.get(f"/thumbnails/learnt/{image['number']}/256").status == 200
        assert len(read) == 1
        (other,) = page.browser.get("/api/model/cell?actual=checks&predicted=discs").json()["images"]
        assert page.browser.get(f"/thumbnails/learnt/{other['number']}/256").status == 200
        assert len(read) == 2
        lines = (learnt / "split.csv").read_text().splitlines(keepends=True)
        (learnt / "split.csv").write_text("".join([lines[0], *lines[2:]]))
        (image,) = page.browser.get("/api/model").json()["likely_wrong"]
        assert image["number"] == 0
        assert page.browser.get("/thumbnails/learnt/0/256").status == 200


def test_without_a_model_it_says_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    model = page.browser.get("/api/model").json()
    assert model["matrix"] == []
    assert model["says"]


def test_a_damaged_report_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_bytes(b"\x00\xff,\n\n,side\nheld-out")
    assert list(RunReport(tmp_path).judged()) == []
    assert list(RunReport(tmp_path / "none").judged()) == []


def test_a_task_is_a_command_and_there_is_one_at_a_time(reviewed: Reviewed, learnt: Path) -> None:
    changes: list[None] = []
    tasks = ModelTasks(reviewed.place(), lambda: changes.append(None))
    with open_page(reviewed) as page:
        assert page.browser.post("/api/model/task", {"task": "roll-back", "run": "../x"}).status == 400
        assert page.browser.post("/api/model/task", {"task": "rm"}).status == 400
        begun = page.browser.post("/api/model/task", {"task": "roll-back"}).json()
        assert begun["state"] == "running"
        assert page.browser.post("/api/model/task", {"task": "learn"}).status == 409
        wait_for(lambda: page.browser.get("/api/model").json()["task"]["state"] != "running", "it is over")
        assert page.browser.get("/api/model").json()["task"]["says"]
    tasks.close()


def test_a_task_may_use_the_plugins_that_the_page_may_and_speaks_its_language(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "en")
    allowed.allow_plugins(["ours"])
    asked: dict[str, str] = {}

    def start(*words: object, env: dict[str, str], **options: object) -> None:
        asked.update(env)
        raise OSError("that is enough")

    monkeypatch.setattr(subprocess, "Popen", start)
    with speaking("ko"), pytest.raises(Refusal, match="that is enough"):
        ModelTasks(reviewed.place(), lambda: None).begin(ModelTask(task="learn"))
    assert (asked[allowed.PLUGINS_VARIABLE], asked[VARIABLE]) == ("ours", "ko")
