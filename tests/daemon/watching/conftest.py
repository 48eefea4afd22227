from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from daemon.watching import watcher
from tests.daemon.watching.desk import Desk


@pytest.fixture
def desks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    """Makes desks whose watchers are stopped in the end."""
    monkeypatch.setattr(watcher, "CHECK_SECONDS", 0.02)
    made: list[Desk] = []

    def make(*roots: Path, **settings: Any) -> Desk:
        made.append(Desk(*roots, **settings))
        return made[-1]

    yield make
    for desk in made:
        desk.watcher.stop()


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message).rstrip()), format="{level}: {message}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "inbox"
    root.mkdir()
    return root


@pytest.fixture
def quick_root() -> Iterator[Path]:
    """A folder in memory, where there is such a place: thousands of files are made in no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
