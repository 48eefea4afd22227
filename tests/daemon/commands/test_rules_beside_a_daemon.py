"""Rules by class, and a layout, with a real daemon: filed, left, corrected, read again, undone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.filing_desk import images
from tests.pictures import save
from tests.processes import Daemon, daemon, run, wait_for


@pytest.fixture
def folder(publish: Publish, store: WeightsStore, tmp_path: Path) -> Path:
    publish(tmp_path / "checkpoints/run", threshold=0.3)
    return tmp_path


def configure(folder: Path, far: Path, rules: str) -> None:
    (folder / "config.toml").write_text(
        'settle_seconds = 0.1\nlearn = "off"\nlayout = "{class}/{filed:%Y}/{inbox}"\n'
        f'state_dir = "state"\n[class.discs]\noutput = "{far}"\nlayout = "{{class}}/{{stem}}"\n{rules}',
        encoding="utf-8",
    )


def arrives(folder: Path, kind: str, name: str) -> Path:
    """A picture that appears whole."""
    made = save(kind, 1, folder / name)
    return made.rename(folder / "inbox" / name)


def told(folder: Path, *command: str) -> list[dict[str, object]]:
    done = run("daemon", *command, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def reloads(running: Daemon, text: str) -> None:
    running.process.send_signal(signal.SIGHUP)
    running.wait_until_said(text)


def test_what_rules_and_a_layout_do_and_what_takes_it_back(folder: Path) -> None:
    far = folder / "far"
    configure(folder, far, '[class.dics]\nthreshold = 0.5\n[class.fog]\naction = "leave"\n')
    with daemon(folder) as running:
        running.wait_until_said("the model has no such class; did you mean 'discs'?")
        year = filed_year(running, folder)
        arrives(folder, "discs", "b.png")
        running.wait_until_said(f"b.png -> {far}/discs/b/b.png")
        arrives(folder, "fog", "c.png")
        running.wait_until_said("c.png stays where it is by the rule of its class (fog ")

        (far / "discs/b/b.png").rename(folder / "sorted/stripes/b.png")
        running.wait_until_said("was moved to stripes/b.png: noted as a correction")
        (folder / "sorted/stripes" / year / "inbox/a.png").rename(far / "discs/a.png")
        running.wait_until_said(f"was moved to {far}/discs/a.png: noted as a correction")
        labels = {str(one["path"]): one["class"] for one in told(folder, "labels")}
        assert labels == {str(folder / "sorted/stripes/b.png"): "stripes", str(far / "discs/a.png"): "discs"}
        health = json.loads(run("daemon", "status", "--json", cwd=folder).stdout)
        assert health["other_outputs"] == {str(far): None}
        assert health["images"]["left"] == 1

        configure(folder, far, '[class.checks]\nlayout = "{class}/mine"\n')
        reloads(running, "took over new settings: class")
        arrives(folder, "checks", "d.png")
        running.wait_until_said("d.png -> checks/mine/d.png")
        configure(folder, far, '[class.checks]\noutput = "elsewhere"\n')
        reloads(running, f'class."checks".output is another output ({folder}/elsewhere), which needs a restart')
        configure(folder, far, "[class.checks]\nthreshold = 2\n")
        reloads(running, 'the settings in use stay: class."checks".threshold in config.toml is 2, which is not valid')

        configure(folder, far, "")
        reloads(running, "classes with rules of their own: discs\n")
        assert {one["outcome"] for one in told(folder, "undo", "--file", "c.png")} == {"undone"}
        running.wait_until_said("c.png -> fog/")
        assert run("daemon", "relabel", "d.png", "discs", cwd=folder).returncode == 0
        assert (far / "discs/d/d.png").is_file()
        assert running.terminate() == 0
    assert "internal error" not in running.log()
    assert sorted(path.name for path in (*images(folder / "sorted"), *images(far))) == [
        "a.png",
        "b.png",
        "c.png",
        "d.png",
    ]
    wait_for(lambda: not images(folder / "inbox"), "nothing is left")


def filed_year(running: Daemon, folder: Path) -> str:
    """The year in which the first picture was filed, as the layout has it."""
    arrives(folder, "stripes", "a.png")
    running.wait_until_said("a.png -> stripes/2")
    (place,) = (folder / "sorted/stripes").glob("*/inbox/a.png")
    return place.parts[-3]
