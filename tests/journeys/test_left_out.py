"""What is in an inbox and is not filed: at the end it is said how much that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import save
from tests.processes import daemon, environment, run, wait_for


def inbox_with_others(folder: Path) -> Path:
    inbox = folder / "inbox"
    inbox.mkdir()
    save("fog", 1, inbox / "fog.jpg")
    save("fog", 1, inbox / "real.png").rename(inbox / "noext")
    (inbox / "list.txt").touch()
    return inbox


SAID = "2 other files in {} are not looked at: their names do not end like those of images ("


def test_sort_says_how_many_files_it_did_not_look_at(tmp_path: Path) -> None:
    inbox = inbox_with_others(tmp_path)
    done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(SAID.format(inbox))
    assert "every readable image goes to its class: no threshold above 0 is set" in done.stderr
    done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["not_looked_at"] == 2


def test_once_says_it_at_its_end_and_the_daemon_at_its_start_and_as_more_come(tmp_path: Path) -> None:
    inbox = inbox_with_others(tmp_path)
    done = run("daemon", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not looked at") == 1
    assert SAID.format(inbox) in done.stderr.splitlines()[-1]
    with daemon(tmp_path, "--poll") as running:
        running.wait_until_said(SAID.format(inbox))
        (inbox / "report.pdf").touch()
        (inbox / "another").touch()
        running.wait_until_said(f"4 other files in {inbox} are not looked at")
        line = f"inbox       {inbox} (polling: asked for), 4 other files, not looked at"
        wait_for(lambda: line in run("daemon", "status", cwd=tmp_path).stdout.splitlines(), "status says so, too")


def test_what_is_named_like_a_picture_and_is_no_file_is_left_behind(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "link.jpg").symlink_to(save("fog", 1, tmp_path / "fog.jpg"))
    os.mkfifo(inbox / "pipe.jpg")
    done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        f"0 of 2 images copied to {tmp_path / 'out'}",
        "      2  left behind (see the lines above)",
    ]
    assert f"{inbox / 'link.jpg'} is left behind: it is a symbolic link" in done.stderr
    done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", "--json", cwd=tmp_path)
    assert [row["status"] for row in json.loads(done.stdout)["images"]] == ["refused", "refused"]
    done = run("daemon", "--once", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "done: no image was filed; 2 left behind" in done.stderr


def test_sort_leaves_a_file_that_is_open_for_writing_behind(tmp_path: Path) -> None:
    inbox = inbox_with_others(tmp_path)
    with save("fog", 2, inbox / "open.jpg").open("ab"):
        done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[0] == f"1 of 2 images copied to {tmp_path / 'out'}"
    assert "      1  left behind (see the lines above)" in done.stdout.splitlines()
    assert f"{inbox / 'open.jpg'} is left behind: a program has it open for writing" in done.stderr
    assert not [*(tmp_path / "out").rglob("open*")]
    done = run("daemon", "sort", "--input-dir", "inbox", "--output-dir", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


BOUND = """
import sys
from daemon.__main__ import main
from models.text.commandline import run
from tests.filing_desk import bound_by_modes
with bound_by_modes():
    code = run(main)
sys.exit(code)
"""


@pytest.mark.parametrize("closed", ["inbox/day", "inbox"])
def test_pictures_in_a_folder_that_cannot_be_read_are_left_behind(tmp_path: Path, closed: str) -> None:
    (tmp_path / "inbox" / "day").mkdir(parents=True)
    save("fog", 1, tmp_path / "inbox" / "day" / "fog.jpg")

    def run_bound(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BOUND, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)

    (tmp_path / closed).chmod(0)
    try:
        sorting = run_bound("sort", "--input-dir", "inbox", "--output-dir", "out")
        once = run_bound("--once")
    finally:
        (tmp_path / closed).chmod(0o755)
    assert sorting.returncode == 3, sorting.stderr
    assert sorting.stdout.splitlines()[1:] == ["      1  folder that cannot be read (see the lines above)"]
    assert once.returncode == 3, once.stderr
    assert "done: no image was filed; 1 left behind" in once.stderr


@pytest.mark.parametrize("output", ["ants", "ants/sorted"])
def test_pictures_in_an_output_inside_the_input(tmp_path: Path, output: str) -> None:
    """Those that somebody else put there are not looked at, which is said; what was filed there goes without saying."""
    photos = tmp_path / "photos"
    for name in ("ants/1.jpg", "ants/old/2.jpg", "bees/3.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        save("fog", int(name[-5]), photos / name)
    looked_at = 1 if output == "ants" else 3
    for copied in (looked_at, 0):
        done = run("daemon", "sort", "--input-dir", "photos", "--output-dir", f"photos/{output}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{copied} of {looked_at} images copied")
        left = f"2 images in the output folder {photos / 'ants'} were not looked at: this program did not file them"
        assert (left in done.stdout.splitlines()) is (output == "ants")


@pytest.mark.parametrize("output", ["photos", "photos/../photos", "link", "link/."])
def test_nothing_is_sorted_into_the_folder_that_it_comes_from(tmp_path: Path, output: str) -> None:
    """Each run with another model would lay copies among the originals, and take their folders for its own."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    save("fog", 1, tmp_path / "photos" / "1.jpg")
    done = run("daemon", "sort", "--input-dir", "photos", "--output-dir", output, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "--input-dir and --output-dir are the same folder, " in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["1.jpg"]


def test_an_output_that_is_a_link_into_the_input_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "photos/out").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos/out")
    save("fog", 1, tmp_path / "photos" / "1.jpg")
    for copied in (1, 0):
        done = run("daemon", "sort", "--input-dir", "photos", "--output-dir", "link", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{copied} of 1 images copied")
