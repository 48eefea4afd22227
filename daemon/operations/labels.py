"""List the labels, which are what people said of images, and take some of them back."""

from __future__ import annotations

import unicodedata
from itertools import islice
from typing import Annotated

from pydantic import AwareDatetime, Field

from daemon.filing.labelled_images import find_labelled
from daemon.journal.labels import How, Label, WantedLabels
from daemon.operations.desk import Desk, Item, Operation, Params, explaining_a_busy_journal
from daemon.operations.named_images import NoImage, find_image, spelling
from daemon.operations.selection import GivenName
from models.text.language import mark, tr

#: What became of a label that was to be forgotten.
FORGOTTEN, NOT_FOUND = "forgotten", "not found"
_HOW = {
    How.MOVED: mark("{name}: {label}, moved by hand"),
    How.REVIEWED: mark("{name}: {label}, reviewed"),
    How.RELABELLED: mark("{name}: {label}, relabelled"),
    How.PLACED: mark("{name}: {label}, placed by hand"),
    How.AUDITED: mark("{name}: {label}, audited"),
}


class LabelsParams(Params):
    """Conditions for the labels, and how many of the newest ones; ``label`` may be the name of the others' folder."""

    label: str | None = None
    how: tuple[Annotated[How, Field(strict=False)], ...] | None = Field(default=None, strict=False)
    since: AwareDatetime | None = Field(default=None, strict=False)
    limit: int | None = Field(default=None, ge=1)
    as_json: bool = False

    @property
    def changes(self) -> bool:
        """Nothing is written."""
        return False

    def wanted(self, others: str) -> WantedLabels:
        """Return the conditions for the journal."""
        label = None if self.label is None else unicodedata.normalize("NFC", self.label)
        if label is not None and label.casefold() == others.casefold():
            return WantedLabels(is_negative=True, how=self.how, since=self.since)
        return WantedLabels(label=label, how=self.how, since=self.since)


class ForgetParams(Params):
    """The labels to take back: those of images, those of some ids, and the ``last`` ones."""

    files: tuple[GivenName, ...] = Field(default=(), strict=False)
    ids: tuple[int, ...] = Field(default=(), strict=False)
    last: int | None = Field(default=None, ge=1)
    as_json: bool = False


def list_labels(desk: Desk, params: LabelsParams) -> Operation:
    """Yield an item for each label that holds, newest first. Raises `UserError`.

    The result also says what an export must know: the name of the others' folder, the output and the inboxes.
    """
    name = spelling(desk, as_json=params.as_json)
    count = 0
    with explaining_a_busy_journal():
        for label in islice(desk.journal.labels(params.wanted(desk.settings.others_dir)), params.limit):
            count += 1
            now = find_labelled(label, desk.roots, desk.journal.filed_with_inode)
            identity = {"inode": label.identity.ino, "size": label.identity.size, "mtime_ns": label.identity.mtime_ns}
            yield _item(label, name(now or label.path)) | {"now": None if now is None else str(now)} | identity
    folders = [desk.output, *desk.settings.watch, *desk.outputs[1:]]
    return {"count": count, "others": desk.settings.others_dir, "folders": [str(folder) for folder in folders]}


def forget_labels(desk: Desk, params: ForgetParams) -> Operation:
    """Take back labels and yield an item for each; what people said of the image before does not count again, either.

    Raises `UserError`.
    """
    name = spelling(desk, as_json=params.as_json)
    forgotten = left = 0
    with explaining_a_busy_journal():
        labels: dict[int | None, Label] = {}
        if params.last is not None:
            labels |= {label.id: label for label in islice(desk.journal.labels(), params.last)}
        by_id = {label.id: label for label in desk.journal.labels(WantedLabels(ids=params.ids))} if params.ids else {}
        labels |= by_id
        missing = [number for number in params.ids if number not in by_id]
        for number in missing:
            left += 1
            yield {"id": number, "outcome": NOT_FOUND, "says": tr("there is no label {number}", number=number)}
        for given in params.files:
            try:
                labels |= {label.id: label for label in _of_image(desk, given)}
            except NoImage as error:
                left += 1
                yield {"id": None, "file": given.path, "outcome": NOT_FOUND, "says": str(error)}
            else:
                yield {}
        desk.journal.forget_labels([number for number in labels if number is not None])
        for label in labels.values():
            forgotten += 1
            item = _item(label, name(label.path))
            yield item | {"outcome": FORGOTTEN, "says": tr("forgotten: {label}", label=item["says"])}
    return {"forgotten": forgotten, "left": left}


def _of_image(desk: Desk, given: GivenName) -> list[Label]:
    """Find the label of an image that is there, or else of one that lay there. Raises `NoImage`, JournalBusy."""
    try:
        image = find_image(desk, given)
    except (NoImage, OSError):
        names = [given.name] if "/" not in given.name else [given.path, given.name.removeprefix("./")]
        for name in names:
            labels = list(desk.journal.labels(WantedLabels(path=name)))
            if len(labels) > 1:
                raise NoImage(
                    tr("'{name}' is the name of several labelled images: give --id", name=given.name)
                ) from None
            if labels:
                return labels
    else:
        labels = list(desk.journal.labels(WantedLabels(sha256=[image.sha256])))
        if labels:
            return labels
    raise NoImage(tr("'{name}' has no label", name=given.name))


def _item(label: Label, name: str) -> Item:
    what = tr("none of the classes") if label.label is None else label.label
    return {
        "id": label.id,
        "time": label.time.isoformat(timespec="milliseconds"),
        "class": label.label,
        "how": label.how.value,
        "path": str(label.path),
        "sha256": label.sha256,
        "says": tr(_HOW[label.how], name=name, label=what),
    }
