"""What people take back beside a running daemon stays in the inbox: until they release it, and after a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.weights.store import WeightsStore
from tests.pictures import files_below, save
from tests.processes import daemon, environment, wait_for

COUNT = 12


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "daemon", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)


def answers(*processes: subprocess.Popen[str]) -> list[list[dict[str, Any]]]:
    found = [json.loads(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return found


def filed(folder: Path) -> list[str]:
    return sorted(name for names in files_below(folder / "sorted").values() for name in names)


def names(items: Sequence[dict[str, Any]], key: str) -> list[str]:
    return [Path(item[key]).name for item in items]


@pytest.mark.parametrize("action", ["move", pytest.param("copy", marks=pytest.mark.slow)])
def test_what_is_taken_back_stays_until_it_is_released(tmp_path: Path, store: WeightsStore, action: str) -> None:
    inbox, options = tmp_path / "inbox", ("--watch", "inbox", "--action", action, "--threshold", "0")
    inbox.mkdir()
    pictures = [f"{number:02}.png" for number in range(COUNT)]
    for number, name in enumerate(pictures):
        save("discs", number, inbox / name)

    def others_are_filed(name: str, expected: Sequence[str]) -> None:
        """A picture that comes now is filed, and nothing else that lies in the inbox."""
        save("discs", COUNT, tmp_path / "new.png")
        (tmp_path / "new.png").rename(inbox / name)
        wait_for(lambda: name in filed(tmp_path), f"{name} is filed")
        assert filed(tmp_path) == sorted([*expected, name])

    with daemon(tmp_path, *options) as running:
        wait_for(lambda: filed(tmp_path) == pictures, running.log())
        both = answers(
            begin(tmp_path, "undo", "--since", "2001-01-01", "--json"), begin(tmp_path, "undo", "--last", "5", "--json")
        )
        assert sorted(name for items in both for name in names(items, "source")) == pictures, "each by one of them"
        assert {item["outcome"] for items in both for item in items} == {"undone"}
        assert all(item["held"] for items in both for item in items)
        others_are_filed("first.png", [])
        running.process.kill()
        running.process.wait()
    with daemon(tmp_path, *options) as running:
        others_are_filed("second.png", ["first.png"])
        (released,) = answers(begin(tmp_path, "release", "03.png", "--json"))
        assert names(released, "file") == ["03.png"]
        wait_for(lambda: "03.png" in filed(tmp_path), running.log())
        (released,) = answers(begin(tmp_path, "release", "--all", "--json"))
        assert sorted(names(released, "file")) == sorted({*pictures} - {"03.png"})
        wait_for(lambda: filed(tmp_path) == sorted([*pictures, "first.png", "second.png"]), running.log())
        assert running.terminate() == 0
