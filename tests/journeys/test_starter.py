"""The first minutes of a new user: nothing trained, no hub, an inbox with this and that."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest

from models.weights.store import WeightsStore
from tests.pictures import files_below, save
from tests.processes import COMMAND, daemon, run, start_afresh, wait_for


@pytest.fixture(autouse=True)
def not_too_shy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dahlia is no ImageNet class, so the starter is not very sure of it."""
    monkeypatch.setenv("IMAGESORTD_THRESHOLD", "0.3")


@pytest.fixture
def photographs(store: WeightsStore) -> list[Path]:
    """scikit-learn's two sample photographs: a flower, and a Chinese temple."""
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "images"
    return [folder / "china.jpg", folder / "flower.jpg"]


def test_a_first_run_sorts_real_photographs(tmp_path: Path, photographs: list[Path]) -> None:
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    shutil.copy(photographs[1], inbox)
    with daemon(tmp_path, "--watch", "./inbox", command=COMMAND) as running:
        assert "the starter" in running.log()
        assert f"watching {inbox}" in running.log()
        shutil.copy(photographs[0], inbox)
        wait_for(lambda: not any(inbox.iterdir()), running.log())
        assert "libtorch" not in Path(f"/proc/{running.process.pid}/maps").read_text()
        assert running.terminate() == 0
    assert files_below(output) == {"building": ["china.jpg"], "flower_plant": ["flower.jpg"]}


