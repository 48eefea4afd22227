"""Check that a run's checkpoint is still the file that was written."""

from __future__ import annotations

import json
from pathlib import Path

from models.errors import CheckpointError
from models.text.language import tr
from trainer.runs.folder import METRICS
from trainer.runs.publications import publications


def require_unchanged(run: Path, sha256: str) -> None:
    """Raise `CheckpointError` where a run's checkpoint, now of this ``sha256``, had another one when it was written.

    The run folder records the original sha256; without it, the first publication of the run does. A run without any
    record passes.
    """
    recorded = _recorded_sha256(run)
    if recorded is None:
        recorded = next((entry.sha256 for entry in publications(run.parent) if entry.run == run.name), sha256)
    if sha256 != recorded:
        raise CheckpointError(
            tr(
                "the checkpoint of run {name} is damaged: it is not the file that was made (its sha256 "
                "begins {sha256}, not {made}); use another run, or fit again",
                name=run.name,
                sha256=sha256[:12],
                made=recorded[:12],
            )
        )


def _recorded_sha256(run: Path) -> str | None:
    try:
        metrics = json.loads((run / METRICS).read_bytes())
    except FileNotFoundError:  # a checkpoint that came from elsewhere
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            tr(
                "{file} is damaged, so nothing tells whether the checkpoint is whole: use another run, or fit again",
                file=run / METRICS,
            )
        ) from error
    recorded = metrics.get("sha256") if isinstance(metrics, dict) else None
    return recorded if isinstance(recorded, str) else None
