from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from daemon import config
from daemon.files.roots import Roots
from daemon.filing.held import HeldImages
from daemon.operations.desk import Desk as OperationDesk
from daemon.operations.desk import Item, Operation, Result
from tests.filing_desk import Desk, make_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = make_desk(tmp_path)
    desk.output.mkdir()
    return desk


@pytest.fixture
def told() -> list[Path]:
    """What a daemon is told to look at again."""
    return []


#: Opens the journal as a daemon that runs, or as a command where none does.
Opener = Callable[..., OperationDesk]


@pytest.fixture
def at(desk: Desk, told: list[Path]) -> Iterator[Opener]:
    with ExitStack() as closing:

        def opened(*, is_running: bool = True) -> OperationDesk:
            journal = desk.journal()
            closing.callback(journal.close)
            settings = config.load({"output": str(desk.output), "watch": [str(desk.inbox)]}, None)
            roots = Roots([desk.inbox, desk.output])
            held = HeldImages(journal, desk.output, [desk.inbox])
            there = OperationDesk(settings=settings, journal=journal, roots=roots, held=held)
            return replace(there, look_again=told.extend, is_running=is_running)

        yield opened


def run(operation: Operation) -> tuple[list[Item], Result]:
    """The items of an operation without the empty ones, and its result."""
    items: list[Item] = []
    while True:
        try:
            item = next(operation)
        except StopIteration as end:
            return items, end.value
        if item:
            items.append(item)
