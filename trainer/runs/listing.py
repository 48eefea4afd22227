"""List the runs, as ``list`` shows them, and find the one that a name on a command line means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Checkpoint
from models.errors import CheckpointError, UserError
from models.text.language import tr
from models.text.spelling import closest
from trainer.runs.proof import require_unchanged
from trainer.runs.publish import STARTER, STARTER_NAME
from trainer.runs.retention import newest
from trainer.tables import table

#: What stands for the newest run on a command line.
LATEST = "latest"


@dataclass(frozen=True)
class ListedRun:
    """A run folder; ``checkpoint`` is None where it cannot be used, and ``problem`` says why."""

    run: Path
    current: bool
    checkpoint: Checkpoint | None
    problem: str = ""


def find_run(name: str, folder: Path) -> Path:
    """Find the run folder that a user means: `LATEST`, a name in the folder of runs, or a path. Raises `UserError`."""
    run = next((path for path in (folder / name, Path(name)) if path.is_dir()), None)
    if run is not None:
        return run.resolve()
    latest = newest(folder)
    if latest is None:
        raise UserError(
            tr("no run in {folder} has a checkpoint yet: make one with python -m trainer fit", folder=folder)
        )
    if name == LATEST:
        return latest.resolve()
    near = closest(name, [LATEST, *run_names(folder)])
    if near is not None:
        raise UserError(
            tr("there is no run {run} in {folder}: did you mean {near}?", run=name, folder=folder, near=near)
        )
    raise UserError(
        tr(
            "there is no run {run}, neither in {folder} nor as a folder: python -m trainer list --output-dir {folder} "
            "shows what there is",
            run=name,
            folder=folder,
        )
    )


def published_run(folder: Path) -> Path | None:
    """Return the folder of the run that is published in ``folder``; None where there is none."""
    try:
        pointer = checkpoints.read_pointer(folder)
    except CheckpointError:
        return None
    return None if pointer is None else folder / pointer.run


def run_names(folder: Path) -> list[str]:
    """Return the names of the run folders with a checkpoint; none where there is no such folder."""
    return sorted(file.parent.name for file in folder.glob(f"[!.]*/{checkpoints.FILE_NAME}"))


def list_runs(folder: Path) -> list[ListedRun]:
    """List every run folder with a checkpoint, oldest first. Raises `UserError` when ``folder`` does not exist."""
    if not folder.is_dir():
        raise UserError(tr("there is no folder {folder}: make a checkpoint with python -m trainer fit", folder=folder))
    pointer = checkpoints.read_pointer(folder)
    runs = []
    for run in (folder / name for name in run_names(folder)):
        current = pointer is not None and pointer.run == run.name
        try:
            checkpoint = checkpoints.read(run / checkpoints.FILE_NAME)
            require_unchanged(run, checkpoint.digest)
            runs.append(ListedRun(run, current, checkpoint))
        except CheckpointError as error:
            runs.append(ListedRun(run, current, None, str(error)))
    return runs


def as_rows(runs: list[ListedRun]) -> list[dict[str, object]]:
    """Return what ``list`` prints about each run."""
    rows = []
    for listed in runs:
        row: dict[str, object] = {"run": listed.run.name, "current": listed.current, "problem": listed.problem}
        if listed.checkpoint is not None:
            metadata = listed.checkpoint.metadata
            row |= {
                "mode": metadata.mode,
                "classes": len(metadata.classes),
                "images": int(metadata.metrics.get("all_images", 0)),
                "accuracy": metadata.metrics.get("accuracy"),
                "parent": metadata.settings.get("parent"),
                "fine_tuned": bool(listed.checkpoint.backbones),
                "created": metadata.created,
                "megabytes": round((listed.run / checkpoints.FILE_NAME).stat().st_size / 1e6, 2),
            }
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, object]]) -> None:
    """Print the runs as a table, the current one marked with an asterisk."""
    if not rows:
        print(tr("no run has a checkpoint yet: make one with python -m trainer fit"))
        return
    usable = [row for row in rows if not row["problem"]]
    lines = iter(table([_header(), *map(_cells, usable)], words=2).splitlines())
    header = next(lines)
    if usable:
        print(f"  {header}")
    for row in rows:
        mark = "*" if row["current"] else " "
        print(f"{mark} {row['run']}: {row['problem']}" if row["problem"] else f"{mark} {next(lines)}")


def _header() -> list[str]:
    return [tr("run"), tr("mode"), tr("classes"), tr("images"), tr("held-out accuracy"), "MB", tr("made")]


def _cells(row: dict[str, object]) -> list[str]:
    accuracy = tr("unknown") if row["accuracy"] is None else f"{row['accuracy']:.3f}"
    mode = tr("{mode}, fine-tuned", mode=row["mode"]) if row["fine_tuned"] else str(row["mode"])
    if row["parent"]:
        parent = tr(STARTER) if row["parent"] == STARTER_NAME else row["parent"]
        mode = tr("{mode}, a lesson for {parent}", mode=mode, parent=parent)
    numbers = [f"{row['classes']}", f"{row['images']}", accuracy, f"{row['megabytes']:.2f}"]
    return [str(row["run"]), mode, *numbers, _in_utc(str(row["created"]))]


def _in_utc(created: str) -> str:
    """Format an ISO 8601 time with its offset in UTC, to the minute."""
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:  # nothing was recorded, or another program wrote it
        return tr("at an unknown time")
