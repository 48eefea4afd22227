"""A small real classifier for the daemon's tests: the embedded backbone and a head for four kinds of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.runtime import open_extractor
from models.weights import WeightsStore
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
