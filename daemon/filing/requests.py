"""What the filer is asked to do with an image, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from daemon.files.source import Source
from daemon.filing.status import Status
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing
from models.deciding.rule import Fate, Prediction, Ruling
from models.errors import ImageError
from models.files.markers import Kind
from models.text.language import tr, trn


@dataclass(frozen=True, kw_only=True)
class FilingRequest:
    """Destination of one image: ``folder`` is relative to the output, such as ``dog`` or ``quarantine/truncated``.

    ``reason`` marks an unreadable image (a slug, with ``detail`` as the sentence for people); else it is None.
    ``detail`` without ``reason`` says that an image is unknown, and how strange it is, or that it was decided together
    with others. ``fate`` is that of an image that was classified: a request has either a fate or a reason. ``how``: in
    which way a person gave the class, which is kept as a label; None: the model gave it. ``origin``: for an image that
    lies in the output, where it was filed from. ``action``: what is done with it; None: what the rules say. ``again``:
    file it even if the same image was filed before.
    """

    source: Source
    folder: str
    fate: Fate | None = None
    label: str | None = None
    confidence: float | None = None
    model_digest: str | None = None
    reason: str | None = None
    detail: str | None = None
    how: How | None = None
    origin: Path | None = None
    action: str | None = None
    again: bool = False

    def __post_init__(self) -> None:
        assert (self.fate is None) != (self.reason is None), "either a fate or a reason"

    @property
    def kind(self) -> Kind:
        """Say what its folder is for."""
        if self.reason is not None:
            return "quarantine"
        return "class" if self.fate is not None and self.fate.is_of_class else "others"

    def together_with(self, others: int) -> FilingRequest:
        """Return the request with a note that it was decided together with so many other images."""
        if not others:
            return self
        note = trn("decided together with 1 other", "decided together with {count} others", others)
        return replace(self, detail="; ".join(filter(None, (self.detail, note))))


def by_ruling(
    source: Source, prediction: Prediction, ruling: Ruling, others_dir: str, model_digest: str
) -> FilingRequest:
    """Make the request of an image that was classified: the folder of its class, or that of the others."""
    unlike = tr("unlike anything it was taught: {times:.2f} times the limit", times=prediction.strangeness)
    return FilingRequest(
        source=source,
        folder=ruling.label if ruling.fate.is_of_class else others_dir,
        fate=ruling.fate,
        label=ruling.label,
        confidence=ruling.confidence,
        model_digest=model_digest,
        detail=unlike if ruling.fate is Fate.UNKNOWN else None,
    )


def unreadable(source: Source, error: ImageError, quarantine_dir: str) -> FilingRequest:
    """Make the request of an image that could not be decoded."""
    return FilingRequest(
        source=source, folder=f"{quarantine_dir}/{error.reason}", reason=error.reason, detail=str(error)
    )


class FilingResult(NamedTuple):
    """What became of one request; ``row`` is its row of the journal, ``error`` says why it is tried again.

    ``inside``: the folder below that of the class, where the layout has one. ``elsewhere``: the output that it went to,
    where that is not the main one. ``original``: where the image lies that it is a duplicate of, if it was therefore
    not filed into the request's folder.
    """

    request: FilingRequest
    status: Status
    row: Filing
    error: str | None = None
    inside: str = ""
    elsewhere: Path | None = None
    original: Path | None = None

    @property
    def destination(self) -> Path | None:
        """Return where the image is now, or would be after a dry run."""
        if self.status not in (Status.FILED, Status.PLANNED):
            return None
        return self.row.source if self.row.action == "tag" else self.row.destination


def label_of(how: How, row: Filing) -> Label:
    """Make the label of an image that is filed where a person wanted it."""
    assert row.sha256 is not None
    return Label(
        sha256=row.sha256,
        label=row.label,
        how=how,
        path=row.destination or row.source,
        identity=row.identity,
        time=row.time,
        filing=row,
    )
