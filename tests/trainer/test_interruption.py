"""A fit that is interrupted, killed or out of room leaves nothing half-done, and can be gone on with."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.errors import UserError
from models.weights import WeightsStore
from trainer import features
from trainer import fit as fitting
from trainer.__main__ import main

ROOT = Path(__file__).parents[2]


def command(shapes: Path, runs: Path, *more: str) -> list[str]:
    plain = ["--data-dir", str(shapes), "--mode", "efficientnet_lite0", "--epochs", "2", "--output-dir", str(runs)]
    return ["fit", *plain, *more]


def fresh(cache: Path) -> Path:
    """A cache with the weights and graphs of the tests', and nothing that was computed of images."""
    cache.mkdir()
    for folder in WeightsStore().root.iterdir():
        if folder.name not in ("features", "unfinished", "locks"):
            (cache / folder.name).symlink_to(folder)
    return cache


def test_what_was_interrupted_is_gone_on_with(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main(command(shapes, tmp_path))
    assert not list(tmp_path.iterdir())

    def refuse(*_: object) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(features, "decode", refuse)
    capsys.readouterr()
    main(command(shapes, tmp_path, "--resume"))
    assert "goes on with the fit that was interrupted" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        main(command(shapes, tmp_path, "--resume", "--cache-dir", str(fresh(tmp_path / "cache"))))
    assert "no such fit was interrupted, so this one begins afresh" in capsys.readouterr().out


def test_the_cache_has_the_size_that_was_asked_for(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, size: int) -> None:
        raise UserError(f"of {size} bytes")

    monkeypatch.setattr(fitting, "FeatureCache", opened)
    with pytest.raises(UserError, match="of 300000000 bytes"):
        main(command(shapes, tmp_path, "--cache-size", "300MB"))


@pytest.mark.parametrize(
    ("text", "size"),
    [("2 GB", 2 * 10**9), ("500MB", 5 * 10**8), ("1.5 GiB", 3 * 2**29), ("10k", 10_000), ("0", 0), ("7b", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    from trainer.__main__ import _size

    assert _size(text) == size


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [1.5, 3.0, 4.5, 6.0, 8.0])
def test_a_killed_fit_leaves_no_half_run(shapes: Path, tmp_path: Path, after_s: float) -> None:
    fitting = subprocess.Popen([sys.executable, "-m", "trainer", *command(shapes, tmp_path)], cwd=ROOT)
    time.sleep(after_s)
    os.kill(fitting.pid, signal.SIGKILL)
    fitting.wait()
    visible = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    for run in visible:
        assert run.name == "current.json" or (run / "split.csv").is_file()
    again = subprocess.run([sys.executable, "-m", "trainer", *command(shapes, tmp_path, "--resume")], cwd=ROOT)
    assert again.returncode == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".run.")]


@pytest.mark.slow
def test_a_full_disk_ends_with_one_sentence_and_exit_code_2(shapes: Path, tmp_path: Path) -> None:
    """No file may be larger than 20 kB here, which is less than a checkpoint has."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-m", "trainer", *command(shapes, tmp_path / "runs")],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "the run cannot be written to" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []
