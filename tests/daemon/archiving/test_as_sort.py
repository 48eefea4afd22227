"""An archive that is applied puts each picture where `sort` puts it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from daemon.commands.archive_apply import main as apply_main
from daemon.commands.sort import sort
from daemon.decoding.launcher import Launcher
from daemon.monitoring.progress import Progress
from daemon.watching.skipped import Skipped
from models.files.atomic import file_digest
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS, save


def classes(output: Path) -> dict[str, str]:
    """The class folder of each picture, by its content."""
    found = {file_digest(path): str(path.parent.relative_to(output)) for path in output.rglob("*.jpg")}
    assert len(found) == len([*output.rglob("*.jpg")])
    return found


@pytest.mark.filterwarnings("default")  # those of Ray are not ours
@pytest.mark.parametrize(
    ("engine", "pictures"),
    [
        ("local", 12),
        pytest.param("local", 3000, marks=pytest.mark.slow),
        pytest.param("ray", 3000, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("threshold", [0.0, "auto"])
def test_each_picture_is_where_sort_puts_it(
    archive: Archive, engine: str, pictures: int, threshold: float | str
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    for seed in range(3, pictures // len(KINDS)):
        for kind in KINDS:
            save(kind, seed, archive.inbox / f"{seed}" / f"{kind}.jpg")
    settings = archive.settings.model_copy(update={"threshold": threshold})
    sorted_ = settings.model_copy(update={"output": archive.settings.output.with_name("by-sort")})
    with_both = archive._replace(settings=settings)
    with_both.run(engine=engine)
    assert apply_main([str(archive.manifest), "--output", str(settings.output), "--log-level", "WARNING"]) == 0
    outcomes, left = sort(
        archive.inbox, sorted_, Launcher(), Skipped(str(archive.inbox)), Progress(shows_bar=False), lambda: False
    )
    assert (len(outcomes), left) == (pictures + 1, 0)
    assert len(classes(settings.output)) == pictures
    assert classes(settings.output) == classes(sorted_.output)
    shutil.rmtree(settings.output)