def test_folders_are_korean_by_a_setting(tmp_path: Path, photographs: list[Path]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    shutil.copy(photographs[1], inbox / "꽃 사진.jpg")
    (tmp_path / "config.toml").write_text('language = "ko"\n', encoding="utf-8")
    done = run("daemon", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = files_below(tmp_path / "sorted")
    assert all("가" <= letter <= "힣" or letter == "_" for letter in folder)


def test_what_cannot_be_read_costs_only_itself(tmp_path: Path, photographs: list[Path]) -> None:
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    shutil.copy(photographs[1], inbox / "flower.jpg")
    (inbox / "text.jpg").write_text("this is no picture")
    (inbox / "empty.png").touch()
    os.utime(inbox / "empty.png", (0, 0))
    (inbox / "notes.txt").write_text("not an image, not ours")
    done = run("daemon", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (output / "flower_plant" / "flower.jpg").is_file()
    assert [file.name for file in inbox.iterdir()] == ["notes.txt"]
    reason = json.loads((output / "quarantine" / "not-an-image" / "text.jpg.json").read_text())
    assert reason["reason"] == "not-an-image"
    assert (output / "quarantine" / "empty" / "empty.png").is_file()
    ending = done.stderr.partition("done: ")[2].splitlines()[0]
    assert sorted(ending.split(", ")) == ["1 in its class", "2 quarantined"]


def test_once_leaves_an_image_that_is_being_written_and_refuses_one_that_was_cut_off(
    tmp_path: Path, photographs: list[Path]
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    half, begun = inbox / "half.jpg", inbox / "begun.jpg"
    half.write_bytes(photographs[1].read_bytes()[:30_000])
    begun.touch()
    assert run("daemon", "--once", cwd=tmp_path).returncode == 3
    assert half.is_file()
    assert begun.is_file()
    begun.unlink()
    os.utime(half, (0, 0))
    assert run("daemon", "--once", cwd=tmp_path).returncode == 0
    assert not half.exists()
    assert (tmp_path / "sorted" / "quarantine" / "truncated" / "half.jpg").is_file()


def test_a_dry_run_touches_nothing(tmp_path: Path, photographs: list[Path]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    shutil.copy(photographs[1], inbox / "flower.jpg")
    done = run("daemon", "--once", "--dry-run", "--state-dir", "state", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "flower.jpg would go to flower_plant/flower.jpg" in done.stderr
    assert "done: 1 in its class, had it been no dry run\n" in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["flower.jpg", "inbox"]


def test_a_second_daemon_on_the_same_inbox_is_refused(tmp_path: Path, store: WeightsStore) -> None:
    with daemon(tmp_path):
        done = run("daemon", "--output", "elsewhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "another daemon is at work on" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_copying_daemon_does_not_copy_twice_after_a_restart(tmp_path: Path, photographs: list[Path]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    shutil.copy(photographs[1], inbox / "flower.jpg")
    for _ in range(2):
        done = run("daemon", "--once", "--action", "copy", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert files_below(tmp_path / "sorted") == {"flower_plant": ["flower.jpg"]}
    assert (inbox / "flower.jpg").is_file()


def test_an_inbox_that_is_filed_into_keeps_its_folders(tmp_path: Path, photographs: list[Path]) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "holiday").mkdir(parents=True)
    shutil.copy(photographs[0], inbox / "holiday" / "china.jpg")
    shutil.copy(photographs[1], inbox / "flower.jpg")
    done = run("daemon", "--once", "--output", "inbox", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files_below(inbox) == {"flower_plant": ["flower.jpg"], "holiday": ["china.jpg"]}
    assert done.stderr.count("the folders inside are not watched") == 1


@pytest.mark.parametrize(
    "options", [("--others-dir", "Building", "--quarantine-dir", "q"), ("--quarantine-dir", "building")]
)
def test_no_class_shares_its_folder_with_the_unsure_or_the_unreadable(
    tmp_path: Path, store: WeightsStore, options: tuple[str, ...]
) -> None:
    done = run("daemon", "--once", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "has a class building" in done.stderr
    assert "give others_dir, quarantine_dir or duplicates_dir another name" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_by_a_link_and_with_its_own_state_is_refused(tmp_path: Path, store: WeightsStore) -> None:
    (tmp_path / "link").symlink_to("inbox")
    with daemon(tmp_path):
        done = run("daemon", "--watch", "link", "--output", "elsewhere", "--state-dir", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "another daemon is at work on" in done.stderr


def test_sort_copies_once_and_reports(tmp_path: Path, photographs: list[Path]) -> None:
    source = tmp_path / "photos"
    (source / "day 2").mkdir(parents=True)
    shutil.copy(photographs[0], source / "a.jpg")
    shutil.copy(photographs[1], source / "day 2" / "b.jpg")
    (source / "broken.jpg").write_text("no picture")
    done = start_afresh("daemon", "sort", "--input_dir", "photos", "--output_dir", "out", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["folders"] == {"building": 1, "flower_plant": 1}
    assert {Path(row["file"]).name: row["status"] for row in result["images"]} == {
        "a.jpg": "filed",
        "b.jpg": "filed",
        "broken.jpg": "refused",
    }
    assert files_below(tmp_path / "out") == {"building": ["a.jpg"], "flower_plant": ["b.jpg"]}
    assert len(list(source.rglob("*.jpg"))) == 3


def test_sort_passes_over_what_it_sorted_by_whatever_name(tmp_path: Path, photographs: list[Path]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    shutil.copy(photographs[0], tmp_path / "photos" / "a.jpg")
    for expected in ("filed", "already"):
        done = run("daemon", "sort", "--input-dir", "link", "--output-dir", "link/out", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["images"]
        assert [(Path(row["file"]).name, row["status"]) for row in rows] == [("a.jpg", expected)]
    assert files_below(tmp_path / "photos" / "out") == {"building": ["a.jpg"]}


def test_sort_puts_the_unsure_into_others(tmp_path: Path, photographs: list[Path]) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    save("fog", 1, source / "fog.jpg")
    done = run(
        "daemon", "sort", "--input-dir", "photos", "--output-dir", "out", "--threshold", "0.99", "--others-dir", "기타",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert files_below(tmp_path / "out") == {"기타": ["fog.jpg"]}
    assert "1 of 1 images copied" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--input-dir", "nowhere", "--output-dir", "out"], "--input-dir nowhere is not a folder"),
        (["--input-dir", ".", "--output-dir", "out", "--checkpoint", "lost.safetensors"], "there is no checkpoint"),
        (["--input-dir", "."], "say with --output-dir where class folders are to be made"),
        (["--input-dir", ".", "--output-dir", "out", "--threshold", "2"], "--threshold is '2'"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = run("daemon", "sort", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
