"""A burst that waits when the daemon is killed is filed later, each image once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from models.weights.store import WeightsStore
from tests.pictures import draw, exif, files_below
from tests.processes import daemon, run, wait_for


def test_a_crash_amid_a_waiting_burst_loses_nothing(tmp_path: Path, store: WeightsStore) -> None:
    inbox, options = tmp_path / "inbox", ("--watch", "inbox", "--threshold", "0")
    inbox.mkdir()
    pictures = {f"{number}.jpg": exif(f"2026:05:01 12:00:0{number}", "trap") for number in range(6)}

    def bring(name: str) -> None:
        draw("discs", len(name)).save(tmp_path / name, exif=pictures.get(name, exif()))
        (tmp_path / name).rename(inbox / name)

    def filed() -> list[str]:
        return sorted(name for names in files_below(tmp_path / "sorted").values() for name in names)

    with daemon(tmp_path, *options, "--burst-seconds", "600") as running:
        for name in [*pictures, "undated.jpg"]:
            bring(name)
        wait_for(lambda: "undated.jpg" in filed(), running.log())
        running.process.kill()
        running.process.wait()
    assert filed() == ["undated.jpg"]
    assert sorted(path.name for path in inbox.iterdir()) == sorted(pictures)
    with daemon(tmp_path, *options, "--burst-seconds", "0.2") as running:
        wait_for(lambda: len(filed()) == 7, running.log())
        assert running.terminate() == 0
    assert filed() == sorted([*pictures, "undated.jpg"])
    rows = json.loads(run("daemon", "history", "--json", cwd=tmp_path).stdout)
    assert Counter(row["source"] for row in rows) == {str(inbox / name): 1 for name in [*pictures, "undated.jpg"]}
    assert {row["state"] for row in rows} == {"done"}


def test_a_daemon_that_is_stopped_files_the_burst_that_waits(tmp_path: Path, store: WeightsStore) -> None:
    (tmp_path / "inbox").mkdir()
    with daemon(tmp_path, "--watch", "inbox", "--threshold", "0", "--burst-seconds", "600") as running:
        for number in range(3):
            path = tmp_path / f"{number}.jpg"
            draw("discs", number).save(path, exif=exif("" if number == 2 else f"2026:05:01 12:00:0{number}"))
            path.rename(tmp_path / "inbox" / path.name)
        wait_for(lambda: "2.jpg" in str(files_below(tmp_path / "sorted")), running.log())
        assert running.terminate() == 0
    assert not list((tmp_path / "inbox").glob("*.jpg"))
