"""Make the outcome of an image from what was decoded, and what the filer did."""

from __future__ import annotations

from pathlib import Path

from daemon.files.source import NotAFile, SourceChanged, SourceError, SourceGone, SourceUnreadable
from daemon.filing.outcome import Outcome
from daemon.filing.requests import FilingResult
from daemon.filing.status import Status
from models.errors import ImageError
from models.text.language import tr


def outcome_of(result: FilingResult, error: ImageError | None) -> Outcome:
    """Make the outcome of an image that was to be filed; ``error``: why it could not be decoded."""
    request = result.request
    if result.original is not None:
        return Outcome(
            path=request.source.path,
            status=result.status,
            action=result.row.action,
            folder=result.row.folder.name if result.row.folder is not None else None,
            destination=result.destination,
            detail=result.error or result.row.detail,
            duplicate_of=result.original,
        )
    return Outcome(
        path=request.source.path,
        status=result.status,
        action=result.row.action,
        label=request.label,
        confidence=request.confidence,
        fate=request.fate,
        folder=request.folder,
        inside=result.inside,
        elsewhere=result.elsewhere,
        destination=result.destination,
        reason=None if error is None else error.reason,
        detail=result.error or request.detail,
    )


def not_a_file(path: Path, detail: str) -> Outcome:
    """Make the outcome for something that has an image's name but is no regular file."""
    return Outcome(path=path, status=Status.REFUSED, reason="not-a-file", detail=detail)


def unread(path: Path, error: SourceError) -> Outcome:
    """Make the outcome for an image whose file could not be read."""
    match error:
        case SourceGone():
            return Outcome(path=path, status=Status.GONE)
        case SourceChanged():
            return Outcome(path=path, status=Status.CHANGED)
        case NotAFile():
            return not_a_file(path, tr("It is not a regular file."))
        case SourceUnreadable():
            return Outcome(path=path, status=Status.RETRY, detail=str(error))
    raise AssertionError(f"an unknown kind of {SourceError.__name__}") from error
