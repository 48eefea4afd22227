"""Move images to the folder of the class that a person names, and keep what was said as labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from daemon.files.outputs import output_of
from daemon.files.roots import OpenFolders
from daemon.files.source import Source
from daemon.filing.class_paths import ClassPaths
from daemon.filing.filer import FilingRequest, FilingResult
from daemon.filing.late_sidecars import LATEST
from daemon.filing.status import Status, describe
from daemon.filing.transfer import Transfer
from daemon.filing.whereabouts import origin_of
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing
from daemon.operations.classes import ClassFolder, class_folder, class_paths
from daemon.operations.desk import Desk, Item, Operation, Params, explaining_a_busy_journal
from daemon.operations.moving import RUN_PATTERN, log_move, make_filer, settled_sidecars
from daemon.operations.named_images import FiledImage, NamedImage, NoImage, find_filed, find_image, spelling
from daemon.operations.selection import GivenName
from models.deciding.class_names import folded
from models.deciding.rule import Fate
from models.text.language import mark, tr
from models.text.printable import shown

#: What a person names an image by.
_Name = GivenName | FiledImage

#: What became of an image beside the `Status` of those that moved, and after which of all nothing is left to be done.
CONFIRMED, NOT_FOUND = "confirmed", "not found"
DONE = frozenset({Status.FILED, Status.PLANNED, CONFIRMED})

#: How a peer may say that a person has said it.
_CLAIMS = frozenset({How.RELABELLED, How.REVIEWED, How.AUDITED})


class RelabelParams(Params):
    """The images, and the class as it was typed; ``new``: it may be one that there is not yet.

    Images are named by ``files``, or by the ``filings`` that a person has looked at. ``how`` the person said it: what
    the daemon notices by itself, nobody else may claim. ``run``: the name that several calls have in common.
    """

    files: tuple[GivenName, ...] = Field(default=(), strict=False)
    filings: tuple[FiledImage, ...] = Field(default=(), strict=False)
    to: str
    how: Annotated[How, Field(strict=False)] = How.RELABELLED
    new: bool = False
    dry_run: bool = False
    as_json: bool = False
    run: str | None = Field(default=None, pattern=RUN_PATTERN)

    @field_validator("how")
    @classmethod
    def _may_be_claimed(cls, how: How) -> How:
        if how not in _CLAIMS:
            raise ValueError(tr("only the daemon notices that an image was {how}", how=how.value))
        return how

    @property
    def changes(self) -> bool:
        """Whether anything is moved or written."""
        return not self.dry_run


def relabel(desk: Desk, params: RelabelParams) -> Operation:
    """Move images to a class folder, a few at a step, and yield an item for each; the result counts them.

    One that lies there already is confirmed: only the label is written. Raises `UserError`.
    """
    paths = class_paths(desk.settings)
    target = class_folder(params.to, desk.settings, new=params.new, paths=paths)
    relabelling = _Relabelling(desk, params, target, paths)
    with explaining_a_busy_journal():
        desk.recover()
        names: tuple[_Name, ...] = (*params.files, *params.filings)
        for start in range(0, len(names), desk.step):
            desk.begin_step()
            yield from relabelling.relabel(names[start : start + desk.step])
    return relabelling.result()


@dataclass
class _Relabelling:
    """Images on their way to one class folder. In sentences names are as in the log, or whole paths for JSON."""

    desk: Desk
    params: RelabelParams
    target: ClassFolder
    paths: ClassPaths
    moved: int = 0
    confirmed: int = 0
    left: int = 0
    _seen: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._filer = make_filer(self.desk, dry_run=self.params.dry_run, run=self.params.run)
        self._name = spelling(self.desk, as_json=self.params.as_json)
        label, settings = self.target.label, self.desk.settings
        self._output = settings.output if label is None else settings.class_rules.handling_of(label).output

    def result(self) -> dict[str, object]:
        """Return the counts, and the run by which all that moved can be undone."""
        return {
            "class": self.target.label,
            "moved": self.moved,
            "confirmed": self.confirmed,
            "left": self.left,
            "run": self._filer.run if self.moved and not self.params.dry_run else None,
        }

    def relabel(self, names: Sequence[_Name]) -> Iterator[Item]:
        """Relabel some images, and yield an item for each. Raises JournalBusy."""
        items: dict[_Name, Item] = {}
        images: dict[_Name, NamedImage] = {}
        for name in names:
            try:
                image = find_image(self.desk, name) if isinstance(name, GivenName) else find_filed(self.desk, name)
            except NoImage as error:
                items[name] = self._left(_path(name), NOT_FOUND, str(error))
            except OSError as error:
                items[name] = self._left(_path(name), Status.RETRY.value, _cannot_be_read(name, error))
            else:
                if image.path not in self._seen:  # it was named twice
                    self._seen.add(image.path)
                    images[name] = image
        there = {name: image for name, image in images.items() if self._lies_there(image)}
        items |= self._confirm(there)
        items |= self._move({name: image for name, image in images.items() if name not in there})
        yield from (items[name] | _asked(name) for name in names if name in items)

    def _lies_there(self, image: NamedImage) -> bool:
        if image.is_tagged:
            return self._tag(image) == self.target.label
        output = output_of(image.path.parent, self.desk.outputs)
        if output is None or output != self._output:
            return False
        return folded(self.paths.folder_of(str(image.path.parent.relative_to(output)))) == folded(self.target.folder)

    def _confirm(self, images: dict[_Name, NamedImage]) -> dict[_Name, Item]:
        if images and not self.params.dry_run:
            self.desk.journal.write([], labels=[self._label(image) for image in images.values()])
            self._bring_sidecars(images.values())
        self.confirmed += len(images)
        return {name: self._confirmed(image) for name, image in images.items()}

    def _bring_sidecars(self, images: Iterable[NamedImage]) -> None:
        """Send after images what an earlier call has left behind that was killed before it came to their sidecars."""
        with OpenFolders(self.desk.roots) as folders:
            moved = []
            for image in images:
                if image.filing is not None and not image.is_tagged and self._came_just_now(image.filing, image.path):
                    with suppress(OSError):
                        source, target = folders.entry(image.filing.source), folders.entry(image.path)
                        if not source.exists():  # else the sidecars may be those of another image
                            moved.append(Transfer(source.name, image.filing, source=source, target=target))
            settled_sidecars().follow(moved, self.desk.journal)

    def _came_just_now(self, filing: Filing, path: Path) -> bool:
        is_from_class_folder = output_of(filing.source.parent, self.desk.outputs) is not None
        return is_from_class_folder and filing.destination == path and datetime.now(UTC) - filing.time < LATEST

    def _label(self, image: NamedImage) -> Label:
        return Label(
            sha256=image.sha256,
            label=self.target.label,
            how=self.params.how,
            path=image.path,
            identity=image.identity,
            filing_id=None if image.filing is None else image.filing.id,
        )

    def _move(self, images: dict[_Name, NamedImage]) -> dict[_Name, Item]:
        if not images:
            return {}
        results = self._filer.file([self._decide(image) for image in images.values()])
        return {name: self._moved(result) for name, result in zip(images, results, strict=True)}

    def _decide(self, image: NamedImage) -> FilingRequest:
        return FilingRequest(
            source=Source(image.path, image.identity, image.sha256),
            folder=self.target.folder,
            fate=self._fate,
            label=self.target.label,
            how=self.params.how,
            action="tag" if image.is_tagged else None,
            again=image.is_tagged,
            origin=None
            if image.filing is None
            else origin_of(image.filing, self.desk.outputs, self.desk.journal.history),
        )

    @property
    def _fate(self) -> Fate:
        if self.target.label is None:
            return Fate.UNKNOWN
        return Fate.ROLLED_UP if self.target.label in self.paths.inner else Fate.SURE

    def _moved(self, result: FilingResult) -> Item:
        path, destination = result.request.source.path, result.destination
        if destination is None:
            why = tr("{name} stays: {why}", name=self._name(path), why=describe(result.status))
            return self._left(path, result.status.value, result.error or why)
        self.moved += 1
        if result.row.action == "tag":
            return self._item(path, result.status.value, self._tagging(path), destination, result.row.id)
        if not self.params.dry_run:
            log_move(self.desk, path, destination)
        names = {"name": self._name(path), "place": self._name(destination)}
        says = tr("{name} would go to {place}", **names) if self.params.dry_run else "{name} -> {place}".format(**names)
        return self._item(path, result.status.value, says, destination, result.row.id)

    def _tagging(self, path: Path) -> str:
        name, label = self._name(path), self.target.label
        if label is None:
            says = mark("{name} would lose its tag") if self.params.dry_run else mark("{name} has no tag now")
        else:
            says = mark("{name} would be tagged {label}") if self.params.dry_run else mark("{name} is tagged {label}")
        return tr(says, name=name, label=label)

    @staticmethod
    def _tag(image: NamedImage) -> str | None:
        """Return the class that an image is tagged with."""
        filing = image.filing
        return None if filing is None or filing.destination is None else filing.label

    def _confirmed(self, image: NamedImage) -> Item:
        path, filing = image.path, image.filing
        name = self._name(path)
        if self.params.dry_run:
            says = tr("{name} is there already, and would only get the label", name=name)
        else:
            says = tr("{name} is there already, and has this label now", name=name)
        return self._item(path, CONFIRMED, says, path, None if filing is None else filing.id)

    def _left(self, path: Path, outcome: str, says: str) -> Item:
        self.left += 1
        return self._item(path, outcome, says, None)

    def _item(self, path: Path, outcome: str, says: str, destination: Path | None, filing: int | None = None) -> Item:
        return {
            "file": str(path),
            "from": self.paths.of_image(path),
            "class": self.target.label,
            "destination": None if destination is None else str(destination),
            "filing": filing,
            "outcome": outcome,
            "says": says,
        }


def _path(name: _Name) -> Path:
    return Path(name.path if isinstance(name, GivenName) else "")


def _asked(name: _Name) -> Item:
    """Say which filing an item is about, where it was asked for by that."""
    return {"id": name.id} if isinstance(name, FiledImage) else {}


def _cannot_be_read(name: _Name, error: OSError) -> str:
    if isinstance(name, FiledImage):
        return tr("the image cannot be read: {reason}", reason=error)
    return tr("{name} cannot be read: {reason}", name=shown(name.name), reason=error)
