"""A model that takes next to no time: what is left is what is measured around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

_PLUGIN = ROOT / "tests" / "example_plugin" / "imagesortd_example"
#: What the commands are given that use the model.
GIVEN = ("--plugins", "example", "--threshold", "0")
_MAKE = """
import sys
from pathlib import Path
from models import registry
from models.allowed import allow_plugins
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.publishing import Heads, point_at

allow_plugins(["example"])
folder, store = Path(sys.argv[1]), WeightsStore(Path(sys.argv[2]))
heads = Heads(open_extractor([registry.locate("regions", None, store)], store), folder.parent / "examples")
point_at(folder / "run", heads.write(folder / "run"))
"""


def environment(work: Path) -> dict[str, str]:
    """The environment of a process that may use the model: its plug-in is installed for it alone."""
    site = work / "site"
    about = site / "imagesortd_example-1.0.dist-info"
    if not about.is_dir():
        shutil.copytree(_PLUGIN, site / "imagesortd_example")
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: imagesortd-example\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[imagesortd.backbones]\nexample = imagesortd_example.regions\n")
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{site}"}


def published(work: Path) -> Path:
    """A folder of checkpoints with the model for `tests.pictures`, published; its graph is in ``work/cache``."""
    folder = work / "checkpoints-regions"
    if not folder.is_dir():
        command = [sys.executable, "-c", _MAKE, str(folder), str(work / "cache")]
        subprocess.run(command, cwd=ROOT, env=environment(work), check=True)
    return folder
