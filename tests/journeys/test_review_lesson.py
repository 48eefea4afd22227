"""Labels that were given on the review page are learned from, and the page says how much better the model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.review.browser import Browser
from tests.journeys.test_review_page import review_page
from tests.pictures import save
from tests.processes import daemon, run, wait_for

NEW = "검은 원"
#: A picture of the data set that lies in the folder of another class.
WRONG = "stripes/wrong.png"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model of two kinds of pictures, published, with one wrong label, and the settings of a daemon."""
    for kind in ("stripes", "fog"):
        for seed in range(12):
            save(kind, seed, tmp_path / "data" / kind / f"{seed}.png")
    save("fog", 77, tmp_path / "data" / WRONG)
    (tmp_path / "inbox").mkdir()
    settings = 'output = "sorted"\nstate_dir = "state"\nthreshold = 0\nlearn_quiet_seconds = 3\n'
    (tmp_path / "config.toml").write_text(settings)
    done = run("trainer", "fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_how_much_better_the_model_is_is_told_once_it_has_learned(place: Path) -> None:
    for seed in range(12):
        save("discs", seed, place / "inbox" / f"disc{seed}.png")
    with daemon(place) as running:
        wait_for(lambda: len([*(place / "sorted").glob("*/disc*.png")]) == 12, running.log())
        with review_page(place) as page:
            before = page.get("/api/session").json()
            model = page.get("/api/model").json()
            assert (model["run"], model["lesson"]) == (before["model"], None)
            wrong = next(image for image in model["likely_wrong"] if image["name"] == "wrong.png")
            put_right = {"kind": "learnt", "id": wrong["number"], "version": wrong["version"], "to": "fog"}
            images = page.get("/api/live?minutes=60").json()["images"]
            named = [{"id": image["id"], "version": image["version"]} for image in images]
            states = page.decide(put_right, *({"kind": "label", "to": NEW, "new": True, **one} for one in named))
            assert {state["state"] for state in states} == {"done"}
            changes = changed_model(page, before["model"], before["revision"])
            model = page.get("/api/model").json()
            assert model["run"] == changes["model"] != before["model"]
            assert model["lesson"]["before"] < model["lesson"]["after"]
            assert NEW in model["classes"]
            assert "wrong.png" not in [image["name"] for image in model["likely_wrong"]]
            taken_as = dict(zip(model["classes"], model["matrix"], strict=True))
            assert sum(taken_as[NEW]) > 0
        metrics = json.loads((place / "checkpoints" / model["run"] / "metrics.json").read_text())
        assert metrics["lesson"]["contradictions"] == [{"file": WRONG, "label": "stripes", "said": "fog"}]
        assert (place / "data" / WRONG).exists()
        running.wait_until_said("took over checkpoint")
        assert running.terminate() == 0


def changed_model(page: Browser, model: str, revision: int) -> dict[str, Any]:
    """Wait as a page does until another model is in use."""
    found: dict[str, Any] = {"model": model, "revision": revision}

    def is_another() -> bool:
        found.update(page.get(f"/api/changes?since={found['revision']}").json())
        return bool(found["model"] != model)

    wait_for(is_another, "the lesson is over", seconds=1200)
    return found
