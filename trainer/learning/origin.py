"""Find the head that a lesson adapts where the model in use keeps no features of the images it was fitted on.

That is the starter model, or a run made from names or from elsewhere. A run that such a lesson made has a copy of that
head beside it, so that the next lesson adapts the same one, with all labels, whatever became of the run it came from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.classifier import Classifier, open_classifier
from models.files.atomic import atomic_file
from models.starter import starter_path
from models.text.language import in_use
from models.weights.store import WeightsStore
from trainer.learning.files import FeaturesMissing, kept_record, read_labelled
from trainer.learning.gate import Recorded, read_recorded
from trainer.learning.kept import LabelledFeatures
from trainer.runs.publish import STARTER_NAME, current_run

#: The checkpoint that was adapted, in the folder of the run.
ORIGIN_NAME = "origin.safetensors"


@dataclass(frozen=True)
class Origin:
    """The classifier ``in_use`` and the one that is adapted, which is the same until a lesson was learned.

    ``parent`` is the run in use, or a folder that does not exist for the starter model. ``file`` holds the checkpoint
    that is adapted.
    """

    parent: Path
    in_use: Classifier
    adapted: Classifier
    file: Path
    tuned: Mapping[str, Mapping[str, checkpoints.Array]]
    labelled: LabelledFeatures | None
    recorded: Mapping[str, Recorded]
    is_starter: bool = False

    @property
    def metadata(self) -> Metadata:
        """The metadata of the checkpoint in use."""
        return self.in_use.metadata

    def keep(self, run: Path) -> None:
        """Give a run folder the checkpoint that was adapted: as a link, or a copy where that is not possible."""
        target = run / ORIGIN_NAME
        try:
            os.link(self.file, target)
        except OSError:
            with atomic_file(target, replace=False) as file, self.file.open("rb") as kept:
                shutil.copyfileobj(kept, file)


def open_origin(folder: Path, name: str | None, store: WeightsStore) -> Origin:
    """Open the model in use of a folder of runs, and the one that is to be adapted. Raises `UserError`.

    ``name`` is that of its run; None for the starter model.
    """
    current = current_run(folder)
    if name is None:
        if (
            current is None
            and not checkpoints.is_starter_published(folder)
            and any(folder.glob(f"*/{checkpoints.FILE_NAME}"))
        ):
            checkpoints.resolve(folder)  # says that none of the runs is published
        file = starter_path(store, "ko" if in_use() == "ko" else "en")
        classifier = open_classifier(file, store)
        return Origin(folder / STARTER_NAME, classifier, classifier, file, {}, None, {}, is_starter=True)
    run = folder / name
    published = checkpoints.load(folder if name == current else run)
    classifier = open_classifier(run / checkpoints.FILE_NAME, store, sha256=published.digest)
    recorded = _recorded(run)
    sha256 = published.metadata.settings.get("origin_sha256")
    if not isinstance(sha256, str):
        file = run / checkpoints.FILE_NAME
        return Origin(run, classifier, classifier, file, published.backbones, None, recorded)
    labelled = read_labelled(run, kept_record(run, "labelled"), published.metadata)
    adapted = open_classifier(run / ORIGIN_NAME, store, sha256=sha256, reuse=classifier)
    return Origin(run, classifier, adapted, run / ORIGIN_NAME, published.backbones, labelled, recorded)


def _recorded(run: Path) -> Mapping[str, Recorded]:
    """Return what a run recorded of its images; nothing where it is not of this program."""
    try:
        return read_recorded(run)
    except FeaturesMissing:
        return {}
