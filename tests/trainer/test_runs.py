from __future__ import annotations

import errno
import os
import subprocess
import sys
import tomllib
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from trainer.data import DataSet, Sample, Unreadable
from trainer.heads import Epoch
from trainer.measure import Measured
from trainer.runs import Setting, create, read_split, require_writable, write_history, write_settings, write_split

NOW = datetime(2026, 5, 4, 13, 2, 1)


def test_a_run_folder_appears_complete_under_its_time_and_mode(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        assert [path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")] == []
        (folder / "file").write_text("content")

    run = create(tmp_path / "runs", "mobilenet+clip", NOW, fill)
    assert run == tmp_path / "runs" / "20260504-130201-mobilenet+clip"
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert (run / "file").read_text() == "content"


def test_two_runs_in_one_second_are_two_folders(tmp_path: Path) -> None:
    names = [create(tmp_path, "clip", NOW, lambda folder: (folder / "f").touch()).name for _ in range(3)]
    assert names == ["20260504-130201-clip", "20260504-130201-clip-2", "20260504-130201-clip-3"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(error):
        create(tmp_path, "clip", NOW, fill)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_fit_left_is_removed_but_not_what_another_one_writes(tmp_path: Path) -> None:
    program = f"""
import os, signal
from datetime import datetime
from pathlib import Path
from trainer.runs import create
create(Path({str(tmp_path)!r}), "clip", datetime(2026, 5, 4), lambda folder: os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    [left] = tmp_path.iterdir()

    def fill(folder: Path) -> None:
        other = create(tmp_path, "clip", NOW, lambda inner: (inner / "file").touch())
        assert folder.is_dir()
        assert other.is_dir()

    create(tmp_path, "clip", NOW, fill)
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260504-130201-clip", "20260504-130201-clip-2"]


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"the run cannot be written to .* \(No space left on device\)"):
        create(tmp_path, "clip", NOW, fill)
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give another --output-dir"):
        create(tmp_path / "file" / "runs", "clip", NOW, lambda folder: None)


def test_a_folder_that_could_not_be_written_is_found_out_beforehand(tmp_path: Path) -> None:
    require_writable(tmp_path / "not" / "yet" / "there", "--output-dir")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give another --output-dir"):
        require_writable(tmp_path / "file" / "runs", "--output-dir")


def test_settings_come_back_from_toml(tmp_path: Path) -> None:
    settings: dict[str, Setting] = {
        "data_dir": 'C:\\"사진"\n\x7f 😀',
        "lr": 1e-3,
        "epochs": 10,
        "fine_tune": False,
        "max_samples": None,
    }
    write_settings(tmp_path / "settings.toml", settings)
    read = tomllib.loads((tmp_path / "settings.toml").read_text(encoding="utf-8"))
    assert read == {name: value for name, value in settings.items() if value is not None}


def test_the_history_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    epochs = [Epoch(1, 0.5, 0.4, 0.9, 1.0), Epoch(2, 0.3, 0.35, 0.92, 1.0)]
    write_history(tmp_path / "history.csv", {"head": epochs, "fine-tune": epochs[:1]})
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["head", "1", "0.500000"],
        ["head", "2", "0.300000"],
        ["fine-tune", "1", "0.500000"],
    ]


def test_the_split_comes_back(tmp_path: Path) -> None:
    samples = [Sample(Path(f"a/{name}"), f"a/{name}", "a", name * 64) for name in "123"]
    images = DataSet(
        ["a", "b"],
        samples,
        np.zeros(3, np.int64),
        np.array([1, 0, 0]),
        [Unreadable("b/\udce9,\n.jpg", "b", "empty", "The file is empty.")],
    )
    measured = Measured(["a", "b"], np.zeros(2, np.int64), np.array([[0.9, 0.1], [0.25, 0.75]]))
    write_split(tmp_path / "split.csv", images, images.held, measured)
    split = read_split(tmp_path)
    assert split is not None
    assert split.train == {"1" * 64}
    assert split.held_out == {("2" * 64, "a"): (True, 0.9), ("3" * 64, "a"): (False, 0.25)}
    lines = (tmp_path / "split.csv").read_text(errors="replace").splitlines()
    assert [line.split(",")[3:5] for line in lines[1:4]] == [["train", "1"], ["held-out", "0"], ["held-out", "0"]]
    assert "unreadable,,,,,empty: The file is empty." in (tmp_path / "split.csv").read_text(errors="replace")


@pytest.mark.parametrize("content", ["", "file,side\nx,train\n", "\0\0", None])
def test_a_split_that_makes_no_sense_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "split.csv").write_text(content)
    split = read_split(tmp_path)
    assert split is None or not (split.train or split.held_out)
