"""Show the model in use: where it comes from, how good it is, and the images behind each of its mistakes."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from daemon.journal.labels import Label
from daemon.reloading.threshold import in_force, inner_folder_rules
from daemon.review.learnt_images import LearntImages
from daemon.review.model_api import Ancestor, LearntImage, LearntPage, Lesson, ModelState
from daemon.review.model_tasks import ModelTasks
from daemon.review.place import ReviewedOutput
from daemon.review.run_report import MOST_ADVISED, JudgedImage
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.errors import CheckpointError
from models.text.language import tr
from models.text.printable import shown

#: Counts of a lesson: the images that both models were judged by, and how many each had right.
_COUNTS = ("images", "right", "right_before")
_MOST_METRICS = 16 << 20
#: Runs of the lineage, and classes of the matrix, at most: a larger one nobody can read.
_MOST_RUNS, _MOST_CLASSES = 20, 40


class ModelView:
    """Answers questions about the model in use. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, learnt: LearntImages, tasks: ModelTasks) -> None:
        self._place = place
        self._learnt = learnt
        self._tasks = tasks

    def state(self) -> ModelState:
        """Describe the model in use. Raises `Refusal`."""
        published, metadata = self._learnt.published()
        if published is None or metadata is None:
            return _nothing(tr("no model of yours is published: the starter model is in use"), self._tasks)
        run = published.path.parent
        counts, likely_wrong = self._learnt.report_of(run).mistakes
        said = self._learnt.said(likely_wrong)
        open_to_doubt = [image for image in likely_wrong if image.sha256 not in said]
        threshold = self._place.settings.threshold
        chosen = None if threshold == "auto" else threshold
        known = {*metadata.classes, *(label for pair in counts for label in pair)} if counts else set()
        classes = sorted(known if len(known) <= _MOST_CLASSES else _most_confused(counts))
        return ModelState(
            digest=published.digest or None,
            run=shown(run.name),
            says="" if counts else tr("no image was held out, so nothing is known of its mistakes"),
            threshold=str(in_force(chosen, metadata)),
            inner_folders=inner_folder_rules(chosen, metadata),
            accuracy=metadata.metrics.get("accuracy"),
            classes=classes,
            matrix=[[counts[actual, predicted] for predicted in classes] for actual in classes],
            is_excerpt=len(classes) < len(known),
            lesson=_lesson(run, metadata),
            lineage=self._lineage(run.name),
            likely_wrong=[_learnt(image, advised=True) for image in open_to_doubt[:MOST_ADVISED]],
            task=self._tasks.state,
        )

    def cell(self, actual: str, predicted: str, after: int | None, limit: int) -> LearntPage:
        """Show the images behind a cell of the matrix. Raises `Refusal`."""
        published, _ = self._learnt.published()
        if published is None:
            return LearntPage(images=[], next=None)
        report = self._learnt.report_of(published.path.parent)
        images = report.cell(actual, predicted, -1 if after is None else after, limit)
        said = self._learnt.said(images)
        following = images[-1].number if len(images) == limit else None
        return LearntPage(images=[_learnt(image, said.get(image.sha256)) for image in images], next=following)

    def _lineage(self, current: str) -> list[Ancestor]:
        """List the runs beside the one in use, newest first."""
        ancestors: list[Ancestor] = []
        with suppress(OSError):
            folders = sorted(self._place.settings.checkpoint.iterdir(), key=lambda path: path.name, reverse=True)
            for folder in folders:
                file = folder / checkpoints.FILE_NAME
                if len(ancestors) == _MOST_RUNS or not file.is_file():
                    continue
                with suppress(CheckpointError):
                    metadata = checkpoints.read_metadata(file)
                    ancestors.append(
                        Ancestor(
                            parent_digest=_text(metadata.settings.get("parent_sha256")),
                            run=shown(folder.name),
                            time=_time(metadata.created),
                            is_in_use=folder.name == current,
                            can_roll_back=folder.name != current,
                        )
                    )
        return ancestors


def _most_confused(counts: Counter[tuple[str, str]]) -> set[str]:
    """Choose as many classes as a matrix may have: of the mistakes that were made most often."""
    chosen: set[str] = set()
    for (actual, predicted), _ in counts.most_common():
        if actual != predicted and len(chosen | {actual, predicted}) <= _MOST_CLASSES:
            chosen |= {actual, predicted}
    return chosen


def _nothing(says: str, tasks: ModelTasks) -> ModelState:
    return ModelState(
        digest=None,
        run=None,
        says=says,
        threshold="",
        inner_folders=[],
        accuracy=None,
        classes=[],
        matrix=[],
        lesson=None,
        lineage=[],
        likely_wrong=[],
        task=tasks.state,
    )


def _lesson(run: Path, metadata: Metadata) -> Lesson | None:
    """Say what the last lesson has brought; None where the model has had none."""
    if not metadata.settings.get("lesson"):
        return None
    lesson = _object(_metrics(run).get("lesson"))
    judged = _object(lesson.get("judged"))
    parts = [_object(judged.get(name)) for name in ("data_set", "labelled")]
    images, right, before = (sum(map(_number, [part.get(key) for part in parts])) for key in _COUNTS)
    labels, why = metadata.settings.get("labels"), lesson.get("why")
    return Lesson(
        time=_time(metadata.created),
        before=before / images if images else None,
        after=right / images if images else None,
        images=labels if isinstance(labels, int) else None,
        says=shown(why) if isinstance(why, str) else "",
    )


def _learnt(image: JudgedImage, said: Label | None = None, *, advised: bool = False) -> LearntImage:
    return LearntImage(
        number=image.number,
        version=image.sha256,
        name=shown(Path(image.name).name),
        actual=shown(image.actual),
        predicted=shown(image.predicted),
        confidence=image.confidence,
        is_labelled=said is not None,
        said=None if said is None or said.label is None else shown(said.label),
        advised=shown(image.predicted) if advised else None,
        advice=tr("the model, which has not learned from this image, sees another class") if advised else None,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _metrics(run: Path) -> dict[str, object]:
    """Read what the trainer has measured; empty where that cannot be read."""
    with suppress(CheckpointError, OSError, ValueError, RecursionError):
        return _object(json.loads(checkpoints.read_regular_file(run / "metrics.json", _MOST_METRICS)))
    return {}
