"""A small archive, a model for it, and jobs in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from daemon import config
from daemon.config import Settings
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save

pytest.importorskip("pyarrow", reason="the extra `archive` is not installed")


class Archive(NamedTuple):
    """Pictures below ``inbox``, and where their manifest is."""

    inbox: Path
    manifest: Path
    settings: Settings

    def run(
        self,
        source: str | None = None,
        shard: str = "1/1",
        stopping: Callable[[], bool] = lambda: False,
        engine: Any = "local",
        on_progress: Callable[[Any], None] = lambda _: None,
    ) -> Any:
        """Do a job as the command does; returns its tally."""
        from daemon.archiving.job import Job
        from daemon.archiving.shards import Shard

        job = Job(self.settings, source or str(self.inbox), self.manifest, Shard.parse(shard), engine)
        job.run(stopping, on_progress)
        return job.tally

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the manifest, in the order of their addresses."""
        from daemon.archiving.manifest import SCHEMA, blocks, read_block

        rows = [row for path in blocks(self.manifest) for row in read_block(path, SCHEMA.names).to_pylist()]
        return sorted(rows, key=lambda row: (row["uri"], row["looked_at"]))


@pytest.fixture(scope="session")
def archive_run(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published run, for all tests."""
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    publish(checkpoints / "run")
    return checkpoints


@pytest.fixture
def archive(archive_run: Path, tmp_path: Path) -> Archive:
    """Four kinds of pictures in folders, and a file that is none."""
    inbox = tmp_path / "inbox"
    for kind in KINDS:
        for seed in range(3):
            save(kind, seed, inbox / f"{seed}" / f"{kind}.jpg")
    (inbox / "broken.jpg").write_bytes(b"no picture")
    settings = config.load({"checkpoint": archive_run, "threads": 1, "threshold": "0", "output": tmp_path / "sorted"})
    return Archive(inbox, tmp_path / "manifest", settings)
