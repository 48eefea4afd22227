"""A checkpoint from names alone is served, and taken over by a running daemon, like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pictures import files_below, save
from tests.processes import daemon, wait_for
from trainer.zeroshot import ZeroShotOptions, zero_shot


def make(folder: Path, siglip: Path, *classes: str) -> None:
    outcome = zero_shot(
        ZeroShotOptions(classes=classes, weights={"clip": str(siglip)}, threshold=0.0, output_dir=folder)
    )
    assert outcome.published


@pytest.mark.slow
def test_names_alone_sort_pictures_and_other_names_take_over(tiny_siglip: Path, tmp_path: Path) -> None:
    make(tmp_path / "checkpoints", tiny_siglip, "개", "cat")
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    save("discs", 0, inbox / "0.jpg")
    with daemon(tmp_path, "--watch", "./inbox") as running:
        wait_for(lambda: not any(inbox.iterdir()), running.log())
        assert set(files_below(output)) < {"개", "cat"}
        make(tmp_path / "checkpoints", tiny_siglip, "dog", "tree")
        wait_for(lambda: "dog" in running.log(), running.log())
        save("discs", 1, inbox / "1.jpg")
        wait_for(lambda: not any(inbox.iterdir()), running.log())
        assert running.terminate() == 0
    assert sorted(file for files in files_below(output).values() for file in files) == ["0.jpg", "1.jpg"]
    assert set(files_below(output)) & {"dog", "tree"}
