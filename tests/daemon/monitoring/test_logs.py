"""What the log writes: lines for people, flat JSON, and lines for systemd's journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import fields, line
from models.deciding.rule import Fate
from tests.pictures import KINDS, save
from tests.processes import ROOT, environment, run

FILED = Outcome(
    path=Path("/inbox/봄.jpg"),
    status=Status.FILED,
    label="고양이",
    confidence=0.9375,
    fate=Fate.SURE,
    folder="고양이",
    destination=Path("/sorted/고양이/봄.jpg"),
)
UNREADABLE = Outcome(
    path=Path(os.fsdecode(b"/inbox/caf\xe9.jpg")),
    status=Status.FILED,
    folder="quarantine/truncated",
    destination=Path(os.fsdecode(b"/sorted/quarantine/truncated/caf\xe9.jpg")),
    reason="truncated",
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    logger.remove()


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(each) for each in capsys.readouterr().err.splitlines()]


def test_json_is_flat_and_says_of_an_image_what_became_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO", as_json=True)
    for outcome in (FILED, UNREADABLE):
        logger.bind(**fields(outcome)).info("{}", line(outcome))
    logger.warning("no image\nat all")
    logger.debug("nothing")
    filed, unreadable, other = said(capsys)
    assert set(filed) == {"time", "level", "message", "file", "class", "confidence", "destination"}
    assert (filed["level"], filed["message"]) == ("INFO", "봄.jpg -> 고양이/봄.jpg (0.94)")
    assert (filed["file"], filed["class"], filed["confidence"]) == ("/inbox/봄.jpg", "고양이", 0.9375)
    assert filed["destination"] == "/sorted/고양이/봄.jpg"
    assert set(unreadable) == {"time", "level", "message", "file", "destination", "reason"}
    assert os.fsencode(str(unreadable["file"])) == b"/inbox/caf\xe9.jpg"
    assert set(other) == {"time", "level", "message"}
    assert other["message"] == "no image\nat all"


def test_hangul_is_hangul(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO", as_json=True)
    logger.bind(**fields(FILED)).info("{}", line(FILED))
    assert '"class": "고양이"' in capsys.readouterr().err


def test_a_traceback_is_one_field(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO", as_json=True)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        logger.opt(exception=error).critical("a fault {brace} <red>")
    (record,) = said(capsys)
    assert record["message"] == "a fault {brace} <red>"
    assert str(record["traceback"]).endswith("ZeroDivisionError: division by zero\n")


def written(code: str, *, to_journal: bool, tmp_path: Path, as_json: bool = False) -> list[str]:
    """What a process logs whose standard error is a file that JOURNAL_STREAM names, or another."""
    imports = "from daemon.monitoring.logs import start_logging\nfrom loguru import logger"
    program = f"{imports}\nstart_logging('DEBUG', as_json={as_json})\n{code}"
    path = tmp_path / "stderr"
    with path.open("wb") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino + (not to_journal)}"
        subprocess.run(
            [sys.executable, "-c", program],
            stderr=file,
            env={**environment(), "JOURNAL_STREAM": stream},
            cwd=ROOT,
            check=True,
        )
    return path.read_text().splitlines()


LEVELS = "for level in ('DEBUG', 'INFO', 'SUCCESS', 'WARNING', 'ERROR', 'CRITICAL'): logger.log(level, 'a {} b', level)"


def test_the_journal_gets_priorities_and_no_second_time(tmp_path: Path) -> None:
    assert written(LEVELS, to_journal=True, tmp_path=tmp_path) == [
        "<7>a DEBUG b",
        "<6>a INFO b",
        "<6>a SUCCESS b",
        "<4>a WARNING b",
        "<3>a ERROR b",
        "<2>a CRITICAL b",
    ]


def test_every_line_of_a_traceback_has_its_priority(tmp_path: Path) -> None:
    code = "try: 1 / 0\nexcept Exception as error: logger.opt(exception=error).error('a fault')"
    lines = written(code, to_journal=True, tmp_path=tmp_path)
    assert (lines[0], lines[-1]) == ("<3>a fault", "<3>ZeroDivisionError: division by zero")
    assert all(each.startswith("<3>") for each in lines)


def test_a_stream_that_is_not_the_journals_is_as_ever(tmp_path: Path) -> None:
    (first, *_) = written(LEVELS, to_journal=False, tmp_path=tmp_path)
    assert first[:2] == "20"
    assert first.endswith("DEBUG   a DEBUG b")


def test_json_in_the_journal_keeps_its_priority_outside(tmp_path: Path) -> None:
    (first, *_) = written(LEVELS, to_journal=True, tmp_path=tmp_path, as_json=True)
    assert first.startswith("<7>{")
    assert json.loads(first[3:])["message"] == "a DEBUG b"


def test_sort_logs_each_image_with_its_fields(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(KINDS[0], 1, tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    (tmp_path / "config.toml").write_text("log_json = true\n")
    done = run("daemon", "sort", "--input-dir", "in", "--output-dir", "out", cwd=tmp_path)
    images = {
        Path(str(record["file"])).name: record
        for each in done.stderr.splitlines()
        if "file" in (record := json.loads(each))
    }
    assert set(images) == {"a.png", "b.png"}
    assert Path(str(images["a.png"]["destination"])).is_file()
    assert images["b.png"]["reason"] == "not-an-image"
