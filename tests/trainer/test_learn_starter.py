"""Lessons for a model whose images are not at hand: the starter, and runs that keep no features."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier, Prediction, open_classifier
from models.decoding.images import decode
from models.groups import starter_groups
from models.starter import starter_path
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import COLOURS
from trainer.__main__ import NOT_PUBLISHED, main
from trainer.learning import record
from trainer.learning.origin import ORIGIN_NAME
from trainer.runs.publish import current_run

ROOT = Path(__file__).resolve().parents[2]


def paint(path: Path, colour: tuple[int, int, int], seed: int) -> Path:
    """A noisy picture of a colour."""
    random = np.random.default_rng([seed, *colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.normal(0, 40, (64, 64, 3)) + random.normal(0, 20, 3)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three new class folders with ten pictures each."""
    for name, colour in COLOURS.items():
        for number in range(10):
            paint(tmp_path / "sorted" / name / f"{number}.png", colour, number)
    return tmp_path / "sorted"


@pytest.fixture
def runs(tmp_path: Path, store: WeightsStore) -> Path:
    """Where runs will be: nothing was ever published there."""
    assert store.root.is_absolute()
    return tmp_path / "checkpoints"


def teach(runs: Path, labels: Path, *more: str) -> int:
    return run(main, ["learn", "--checkpoints", str(runs), "--labels", str(labels), *more])


def write_labels(file: Path, labels: Iterable[tuple[Path, str | None]]) -> Path:
    lines = [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "label": label}
        for path, label in labels
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


def labels_of(folders: Path) -> list[tuple[Path, str | None]]:
    return [(path, path.parent.name) for path in sorted(folders.glob("*/*.png"))]


def predict(classifier: Classifier, path: Path) -> Prediction:
    with path.open("rb") as file:
        crops = decode(file, classifier.transforms)
    return classifier.predict([crop[None] for crop in crops])[0]


def published(runs: Path) -> Metadata:
    return checkpoints.load(runs).metadata


