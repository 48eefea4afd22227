"""Somebody without a data set makes folders, drags ten pictures into each, and the next ones are filed there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.checkpoints.checkpoint import read_pointer
from tests.pictures import save
from tests.processes import daemon, run, wait_for

FOLDERS = {"stripes": "줄무늬", "fog": "fog", "discs": "discs"}


@pytest.mark.timeout(600)
def test_ten_pictures_in_each_of_three_new_folders_are_enough(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    settings = 'output = "sorted"\nstate_dir = "state"\nlearn_quiet_seconds = 2\n'
    (tmp_path / "config.toml").write_text(settings)
    for kind, name in FOLDERS.items():
        for seed in range(10):
            save(kind, seed, tmp_path / "album" / name / f"{kind}{seed}.png")
    with daemon(tmp_path) as running:
        for name in FOLDERS.values():
            (tmp_path / "sorted" / name).mkdir()
        for path in sorted((tmp_path / "album").glob("*/*.png")):
            shutil.move(path, tmp_path / "sorted" / path.parent.name / path.name)
        running.wait_until_said("took over checkpoint")
        wanted = {}
        for kind, name in FOLDERS.items():
            for seed in range(50, 53):
                save(kind, seed, tmp_path / "spare" / f"{kind}{seed}.png").rename(
                    tmp_path / "inbox" / f"{kind}{seed}.png"
                )
                wanted[f"{kind}{seed}.png"] = name
        filed = dict[str, str]()

        def all_filed() -> bool:
            filed.update({path.name: path.parent.name for path in (tmp_path / "sorted").glob("*/*5?.png")})
            return len(filed) == len(wanted)

        wait_for(all_filed, "the pictures are filed")
        assert running.terminate() == 0
    right = sum(filed[name] == wanted[name] for name in wanted)
    assert right >= len(wanted) - 1, filed
    lesson = read_pointer(tmp_path / "checkpoints")
    assert lesson is not None
    done = run("trainer", "list", cwd=tmp_path)
    assert "a lesson for the starter model" in done.stdout
    done = run("trainer", "rollback", cwd=tmp_path)
    assert "the starter model" in done.stdout, done
