"""Relabel, resort and labels beside a running daemon and without one: the same sentences, codes and places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.__main__ import main
from models.text.commandline import run as carry_out_one
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, files_below, save
from tests.processes import daemon, run, wait_for

SETTINGS = """
output = "sorted"
state_dir = "state"
watch = ["inbox"]
checkpoint = "checkpoints"
threshold = 0.0
"""
STEPS = (
    ("relabel", "discs1.png", "stripes2.png", "gone.png", "fog"),
    ("relabel", "discs1.png", "fog"),
    ("relabel", "stripes1.png", "foh"),
    ("relabel", "stripes1.png", "others", "--dry-run"),
    ("relabel", "stripes1.png", "others"),
    ("labels",),
    ("labels", "forget", "stripes2.png", "missing.png"),
    ("resort", "--checkpoint", "newer", "--dry-run"),
    ("resort", "--checkpoint", "newer"),
    ("labels", "export", "labelled"),
    ("labels", "export", "labelled"),
    ("history", "--file", "discs1.png"),
    ("undo", "--last", "1"),
)
#: What is another each time.
VARYING = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@pytest.fixture(scope="module")
def models(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two classes, and a newer one of four."""
    folder = tmp_path_factory.mktemp("models")
    publish(folder / "checkpoints" / "run", KINDS[:2])
    publish(folder / "newer" / "run", KINDS)
    return folder


def file(folder: Path, models: Path) -> None:
    """Let a daemon file eight pictures."""
    folder.mkdir()
    for name in ("checkpoints", "newer"):
        (folder / name).symlink_to(models / name)
    (folder / "config.toml").write_text(SETTINGS)
    for kind in KINDS:
        for seed in (1, 2):
            save(kind, seed, folder / "inbox" / f"{kind}{seed}.png")
    done = run("daemon", "--watch", "inbox", "--once", cwd=folder)
    assert done.returncode == 0, done.stderr
    for kind in KINDS[2:]:
        (folder / "sorted" / kind).mkdir(exist_ok=True)


@contextmanager
def nobody(_: Path) -> Iterator[None]:
    yield


def carry_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """All steps, and what is printed; with where everything lies at the end."""
    said = []
    for step in STEPS:
        capsys.readouterr()
        code = carry_out_one(main, step)
        printed = capsys.readouterr()
        said.append(f"{step}: {code}\n{printed.out}{printed.err}")
    lies = {name: files for name, files in files_below(folder / "sorted").items() if files}
    return [VARYING.sub("...", line).replace(str(folder), "") for line in [*said, str(lies)]]


@pytest.mark.timeout(600)
def test_a_daemon_makes_no_difference(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for name, beside in (("without", nobody), ("with", daemon)):
        folder = tmp_path / name
        file(folder, models)
        monkeypatch.chdir(folder)
        with beside(folder):
            results.append(carry_out(folder, capsys))
    for without, beside_one in zip(*results, strict=True):
        assert without == beside_one
    assert "1 moved by checkpoint" not in results[0][7], "nothing is moved by a dry run"
    assert ": 0\n" in results[1][8]
    codes = [line.splitlines()[0].rpartition(": ")[2] for line in results[0][: len(STEPS)]]
    assert codes == ["3", "0", "2", "0", "0", "0", "3", "0", "0", "0", "0", "0", "0"]


@pytest.mark.timeout(600)
def test_a_daemon_goes_on_filing_and_takes_no_relabelling_for_a_correction(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with"
    file(folder, models)
    with daemon(folder) as running:
        assert run("daemon", "relabel", "discs1.png", "stripes2.png", "fog", cwd=folder).returncode == 0
        new = save("stripes", 3, folder / "new.png")
        new.rename(folder / "inbox" / "new.png")
        wait_for(lambda: (folder / "sorted" / "stripes" / "new.png").exists(), "the new one is filed")
        done = run("daemon", "labels", cwd=folder)
        assert run("daemon", "resort", "--checkpoint", "newer", cwd=folder).returncode == 0
        moved = [line for line in running.log().splitlines() if " -> " in line]
    assert done.stdout.count("relabelled") == 2
    assert len(done.stdout.splitlines()) == 2
    output = folder / "sorted"
    assert sum(line.endswith(f" -> {output}/fog/discs1.png") for line in moved) == 1, "the log says what was relabelled"
    assert sum(f" {output}/" in line for line in moved) > 2, "and what was resorted"