def strangers(folder: Path) -> list[Path]:
    """Pictures unlike those of the colours."""
    paths = []
    for number in range(12):
        random = np.random.default_rng(number)
        pixels = np.kron(random.integers(0, 2, (8, 8, 1)) * 255, np.ones((16, 16, 3)))
        paths.append(folder / f"stranger{number}.png")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def test_the_starter_learns_new_folders_and_files_the_rest_as_before(
    runs: Path, folders: Path, tmp_path: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(runs, folders) == 0
    metadata = published(runs)
    assert metadata.classes == [*starter_groups("en")[0], "blue", "green", "red"]
    assert (metadata.settings["parent"], "starter" in metadata.settings) == ("starter", False)
    taught, starter = open_classifier(runs, store), open_classifier(starter_path(store, "en"), store)
    new = [predict(taught, paint(tmp_path / f"{name}.png", colour, 77)) for name, colour in COLOURS.items()]
    assert [prediction.label for prediction in new] == list(COLOURS)
    assert min(prediction.confidence for prediction in new) >= metadata.served_threshold
    for path in strangers(tmp_path / "strangers"):
        before, after = predict(starter, path), predict(taught, path)
        assert before.label == after.label
        assert before.confidence == pytest.approx(after.confidence, abs=0.02)
    capsys.readouterr()
    assert run(main, ["list", "--output-dir", str(runs)]) == 0
    assert "a lesson for the starter model" in capsys.readouterr().out


def test_the_next_lesson_is_one_like_any_other_and_rollback_ends_at_the_starter(
    runs: Path, folders: Path, tmp_path: Path, store: WeightsStore
) -> None:
    """The pictures of the first one may be gone, and so may its run."""
    labels = labels_of(folders)
    file = write_labels(tmp_path / "labels.jsonl", labels)
    assert teach(runs, file) == 0
    first = current_run(runs)
    assert first is not None
    more = [(paint(folders / "grey" / f"{number}.png", (128, 128, 128), number), "grey") for number in range(10)]
    second = write_labels(tmp_path / "more.jsonl", [*labels, *more])
    shutil.rmtree(folders / "red")
    assert teach(runs, second) == 0
    assert published(runs).settings["parent"] == first
    assert published(runs).classes[-4:] == ["blue", "green", "grey", "red"]
    assert (runs / str(current_run(runs)) / ORIGIN_NAME).samefile(runs / first / ORIGIN_NAME)
    assert predict(open_classifier(runs, store), paint(tmp_path / "new.png", COLOURS["red"], 5)).label == "red"
    for expected in (first, None):
        assert run(main, ["rollback", "--output-dir", str(runs)]) == 0
        assert current_run(runs) == expected
    assert checkpoints.is_starter_published(runs)
    assert teach(runs, second) == 0


def test_the_run_that_a_lesson_came_from_may_be_removed(runs: Path, folders: Path, tmp_path: Path) -> None:
    labels = labels_of(folders)
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", labels)) == 0
    first = runs / str(current_run(runs))
    more = [(paint(folders / "grey" / f"{number}.png", (128, 128, 128), number), "grey") for number in range(10)]
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", [*labels, *more])) == 0
    shutil.rmtree(first)
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", labels)) == 0  # grey is unlearned
    assert published(runs).classes[-3:] == ["blue", "green", "red"]


def test_what_is_of_none_of_the_classes_is_not_filed(
    runs: Path, folders: Path, tmp_path: Path, store: WeightsStore
) -> None:
    labels = [(path, None if name == "red" else name) for path, name in labels_of(folders)]
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", labels)) == 0
    assert "red" not in published(runs).classes
    red = predict(open_classifier(runs, store), paint(tmp_path / "new.png", COLOURS["red"], 77))
    assert red.confidence < published(runs).served_threshold


def test_one_folder_alone_is_learned(runs: Path, folders: Path, tmp_path: Path, store: WeightsStore) -> None:
    labels = [(path, name) for path, name in labels_of(folders) if name == "red"]
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", labels)) == 0
    taught = open_classifier(runs, store)
    assert predict(taught, paint(tmp_path / "new.png", COLOURS["red"], 77)).label == "red"
    assert predict(taught, strangers(tmp_path / "strangers")[0]).label != "red"


def test_ten_pictures_of_one_moment_are_learned_as_one(
    runs: Path, tmp_path: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can tell more of them than that they are alike and unlike the rest."""
    scene = np.kron(np.random.default_rng(3).integers(0, 200, (8, 8, 3)), np.ones((12, 12, 1)))
    (tmp_path / "sorted" / "party").mkdir(parents=True)
    for number in range(11):
        path = tmp_path / "sorted" / "party" / f"{number}.png"
        Image.fromarray((scene + np.random.default_rng(number).normal(20, 4, scene.shape)).astype(np.uint8)).save(path)
    last = path.rename(tmp_path / "last.png")
    assert teach(runs, tmp_path / "sorted") == 0
    assert "of the 1 labelled images it has 1 right" in (said := capsys.readouterr().out)
    assert "near duplicates count as one image" in said
    assert predict(open_classifier(runs, store), last).label == "party"
    more = paint(tmp_path / "sorted" / "red" / "0.png", COLOURS["red"], 0).parent
    for number in range(1, 10):
        paint(more / f"{number}.png", COLOURS["red"], number)
    assert teach(runs, tmp_path / "sorted") == 0, "the burst is still known as one"
    assert "of the 11 labelled images" in capsys.readouterr().out


def test_few_images_wait(runs: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_labels(tmp_path / "labels.jsonl", [(path, "dog") for path, _ in labels_of(folders)[:4]])
    assert teach(runs, file) == NOT_PUBLISHED
    assert "only 4 of the labels can be learned from yet, and a lesson takes 5" in capsys.readouterr().out
    assert [path.name for path in runs.iterdir()] == [".lesson.lock"]


def test_images_that_were_left_in_their_folders_stay_there(
    runs: Path, folders: Path, tmp_path: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless people made a folder of their own for images like them."""
    assert teach(runs, folders) == 0
    left = [(paint(tmp_path / "left" / f"{number}.png", COLOURS["red"], 100 + number), "red") for number in range(30)]
    filed = write_labels(tmp_path / "filed.jsonl", left)
    wrong = [(path, "dog" if name == "red" else name) for path, name in labels_of(folders)]
    before = current_run(runs)
    assert teach(runs, write_labels(tmp_path / "wrong.jsonl", wrong), "--filed", str(filed)) == NOT_PUBLISHED
    assert "would go elsewhere: more than 2%" in capsys.readouterr().out
    assert current_run(runs) == before
    assert teach(runs, write_labels(tmp_path / "wrong.jsonl", wrong)) == 0  # nothing was left in the folders
    starter = open_classifier(starter_path(store, "en"), store)
    assert before is not None
    assert starter.classes == published(runs).classes[:-2]


def test_filed_images_that_nothing_changes_for_keep_no_lesson_back(runs: Path, folders: Path, tmp_path: Path) -> None:
    """Nor do those that are gone."""
    assert teach(runs, folders) == 0
    left = [(paint(tmp_path / "left" / f"{number}.png", COLOURS["red"], 100 + number), "red") for number in range(30)]
    filed = write_labels(tmp_path / "filed.jsonl", left)
    left[0][0].unlink()
    more = [(paint(folders / "grey" / f"{number}.png", (128, 128, 128), number), "grey") for number in range(10)]
    file = write_labels(tmp_path / "labels.jsonl", [*labels_of(folders), *more])
    assert teach(runs, file, "--filed", str(filed)) == 0
    metrics = json.loads((runs / str(current_run(runs)) / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["lesson"]["judged"]["filed"]["images"] > 20


def test_labels_that_flip_and_pictures_that_vanish_leave_what_is_left_to_learn(
    runs: Path, folders: Path, tmp_path: Path, store: WeightsStore
) -> None:
    """The newest label of a picture counts, a class that loses its pictures goes, and what is gone is left out."""
    labels = labels_of(folders)
    file = write_labels(
        tmp_path / "labels.jsonl", [*labels, *((path, "blue") for path, name in labels if name == "red")]
    )
    for path in sorted((folders / "green").iterdir())[:2]:
        path.unlink()
    assert teach(runs, file) == 0
    assert published(runs).classes[-2:] == ["blue", "green"]
    red = predict(open_classifier(runs, store), paint(tmp_path / "new.png", COLOURS["red"], 77))
    assert red.label == "blue"
    shutil.rmtree(folders / "green")
    assert teach(runs, write_labels(tmp_path / "labels.jsonl", [row for row in labels if row[1] == "red"])) == 0
    assert published(runs).classes[-1] == "red"
    assert "green" not in published(runs).classes


def test_a_full_disk_leaves_the_starter_in_use(
    runs: Path, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(record, "write_labelled", full)
        assert teach(runs, folders) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "No space left on device" in sentence
    assert [path.name for path in runs.iterdir()] == [".lesson.lock"]
    assert teach(runs, folders) == 0


def test_a_run_that_is_gone_is_told_in_one_sentence(
    runs: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(runs, folders) == 0
    shutil.rmtree(runs / str(current_run(runs)))
    capsys.readouterr()
    assert teach(runs, folders) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "current.json names the run" in sentence or "there is no checkpoint" in sentence


def test_runs_of_which_none_is_published_do_not_make_the_starter_learn(
    runs: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(runs, folders) == 0
    (runs / checkpoints.POINTER).unlink()
    assert teach(runs, folders) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "no run is published in" in sentence


def test_a_lesson_for_the_starter_never_imports_torch(runs: Path, folders: Path) -> None:
    code = (
        "import sys; from trainer.__main__ import main; "
        f"code = main(['learn', '--checkpoints', {str(runs)!r}, '--labels', {str(folders)!r}]); "
        "print(code, sorted({'torch', 'torchvision', 'timm', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
