"""From what people said to a checkpoint: relabel, export, fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.checkpoints.checkpoint import read_metadata, resolve
from tests.pictures import save
from tests.processes import run

CLASSES = {"stripes": "stripes", "동그라미": "discs"}


@pytest.mark.timeout(600)
def test_labels_are_exported_and_fitted(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('output = "sorted"\nstate_dir = "state"\n')
    (tmp_path / "inbox").mkdir()
    save("fog", 0, tmp_path / "inbox" / "fog.png")
    done = run("daemon", "--watch", "inbox", "--once", cwd=tmp_path)  # the starter model files it somewhere
    assert done.returncode == 0, done.stderr
    for name, kind in CLASSES.items():
        for seed in range(12):
            save(kind, seed, tmp_path / "sorted" / name / f"{kind}{seed}.png")
        images = [str(path) for path in sorted((tmp_path / "sorted" / name).glob("*.png"))]
        assert run("daemon", "relabel", *images, name, cwd=tmp_path).returncode == 0
    assert run("daemon", "relabel", "fog.png", "others", cwd=tmp_path).returncode == 0
    done = run("daemon", "labels", "export", "labelled", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/labelled: images: 25, classes: 2 (25 linked, 0 copied, 0 there already)" in done.stdout
    done = run("trainer", "fit", "--data-dir", "labelled", "--mode", "efficientnet_lite0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_metadata(resolve(tmp_path / "checkpoints")).classes == sorted(CLASSES)
