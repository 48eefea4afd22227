"""Turn decisions into operations, and remember what takes each of them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.filing.identity import content_version
from daemon.filing.status import Status
from daemon.journal.labels import How
from daemon.journal.records import State
from daemon.operations.classes import class_folder
from daemon.operations.desk import Item, Params
from daemon.operations.labelling import LabelParams, SeenImage
from daemon.operations.labels import FORGOTTEN, ForgetParams
from daemon.operations.named_images import FiledImage
from daemon.operations.relabel import CONFIRMED, RelabelParams
from daemon.operations.release import ReleaseParams
from daemon.operations.retry import RetryParams
from daemon.operations.selection import GivenName
from daemon.operations.undo import UndoParams
from daemon.review.api import (
    AuditDecision,
    Decision,
    LabelDecision,
    LearntDecision,
    RetryDecision,
    TakeBackDecision,
    UndoDecision,
)
from daemon.review.audit_book import AuditBook
from daemon.review.images import Images
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal, image_changed, no_image
from models.text.language import tr


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a decision: ``refused`` is why it was not carried out.

    What takes it back: undoing the ``filing``, forgetting the ``label`` or that of the image at ``labelled``, or
    releasing the image at ``held``; and ``judged``, an answer of an audit and its image. ``waiting``: nothing has
    become of it yet.
    """

    says: str = ""
    refused: str | None = None
    image: int | None = None
    filing: int | None = None
    label: int | None = None
    labelled: Path | None = None
    held: Path | None = None
    judged: tuple[str, int] | None = None
    waiting: bool = False

    @property
    def can_take_back(self) -> bool:
        """Whether there is anything to take back."""
        return any(part is not None for part in (self.filing, self.label, self.labelled, self.held, self.judged))


#: Finds what became of a decision by its key.
DoneOf = Callable[[str], Done | None]
#: Finds an image of the model's data set by its number and its content. Raises `Refusal`.
LearntImageOf = Callable[[int, str], SeenImage]


