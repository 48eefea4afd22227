"""The life of a promise: made by a fit, lapsed with a lesson, and made again by an audit, in a daemon that runs on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing
from daemon.review.audit_book import AuditBook, Drawn, KeptAudit
from models.checkpoints import checkpoint
from models.checkpoints.metadata import Metadata
from tests.journeys.pictures_filed import file_pictures
from tests.pictures import save
from tests.processes import Daemon, daemon, run, wait_for

NEW = "검은 원"
#: The folder of each kind of picture.
FOLDERS = {"stripes": "stripes", "fog": "fog", "discs": NEW}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model of two kinds of pictures that promises what was asked for, and keeps no features; and a daemon's
    settings."""
    for kind in ("stripes", "fog"):
        for seed in range(25):
            save(kind, seed, tmp_path / "data" / kind / f"{seed}.png")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "config.toml").write_text(
        'output = "sorted"\nstate_dir = "state"\nlearn_quiet_seconds = 1\nlearn_every_seconds = 1\n'
    )
    done = run(
        "trainer", "fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2", "--max-error", "0.1",
        "--keep-features", "0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert served(tmp_path).kept_promise is not None, done.stdout
    return tmp_path


def served(place: Path) -> Metadata:
    return checkpoint.load(place / "checkpoints").metadata


def drag(place: Path, paths: list[Path], folder: str) -> None:
    for path in paths:
        target = place / "sorted" / folder / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)


def audit(place: Path) -> int:
    """Answer an audit of all that lies in class folders, as the review page keeps it; returns of how many."""
    (journal,) = (place / "state").glob("*/journal.sqlite")
    filings = [filing for filing in read_history(journal, Wanted()) if is_filed(filing)]
    now = datetime.now(UTC) + timedelta(seconds=1)
    book = AuditBook(journal.parent)
    drawn = [
        Drawn(id=filing.id or 0, filed_as=filing.label or "", right=truth(filing) == filing.label) for filing in filings
    ]
    book.keep(
        KeptAudit(
            id=book.new_id(), time=now, since=now - timedelta(hours=1), until=now, seed=1,
            filed={"all": len(drawn)}, promised=None, images=drawn,
        )
    )  # fmt: skip
    return len(drawn)


def is_filed(filing: Filing) -> bool:
    return filing.folder is not None and filing.folder.name == filing.label and filing.confidence is not None


def truth(filing: Filing) -> str:
    return next(folder for kind, folder in FOLDERS.items() if filing.source.name.startswith(kind))


def says(place: Path) -> str:
    return run("daemon", "status", cwd=place).stdout


def wait_for_promise(place: Path, running: Daemon, *, audited: bool) -> Metadata:
    """Wait until a lesson is in use whose promise was made by audits, or has lapsed."""

    def is_made() -> bool:
        metadata = served(place)
        return bool(metadata.audited) if audited else metadata.promise_lapsed

    wait_for(is_made, running.log())
    done = json.loads(run("daemon", "status", "--json", cwd=place).stdout)
    assert done["learning"]["mode"] == "on"
    return served(place)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_promise_lapses_with_a_lesson_and_is_made_again_by_an_audit(place: Path) -> None:
    with daemon(place) as running:
        assert "at most 10 % of those filed are wrong" in says(place)
        drag(place, file_pictures(place, "discs", range(12)), NEW)
        lapsed = wait_for_promise(place, running, audited=False)
        assert lapsed.classes == ["fog", "stripes", NEW]
        running.wait_until_said("at most 10 % wrong is no longer promised")
        wait_for(lambda: "an audit on the review page can" in says(place), "status says so")
        for kind in FOLDERS:
            file_pictures(place, kind, range(100, 114))
        count = audit(place)
        assert count >= 29, "so many it takes"
        for path in file_pictures(place, "discs", range(200, 202)):  # a label more, as an answer on the page is one
            done = run("daemon", "relabel", str(path), NEW, cwd=place)
            assert done.returncode == 0, done
        renewed = wait_for_promise(place, running, audited=True)
        assert renewed.kept_promise is not None
        assert (renewed.kept_promise.max_error, renewed.kept_promise.certainty) == (0.1, 0.95)
        running.wait_until_said(f"95 % certain, as {renewed.audited} audited images tell")
        wait_for(lambda: f"as {renewed.audited} audited images tell" in says(place), "status says so")
        assert running.terminate() == 0
    assert "internal error" not in running.log()
