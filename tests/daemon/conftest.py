"""A small real classifier for the daemon's tests: the embedded backbone and a head for four kinds of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from models import registry
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.filing_desk import Desk, far_folder, make_desk
from tests.pictures import KINDS
from tests.publishing import Heads, point_at

Publish = Callable[..., str]


@pytest.fixture(scope="session")
def publish(store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """``publish(run_folder, class names)`` writes a checkpoint whose classes are those kinds, and points at it.

    More arguments go into its metadata.
    """
    backbone = registry.locate(registry.EMBEDDED, None, store)
    heads = Heads(open_extractor([backbone], store), tmp_path_factory.mktemp("examples"))

    def make(run: Path, names: Sequence[str] = KINDS, **more: Any) -> str:
        digest = heads.write(run, names, **more)
        point_at(run, digest)
        return digest

    return make


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged as an error."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="ERROR")
    yield lines
    logger.remove(handler)


@pytest.fixture(params=["one file system", "two"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A place to file in: on one file system, and across two."""
    if request.param == "two":
        with far_folder() as far:
            yield make_desk(tmp_path, far)
    else:
        yield make_desk(tmp_path)


@pytest.fixture
def desk(either: Desk) -> Desk:
    return either


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose output is on another file system."""
    with far_folder() as folder:
        yield make_desk(tmp_path, folder)


@pytest.fixture
def near(tmp_path: Path) -> Desk:
    """One on a single file system."""
    return make_desk(tmp_path)