class CarryingOut:
    """Carries out decisions. Used by one thread, but for `check`."""

    def __init__(self, place: ReviewedOutput, images: Images, audits: AuditBook, learnt: LearntImageOf) -> None:
        self._place = place
        self._images = images
        self._audits = audits
        self._learnt = learnt

    def check(self, decision: Decision, done_of: DoneOf) -> int | None:
        """Return the id of the image that a decision is about. Raises `Refusal` and `UserError` for a wrong one."""
        if isinstance(decision, TakeBackDecision):
            done = done_of(decision.of)
            if done is None:
                raise Refusal(404, tr("there is no such decision"))
            return done.image
        if isinstance(decision, LearntDecision):
            self._learnt(decision.id, decision.version)
            self._check_class(decision.to, new=decision.new)
            return None
        filing = self._images.filing(decision.id)
        if content_version(filing) != decision.version:
            raise image_changed()
        match decision:
            case LabelDecision():
                self._check_class(decision.to, new=decision.new)
            case AuditDecision():
                self._check_class(decision.to or self._audits.filed_as(decision.audit, decision.id), new=True)
            case RetryDecision():
                if filing.reason is None:
                    raise no_image()
            case UndoDecision():
                if filing.state is not State.DONE or filing.reason is not None:
                    raise no_image()
        return filing.id

    def _check_class(self, name: str | None, *, new: bool) -> None:
        if name is not None:
            class_folder(name, self._place.settings, new=new, paths=self._images.class_paths)

    def call_of(self, decision: Decision) -> object:
        """Return a key that decisions have in common which may go into one call."""
        match decision:
            case LabelDecision():
                return "label", decision.to, decision.new
            case UndoDecision() | RetryDecision():
                return decision.kind
            case _:
                return decision.key

    def run(self, decisions: Sequence[Decision], done_of: DoneOf) -> list[Done]:
        """Carry out decisions that go into one call. Raises `UserError` where nothing, or not all, could be done."""
        match decisions[0]:
            case LabelDecision(to=to, new=new):
                return self._relabel(_images(decisions), to, How.REVIEWED, new=new)
            case UndoDecision():
                return self._undo(decisions)
            case RetryDecision():
                return self._retry(decisions)
            case AuditDecision() as decision:
                return [self._judge(decision)]
            case LearntDecision() as decision:
                return [self._label_learnt(decision)]
            case TakeBackDecision(of=of):
                return [self._take_back(done_of(of))]
        raise AssertionError(decisions[0].kind)

    def _relabel(self, images: Sequence[FiledImage], to: str | None, how: How, *, new: bool) -> list[Done]:
        others = self._place.settings.others_dir
        params = RelabelParams(filings=tuple(images), to=others if to is None else to, how=how, new=new)
        items = {item["id"]: item for item in self._items("relabel", params)}
        return [_relabelled(image.id, items.get(image.id)) for image in images]

    def _undo(self, decisions: Sequence[Decision]) -> list[Done]:
        ids = tuple(image.id for image in _images(decisions))
        return self._returned("undo", UndoParams(ids=ids), ids)

    def _retry(self, decisions: Sequence[Decision]) -> list[Done]:
        ids = tuple(image.id for image in _images(decisions))
        return self._returned("retry", RetryParams(ids=ids), ids)

    def _returned(self, method: str, params: Params, ids: Sequence[int]) -> list[Done]:
        items = {item["id"]: item for item in self._items(method, params)}
        return [_back(number, items.get(number)) for number in ids]

    def _label_learnt(self, decision: LearntDecision) -> Done:
        try:
            image = self._learnt(decision.id, decision.version)
        except Refusal as refusal:
            return Done(refused=refusal.sentence)
        to = self._place.settings.others_dir if decision.to is None else decision.to
        (item,) = self._items("label", LabelParams(image=image, to=to, new=decision.new))
        number = item["id"]
        return Done(says=tr("labelled"), label=number if isinstance(number, int) else None)

    def _judge(self, decision: AuditDecision) -> Done:
        filed_as = self._audits.filed_as(decision.audit, decision.id)
        label = (decision.to or filed_as) if decision.right else decision.to
        done = Done(image=decision.id)
        if label is not None:
            image = FiledImage(id=decision.id, version=decision.version)
            (done,) = self._relabel([image], label, How.AUDITED, new=decision.new or decision.right)
            if done.refused is not None:
                return done
        self._audits.judge(decision.audit, decision.id, decision.right)
        says = tr("right") if decision.right else tr("wrong")
        return Done(
            says=done.says or says,
            image=decision.id,
            filing=done.filing,
            labelled=done.labelled,
            judged=(decision.audit, decision.id),
        )

    def _take_back(self, done: Done | None) -> Done:
        if done is not None and done.refused is not None:  # nothing was done
            return Done(says=tr("taken back"), image=done.image)
        if done is None or not done.can_take_back:
            return Done(refused=tr("that cannot be taken back"))
        if done.filing is not None:
            (back,) = self._returned("undo", UndoParams(ids=(done.filing,)), [done.filing])
        elif done.labelled is not None or done.label is not None:
            files = () if done.labelled is None else (_named(done.labelled),)
            params = ForgetParams(files=files, ids=() if done.label is None else (done.label,))
            back = Done(says=tr("taken back"))
            for item in self._items("forget", params):
                if item.get("outcome") != FORGOTTEN:
                    back = Done(refused=str(item["says"]))
        elif done.held is not None:
            (item,) = self._items("release", ReleaseParams(files=(_named(done.held),)))
            back = Done(says=str(item["says"])) if item["outcome"] == "released" else Done(refused=str(item["says"]))
        else:
            back = Done(says=tr("taken back"))
        if back.refused is None and done.judged is not None:
            self._audits.judge(*done.judged, None)
        return Done(says=back.says, refused=back.refused, image=done.image)

    def _items(self, method: str, params: Params) -> list[Item]:
        """Carry out an operation; returns what it says of each image. Raises `UserError`."""
        return [item for item in self._place.operate(method, params) if item]


def _images(decisions: Sequence[Decision]) -> list[FiledImage]:
    return [
        FiledImage(id=decision.id, version=decision.version)
        for decision in decisions
        if not isinstance(decision, TakeBackDecision | LearntDecision)
    ]


def _relabelled(image: int, item: Mapping[str, object] | None) -> Done:
    if item is None:
        return Done(refused=tr("there is no such image"), image=image)
    says = str(item["says"])
    filing, destination = item["filing"], item["destination"]
    if item["outcome"] == Status.FILED and isinstance(filing, int):
        return Done(says=says, image=image, filing=filing)
    if item["outcome"] == CONFIRMED and isinstance(filing, int) and filing != image:
        return Done(says=says, image=image, filing=filing)  # an earlier try was cut off, or another page was quicker
    if item["outcome"] == CONFIRMED and isinstance(destination, str):
        return Done(says=says, image=image, labelled=Path(destination))
    return Done(refused=says, image=image)


def _back(image: int, item: Mapping[str, object] | None) -> Done:
    if item is None:
        return Done(refused=tr("there is no such image, or it was taken back already"), image=image)
    says, back = str(item["says"]), item["back"]
    if item["outcome"] not in (Status.UNDONE, Status.ALREADY):
        return Done(refused=says, image=image)
    return Done(says=tr("taken back"), image=image, held=Path(back) if item["held"] and isinstance(back, str) else None)


def _named(path: Path) -> GivenName:
    return GivenName(name=str(path), path=str(path))
