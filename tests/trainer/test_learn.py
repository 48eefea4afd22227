"""Lessons: what people said of images changes what is published, or nothing does."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Array
from models.classifier import open_classifier
from models.decoding.images import decode
from models.files.markers import MARKER, marker_content
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import COLOURS
from trainer import learn as learning
from trainer.__main__ import NOT_PUBLISHED, main
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.learning.files import FILE_NAME, LABELLED_FILE_NAME
from trainer.learning.record import Lesson, write_lesson
from trainer.runs.listing import as_rows, list_runs

ROOT = Path(__file__).resolve().parents[2]

#: Gives a lesson with labels by path and returns the exit code.
Teach = Callable[[Mapping[Path, str | None]], int]


def paint(path: Path, colour: tuple[int, int, int], seed: int) -> Path:
    """A noisy picture of a colour."""
    random = np.random.default_rng([seed, *colour])
    noise = random.normal(0, 40, (64, 64, 3)) + random.normal(0, 60, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def two_colours(colours: Path, tmp_path_factory: pytest.TempPathFactory, store: WeightsStore) -> Path:
    """A folder with one published run, fitted on blue and green pictures. Not to be changed."""
    assert store.root.is_absolute()
    folder = tmp_path_factory.mktemp("two")
    for name in ("blue", "green"):
        shutil.copytree(colours / name, folder / "data" / name)
    fit(FitOptions(data_dir=folder / "data", mode="efficientnet_lite0", output_dir=folder / "runs", epochs=4))
    return folder / "runs"


@pytest.fixture
def runs(two_colours: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(two_colours, tmp_path / "runs")
    return folder


@pytest.fixture
def reds(tmp_path: Path) -> list[Path]:
    return [paint(tmp_path / "sorted" / "red" / f"{number}.png", COLOURS["red"], number) for number in range(12)]


def write_labels(file: Path, labels: Mapping[Path, str | None]) -> Path:
    lines = (
        json.dumps(
            {
                "path": str(path),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0" * 64,
                "label": label,
                "how": "moved",
                "time": "2026-11-29T12:00:00+00:00",
            }
        )
        for path, label in labels.items()
    )
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def teach(runs: Path, tmp_path: Path) -> Teach:
    def give(labels: Mapping[Path, str | None]) -> int:
        file = write_labels(tmp_path / "labels.jsonl", labels)
        return run(main, ["learn", "--checkpoints", str(runs), "--labels", str(file)])

    return give


def current(folder: Path) -> str:
    pointer = checkpoints.read_pointer(folder)
    assert pointer is not None
    return pointer.run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def forget_features(run: Path) -> None:
    """Make a run like one of an older version."""
    metrics = run / "metrics.json"
    content = json.loads(metrics.read_text(encoding="utf-8"))
    del content["features"]
    metrics.write_text(json.dumps(content), encoding="utf-8")


def predicted(runs: Path, path: Path, store: WeightsStore) -> str:
    classifier = open_classifier(runs, store)
    with path.open("rb") as file:
        crops = decode(file, classifier.transforms)
    return classifier.predict([crop[None] for crop in crops])[0].label


def test_a_lesson_learns_a_new_class_and_is_published_with_its_parent(
    runs: Path, reds: list[Path], teach: Teach, store: WeightsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = current(runs)
    assert teach(dict.fromkeys(reds, "red")) == 0
    lesson = runs / current(runs)
    assert lesson.name != parent
    assert checkpoints.load(runs).metadata.classes == ["blue", "green", "red"]
    new = [paint(tmp_path / f"{name}.png", colour, 77) for name, colour in COLOURS.items()]
    assert [predicted(runs, path, store) for path in new] == list(COLOURS)
    assert (lesson / FILE_NAME).samefile(runs / parent / FILE_NAME)
    assert [row["parent"] for row in as_rows(list_runs(runs))] == [None, parent]
    capsys.readouterr()
    assert run(main, ["list", "--output-dir", str(runs)]) == 0
    assert f"a lesson for {parent}" in capsys.readouterr().out


def test_the_same_labels_teach_nothing_twice(
    runs: Path, reds: list[Path], teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(dict.fromkeys(reds, "red")) == 0
    before = names(runs)
    capsys.readouterr()
    assert teach(dict.fromkeys(reds, "red")) == NOT_PUBLISHED
    assert "has learned from all these labels" in capsys.readouterr().out
    assert names(runs) == before


def test_a_label_that_is_taken_back_is_unlearned(runs: Path, reds: list[Path], teach: Teach) -> None:
    assert teach(dict.fromkeys(reds, "red")) == 0
    assert teach({}) == 0
    assert checkpoints.load(runs).metadata.classes == ["blue", "green"]


def test_a_picture_that_is_gone_is_still_known(
    runs: Path, reds: list[Path], teach: Teach, store: WeightsStore, tmp_path: Path
) -> None:
    labels = dict.fromkeys(reds, "red")
    assert teach(labels) == 0
    sha256 = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in reds}
    more = paint(tmp_path / "sorted" / "red" / "more.png", COLOURS["red"], 50)
    lines = [{"path": str(path), "sha256": sha256[path], "label": "red"} for path in reds]
    lines.append({"path": str(more), "sha256": hashlib.sha256(more.read_bytes()).hexdigest(), "label": "red"})
    for path in reds:
        path.unlink()
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(lines), encoding="utf-8")  # a list, as --json prints it
    code = run(main, ["learn", "--checkpoints", str(runs), "--labels", str(file), "--cache-dir", str(store.root)])
    assert code in (0, NOT_PUBLISHED)  # one more of what it knows may win nothing
    labelled = runs / current(runs) / LABELLED_FILE_NAME
    assert labelled.is_file()
    assert "red" in checkpoints.load(runs).metadata.classes


def test_labels_are_read_as_the_daemon_prints_them(
    runs: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image may have been moved since; the last label of one content holds."""
    items = []
    for number, path in enumerate(reds):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        moved = path.rename(path.with_name(f"moved{number}.png"))
        item = {"id": number, "how": "moved", "path": str(path), "sha256": sha256, "now": str(moved)}
        items.append(item | {"time": "2026-11-29T12:00:01.000+00:00", "class": "red"})
        items.append(item | {"time": "2026-11-29T12:00:00.000+00:00", "class": None})
    file = tmp_path / "labels"
    file.write_text(json.dumps(items), encoding="utf-8")
    assert run(main, ["learn", "--json", "--checkpoints", str(runs), "--labels", str(file)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["published"]
    assert result["labels"] == {"red": 12}
    assert result["new_classes"] == ["red"]


def test_labels_are_read_from_a_folder_as_well(runs: Path, reds: list[Path], tmp_path: Path) -> None:
    """What lies in the folder of the others is of none of the classes, whatever the folder is called."""
    folder = reds[0].parent.parent
    assert folder.parent == tmp_path
    assert run(main, ["learn", "--checkpoints", str(runs), "--labels", str(folder)]) == 0
    assert checkpoints.load(runs).metadata.classes == ["blue", "green", "red"]
    reds[0].parent.rename(folder / "rest")
    (folder / "rest" / MARKER).write_bytes(marker_content("others"))
    assert run(main, ["learn", "--checkpoints", str(runs), "--labels", str(folder)]) == 0
    assert checkpoints.load(runs).metadata.classes == ["blue", "green"]


def test_too_few_images_make_no_class(
    runs: Path, reds: list[Path], teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(runs)
    assert teach(dict.fromkeys(reds[:4], "red")) == NOT_PUBLISHED
    assert (
        "there is no label to learn from yet: these classes wait until they have 5 images: red (4)"
        in capsys.readouterr().out
    )
    assert names(runs) == before


def test_labels_that_make_it_worse_are_not_published(
    runs: Path, two_colours: Path, teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    data = two_colours.parent / "data"
    wrong = dict.fromkeys(sorted((data / "blue").iterdir())[:12], "green")
    wrong |= dict.fromkeys(sorted((data / "green").iterdir())[:12], "blue")
    before = (names(runs), current(runs))
    assert teach(wrong) == NOT_PUBLISHED
    assert "not published: " in capsys.readouterr().out
    assert (names(runs), current(runs)) == before


def test_what_is_of_none_of_the_classes_is_not_filed(
    runs: Path, reds: list[Path], teach: Teach, store: WeightsStore, tmp_path: Path
) -> None:
    def confidence() -> float:
        classifier = open_classifier(runs, store)
        path = paint(tmp_path / "unseen.png", COLOURS["red"], 99)
        with path.open("rb") as file:
            crops = decode(file, classifier.transforms)
        return classifier.predict([crop[None] for crop in crops])[0].confidence

    before = confidence()
    assert teach(dict.fromkeys(reds, None)) == 0
    assert checkpoints.load(runs).metadata.classes == ["blue", "green"]
    assert confidence() < min(before, 0.5)


def test_another_lesson_at_the_same_time_is_refused(
    runs: Path, reds: list[Path], teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = os.open(runs / ".lesson.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert teach(dict.fromkeys(reds, "red")) == NOT_PUBLISHED
        assert "another lesson runs in" in capsys.readouterr().out
        labels = str(runs.parent / "labels.jsonl")
        assert run(main, ["learn", "--json", "--checkpoints", str(runs), "--labels", labels]) == NOT_PUBLISHED
    finally:
        os.close(descriptor)
    assert json.loads(capsys.readouterr().out)["result"] == "busy"
    assert teach(dict.fromkeys(reds, "red")) == 0


def test_a_run_that_was_published_meanwhile_stays(
    runs: Path, reds: list[Path], teach: Teach, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = current(runs)
    shutil.copytree(runs / parent, runs / "other")

    def write_and_publish_other(
        lesson: Lesson, tuned: Mapping[str, Mapping[str, Array]], report: Sequence[str]
    ) -> Path:
        pointer = json.loads((runs / checkpoints.POINTER).read_text(encoding="utf-8"))
        (runs / checkpoints.POINTER).write_text(json.dumps(pointer | {"run": "other"}), encoding="utf-8")
        return write_lesson(lesson, tuned, report)

    monkeypatch.setattr(learning, "write_lesson", write_and_publish_other)
    assert teach(dict.fromkeys(reds, "red")) == NOT_PUBLISHED
    assert f"another run was published in place of {parent}" in capsys.readouterr().out
    assert current(runs) == "other"


@pytest.mark.parametrize("keeps_features", [True, False])
def test_a_lesson_that_the_daemon_has_given_up_is_not_what_the_next_one_begins_from(
    runs: Path, reds: list[Path], teach: Teach, keeps_features: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = current(runs)
    if not keeps_features:
        forget_features(runs / parent)
    assert teach(dict.fromkeys(reds[:8], "red")) == 0
    given_up = checkpoints.read_pointer(runs)
    assert given_up is not None
    labels = write_labels(runs.parent / "more.jsonl", dict.fromkeys(reds, "red"))
    command = ["learn", "--json", "--checkpoints", str(runs), "--labels", str(labels), "--given-up"]
    capsys.readouterr()
    assert run(main, [*command, given_up.sha256]) == 0
    assert json.loads(capsys.readouterr().out)["parent"] == parent
    lesson = checkpoints.load(runs).metadata
    assert (lesson.settings["parent"], lesson.classes) == (parent, ["blue", "green", "red"])
    assert [row["parent"] for row in as_rows(list_runs(runs))] == [None, parent, parent]


def test_without_the_run_before_it_a_lesson_begins_from_the_published_one(
    runs: Path, reds: list[Path], teach: Teach, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = current(runs)
    assert teach(dict.fromkeys(reds[:8], "red")) == 0
    given_up = checkpoints.read_pointer(runs)
    assert given_up is not None
    shutil.rmtree(runs / parent)
    labels = write_labels(runs.parent / "more.jsonl", dict.fromkeys(reds, "red"))
    command = ["learn", "--json", "--checkpoints", str(runs), "--labels", str(labels), "--given-up", given_up.sha256]
    capsys.readouterr()
    assert run(main, command) in (0, NOT_PUBLISHED)
    assert json.loads(capsys.readouterr().out)["parent"] == given_up.run


@pytest.mark.parametrize("step", ["find_answers", "fit_lesson", "judge", "write_lesson", "publish"])
def test_a_lesson_that_is_stopped_can_be_given_again(
    step: str, runs: Path, reds: list[Path], teach: Teach, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    parent = current(runs)
    with monkeypatch.context() as patched:
        patched.setattr(learning, step, interrupt)
        assert teach(dict.fromkeys(reds, "red")) not in (0, NOT_PUBLISHED)
    assert current(runs) == parent
    assert teach(dict.fromkeys(reds, "red")) == 0


def test_a_lesson_on_a_processor_never_imports_torch(runs: Path, reds: list[Path], tmp_path: Path) -> None:
    file = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(reds, "red"))
    code = (
        "import sys; from trainer.__main__ import main; "
        f"code = main(['learn', '--checkpoints', {str(runs)!r}, '--labels', {str(file)!r}]); "
        "print(code, sorted({'torch', 'torchvision', 'timm', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "is no file of labels (label 1 is not JSON)"),
        ('{"path": "x", "sha256": "0", "label": "a"}', "label 1 of"),
        ('{"path": "x"}\n', "label 1 of"),
        ('[{"path": 1, "label": "a"}]', "label 1 of"),
    ],
)
def test_a_file_that_has_no_labels_is_one_sentence(
    runs: Path, tmp_path: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").write_text(content, encoding="utf-8")
    assert run(main, ["learn", "--checkpoints", str(runs), "--labels", str(tmp_path / "labels")]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert words in sentence


def test_a_run_without_features_is_adapted(runs: Path, reds: list[Path], teach: Teach, store: WeightsStore) -> None:
    parent = current(runs)
    forget_features(runs / parent)
    assert teach(dict.fromkeys(reds, "red")) == 0
    metadata = checkpoints.load(runs).metadata
    assert (metadata.classes, metadata.settings["parent"]) == (["blue", "green", "red"], parent)
    new = [paint(runs.parent / f"{name}.png", colour, 77) for name, colour in COLOURS.items()]
    assert [predicted(runs, path, store) for path in new] == list(COLOURS)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "nonsense"])
def test_a_run_whose_predictions_are_damaged_cannot_learn_and_says_so(
    runs: Path, reds: list[Path], teach: Teach, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    split = runs / current(runs) / "split.csv"
    content = split.read_bytes()
    if damage == "missing":
        split.unlink()
    else:
        damaged = {"empty": b"", "truncated": content[:-10], "nonsense": re.sub(rb"0\.\d{6}", b"sure", content)}
        split.write_bytes(damaged[damage])
    before = names(runs)
    assert teach(dict.fromkeys(reds, "red")) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "split.csv is damaged" in sentence
    assert names(runs) == before
