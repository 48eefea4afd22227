"""Whether a run's checkpoint is still the file that was made."""

from __future__ import annotations

import json
from pathlib import Path

from models.errors import CheckpointError
from models.text.language import tr
from trainer.runs.folder import METRICS
from trainer.runs.publications import publications


def require_as_made(run: Path, sha256: str) -> None:
    """Raise `CheckpointError` where a run's checkpoint, now of this ``sha256``, was another file when it was made.

    The run folder records what it was; where that says nothing, what was first published under the run's name does. A
    run of which nothing is recorded passes.
    """
    made = _sha256_when_made(run)
    if made is None:
        made = next((entry.sha256 for entry in publications(run.parent) if entry.run == run.name), sha256)
    if sha256 != made:
        raise CheckpointError(
            tr(
                "the checkpoint of run {name} is damaged: it is not the file that was made (its sha256 "
                "begins {sha256}, not {made}); use another run, or fit again",
                name=run.name,
                sha256=sha256[:12],
                made=made[:12],
            )
        )


def _sha256_when_made(run: Path) -> str | None:
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
    made = metrics.get("sha256") if isinstance(metrics, dict) else None
    return made if isinstance(made, str) else None
