"""Classes that lie in folders: images are rolled up first, sure of their class later, and put right by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.journal.journal import read_labels
from daemon.state import journal_path, status_path
from models import registry
from models.checkpoints.metadata import Level
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.pictures import KINDS, save
from tests.processes import daemon, run, wait_for
from tests.publishing import Heads, point_at

#: Of stripes, discs, checks and fog.
CLASSES = ("무늬/stripes", "무늬/discs", "무늬/checks", "fog")
#: Sure of the folder above only.
CAREFUL = {"threshold": 1.0, "max_error": 0.01, "levels": [Level(depth=1, threshold=0.5)]}

Publish = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    told = tmp_path / "told.jsonl"
    hook = [sys.executable, "-c", f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read())"]
    (tmp_path / "inbox").mkdir()
    (tmp_path / "config.toml").write_text(
        f'watch = ["inbox"]\nstate_dir = "{tmp_path / "state"}"\ncheckpoint = "checkpoints"\nlearn = "off"\n'
        f"probation_images = 0\non_filed = {json.dumps(hook)}\n"
    )
    return tmp_path


@pytest.fixture
def publish(store: WeightsStore, place: Path) -> Publish:
    """Publish a run of that name; more arguments go into its metadata."""
    heads = Heads(open_extractor([registry.locate(registry.EMBEDDED, None, store)], store), place / "examples")

    def make(name: str, **more: Any) -> None:
        folder = place / "checkpoints" / name
        point_at(folder, heads.write(folder, CLASSES, **more))

    return make


def filed(place: Path) -> dict[str, str]:
    """Map the images in the output to the folders that they lie in."""
    images = (path for path in (place / "sorted").rglob("*.jpg"))
    return {path.name: str(path.parent.relative_to(place / "sorted")) for path in images}


def labels(place: Path) -> dict[str, str | None]:
    return {label.path.name: label.label for label in read_labels(journal_path(place / "state", place / "sorted"))}


def told(place: Path) -> dict[str, str]:
    lines = (place / "told.jsonl").read_text().splitlines() if (place / "told.jsonl").exists() else []
    return {Path(one["file"]).name: one["class"] for one in map(json.loads, lines)}


def test_from_the_folder_above_to_the_class_and_by_hand_to_another(place: Path, publish: Publish) -> None:
    publish("careful", **CAREFUL)
    for seed, kind in enumerate(KINDS):
        save(kind, seed, place / "inbox" / f"{kind}{seed}.jpg")
    dry = run("daemon", "--once", "--dry-run", cwd=place)
    assert dry.returncode == 0, dry.stderr
    assert "discs1.jpg would go to 무늬/discs1.jpg (" in dry.stderr
    assert filed(place) == {}
    with daemon(place) as running:
        wait_for(lambda: len(filed(place)) == 4, "all are filed")
        rolled_up = {"stripes0.jpg": "무늬", "discs1.jpg": "무늬", "checks2.jpg": "무늬", "fog3.jpg": "others"}
        assert filed(place) == rolled_up
        running.wait_until_said("discs1.jpg -> 무늬/discs1.jpg (")
        wait_for(lambda: told(place).get("discs1.jpg") == "무늬", "the hook is told")
        wait_for(lambda: counts(place) == {"rolled up": 3, "unsure": 1}, "status counts them")

        publish("sure", threshold=0.3)
        running.wait_until_said("took over checkpoint")
        save("discs", 10, place / "inbox" / "discs10.jpg")
        wait_for(lambda: filed(place).get("discs10.jpg") == "무늬/discs", "it is sure of the class now")

        for name, folder in (("discs10.jpg", "무늬/checks"), ("stripes0.jpg", "무늬/줄무늬"), ("fog3.jpg", "fog")):
            target = place / "sorted" / folder / name
            target.parent.mkdir(exist_ok=True)
            (place / "sorted" / filed(place)[name] / name).rename(target)
        noted = {"discs10.jpg": "무늬/checks", "stripes0.jpg": "무늬/줄무늬", "fog3.jpg": "fog"}
        wait_for(lambda: labels(place) == noted, "what was moved is noted")

        moved = run("daemon", "resort", "--checkpoint", "checkpoints/sure", "--json", cwd=place)
        assert moved.returncode == 0, moved.stderr
        assert filed(place)["discs1.jpg"] == "무늬/discs"
        assert filed(place)["checks2.jpg"] == "무늬/checks"
        assert filed(place)["stripes0.jpg"] == "무늬/줄무늬", "what was put there by hand stays"
        asked = run("daemon", "relabel", "checks2.jpg", "무늬/줄무늬", cwd=place)
        assert asked.returncode == 0, asked.stderr
        back = run("daemon", "undo", "--file", "무늬/discs/discs1.jpg", "--last", "2", cwd=place)
        assert back.returncode == 0, back.stderr
        assert running.terminate() == 0
    assert "internal error" not in running.log()
    assert filed(place)["checks2.jpg"] == "무늬/줄무늬"
    assert labels(place)["checks2.jpg"] == "무늬/줄무늬"


def test_sort_copies_into_them_once(place: Path, publish: Publish) -> None:
    publish("sure", threshold=0.3)
    for seed, kind in enumerate(KINDS):
        save(kind, seed, place / "pictures" / f"{kind}{seed}.jpg")
    command = ["sort", "--input-dir", "pictures", "--output-dir", "sorted", "--json"]
    first = run("daemon", *command, cwd=place)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["folders"] == dict.fromkeys(CLASSES, 1)
    there = filed(place)
    assert set(there.values()) == set(CLASSES)
    assert run("daemon", *command, cwd=place).returncode == 0
    assert filed(place) == there


def counts(place: Path) -> dict[str, int]:
    images: dict[str, int] = json.loads(status_path(place / "state", place / "sorted").read_text())["images"]
    return images
