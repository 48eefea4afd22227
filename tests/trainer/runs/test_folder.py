from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from models.errors import UserError
from trainer.runs.folder import Setting, create_run, require_writable, write_settings

NOW = datetime(2026, 5, 4, 13, 2, 1)


def test_a_run_folder_appears_complete_under_its_time_and_mode(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        assert [path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")] == []
        (folder / "file").write_text("content")

    run = create_run(tmp_path / "runs", "mobilenet+clip", NOW, fill)
    assert run == tmp_path / "runs" / "20260504-130201-mobilenet+clip"
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert (run / "file").read_text() == "content"


@pytest.mark.parametrize(("mode", "expected"), [(0o2775, 0o2775), (0o755, 0o755), (0o700, 0o755)])
def test_the_group_may_write_into_a_run_where_it_may_publish(tmp_path: Path, mode: int, expected: int) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(mode)
    run = create_run(tmp_path / "runs", "clip", NOW, lambda _: None)
    assert stat.S_IMODE(run.stat().st_mode) == expected


def test_two_runs_in_one_second_are_two_folders(tmp_path: Path) -> None:
    names = [create_run(tmp_path, "clip", NOW, lambda folder: (folder / "f").touch()).name for _ in range(3)]
    assert names == ["20260504-130201-clip", "20260504-130201-clip-2", "20260504-130201-clip-3"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(error):
        create_run(tmp_path, "clip", NOW, fill)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_fit_left_is_removed_but_not_what_another_one_writes(tmp_path: Path) -> None:
    program = f"""
import os, signal
from datetime import datetime
from pathlib import Path
from trainer.runs.folder import create_run
create_run(Path({str(tmp_path)!r}), "clip", datetime(2026, 5, 4), lambda folder: os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert killed.returncode == -9
    [left] = tmp_path.iterdir()

    def fill(folder: Path) -> None:
        other = create_run(tmp_path, "clip", NOW, lambda inner: (inner / "file").touch())
        assert folder.is_dir()
        assert other.is_dir()

    create_run(tmp_path, "clip", NOW, fill)
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260504-130201-clip", "20260504-130201-clip-2"]


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"the run cannot be written to .* \(No space left on device\)"):
        create_run(tmp_path, "clip", NOW, fill)
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give another --output-dir"):
        create_run(tmp_path / "file" / "runs", "clip", NOW, lambda folder: None)


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
