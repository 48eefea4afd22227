"""What a person moved while no daemon ran has a label, and what was known before a stop or a kill still holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.files.source import Identity
from daemon.journal.labels import WantedLabels
from tests.daemon.correcting.conftest import Scene


def correct_one(scene: Scene) -> tuple[Path, Path]:
    """Move an image that was filed before the last start; returns where it was filed and where it lies now."""
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.restart()
    moved = scene.move(image, "wolf")
    scene.look()
    return image, moved


@pytest.mark.parametrize("how", ["stopped", "killed", "killed, and what was seen is lost"])
def test_an_image_that_was_moved_meanwhile_is_a_correction(scene: Scene, how: str) -> None:
    scene.start()
    image = scene.file("a.jpg")
    stays = scene.file("stays.jpg")
    scene.look()
    scene.stop(killed=how != "stopped")
    if how.endswith("lost"):
        (scene.desk.journal_path.parent / "seen-files").unlink()
    scene.move(image, "wolf")
    scene.start()
    assert scene.labels == {"a.jpg": ("wolf", "moved")}
    assert stays.exists()


def test_a_correction_is_taken_back_after_a_kill_too(scene: Scene) -> None:
    image, moved = correct_one(scene)
    assert scene.labels
    scene.stop(killed=True)
    moved.rename(image)
    scene.start()
    assert not scene.labels


def test_and_it_is_taken_back_however_many_labels_came_after_it(scene: Scene) -> None:
    image, moved = correct_one(scene)
    (label,) = scene.all_labels
    later = [
        replace(label, id=None, sha256=f"{number:064}", identity=Identity(0, 0, number, 0), filing_id=None)
        for number in range(1200)
    ]
    scene.journal.write([], labels=later)
    scene.stop(killed=True)
    moved.rename(image)
    scene.start()
    (first,) = scene.journal.labels(WantedLabels(sha256=[label.sha256], every=True))
    assert first.forgotten


def test_a_label_that_was_forgotten_stays_so_while_its_image_stays(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.move(image, "wolf")
    scene.look()
    scene.journal.forget_labels([label.id for label in scene.all_labels if label.id])
    scene.stop(killed=True)
    (scene.desk.journal_path.parent / "seen-files").unlink()
    scene.start()
    assert not scene.labels
