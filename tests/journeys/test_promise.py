"""``fit --max-error`` promises, ``sort --threshold auto`` keeps it on images that nobody has seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.journeys.test_agreement import scenes
from tests.processes import run


def fit(cwd: Path, train: Path, seed: int) -> str:
    arguments = ["--data-dir", str(train), "--mode", "efficientnet_lite0", "--max-error", "0.01", "--seed", str(seed)]
    done = run("trainer", "fit", *arguments, "--publish", "always", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sort(cwd: Path, images: Path, name: str) -> list[tuple[str, str]]:
    """The folder each image was in, and the one it was copied to."""
    arguments = ["--input-dir", str(images), "--output-dir", name, "--threshold", "auto", "--checkpoint", "checkpoints"]
    done = run("daemon", "sort", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["images"]
    return [(Path(each["file"]).parent.name, Path(each["destination"]).parent.name) for each in found]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_what_is_filed_hardly_more_is_wrong_than_was_asked_for(shared_data: Path, tmp_path: Path) -> None:
    train, test = scenes(shared_data, tmp_path, of_each_fold=None)
    for seed in range(5):
        assert "at most 1 % of those filed are wrong, 95 % certain" in fit(tmp_path, train, seed)
        evaluated = run(
            "trainer", "evaluate", "--data-dir", str(test), "--checkpoint", "checkpoints", "--json", cwd=tmp_path
        )
        assert json.loads(evaluated.stdout)["figures"]["calibration_error"] <= 0.03
        pairs = sort(tmp_path, test, f"sorted{seed}")
        filed = [pair for pair in pairs if pair[1] != "others"]
        wrong = sum(true != folder for true, folder in filed)
        assert wrong <= 0.015 * len(filed)
        assert len(filed) >= 0.5 * len(pairs)
    insects = sort(tmp_path, shared_data / "hymenoptera2", "insects")
    assert sum(folder == "others" for _, folder in insects) >= 0.99 * len(insects)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_with_too_few_images_less_is_promised_and_the_daemon_says_so_too(shared_data: Path, tmp_path: Path) -> None:
    train, test = scenes(shared_data, tmp_path, of_each_fold=10)
    said = fit(tmp_path, train, 0)
    assert "promising 1 % with 95 % certainty takes about " in said
    done = run("daemon", "sort", "--input-dir", str(test), "--output-dir", "out", "--threshold", "auto", cwd=tmp_path)
    told = done.stderr.partition("; report.txt of the run says what 1 % takes")[0]
    assert told != done.stderr
    promised = told.rpartition("go to others/: ")[2]
    assert promised
    assert promised in said
