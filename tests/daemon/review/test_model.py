"""The model in use, the images behind its mistakes, and what can be done with it."""

from __future__ import annotations

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
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.processes import wait_for


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


def test_of_many_classes_the_matrix_has_those_that_are_confused(reviewed: Reviewed, learnt: Path) -> None:
    with (learnt / "split.csv").open("a") as file:
        for number in range(300):
            name = f"class {number}"
            file.write(f"{name}.png,{name},{number:064x},held-out,0,{name},0.9,0.9,\n")
    with open_page(reviewed) as page:
        model = page.browser.get("/api/model").json()
        assert model["is_excerpt"]
        assert model["classes"] == ["checks", "discs"]
        assert model["matrix"] == [[0, 1], [1, 2]]


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
