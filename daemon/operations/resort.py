"""Move filed images to where another checkpoint files them: what a command has planned, a few at a time.

The command decodes and classifies by itself, so that a daemon neither loads a second model nor waits for one. It hands
over the moves in small lots, and each image is looked at again before it moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from daemon.config import Settings
from daemon.files.roots import OpenFolders
from daemon.files.source import Identity, Source
from daemon.filing.filer import Filer, FilingRequest, FilingResult
from daemon.filing.identity import is_as_filed
from daemon.filing.status import Status, describe
from daemon.filing.whereabouts import origin_of
from daemon.journal.history import Wanted
from daemon.journal.labels import WantedLabels
from daemon.journal.records import Filing, State
from daemon.operations.desk import Desk, Item, Operation, Params, explaining_a_busy_journal
from daemon.operations.moving import RUN_PATTERN, log_move, make_filer
from models.deciding.class_names import check_class_path
from models.deciding.rule import Fate
from models.errors import UserError
from models.text.language import tr

#: What became of an image that was to move and stays, beside the `Status` of the others.
LABELLED = "labelled otherwise"
#: The most moves of a lot: as many as a line of the protocol has room for.
MOST_MOVES = 1000


class ResortMove(Params):
    """An image that is to move: its ``filing``, the class that it is taken for now, and how surely.

    ``is_rolled_up``: it is only known to be of a class in that folder.
    """

    filing: int
    label: str
    confidence: float = Field(ge=0, le=1)
    is_rolled_up: bool = False


class ResortParams(Params):
    """A lot of a resort; ``run`` is the name that all lots of it have in common, ``digest`` is the checkpoint's."""

    moves: tuple[ResortMove, ...] = Field(max_length=MOST_MOVES, strict=False)
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    run: str = Field(pattern=RUN_PATTERN)


def resort(desk: Desk, params: ResortParams) -> Operation:
    """Move images that lie as they were filed, and that no person has labelled otherwise; yield an item for each.

    Raises `UserError`.
    """
    for label in {move.label for move in params.moves}:
        _check(label, desk.settings)
    filer = make_filer(desk, run=params.run)
    with explaining_a_busy_journal():
        desk.recover()
        for start in range(0, len(params.moves), desk.step):
            desk.begin_step()
            yield from _move(desk, filer, params.moves[start : start + desk.step], params.digest)
    return {"run": params.run}


def _check(label: str, settings: Settings) -> None:
    reserved = {name.casefold() for name in settings.other_folders}
    if check_class_path(label).partition("/")[0].casefold() in reserved:
        raise UserError(tr("the folder {label} is for other images, and not for a class", label=label))


def _move(desk: Desk, filer: Filer, moves: Sequence[ResortMove], digest: str) -> Iterator[Item]:
    ids = [move.filing for move in moves]
    filings = {filing.id: filing for filing in desk.journal.history(Wanted(ids=ids, states=[State.DONE]))}
    hashes = [filing.sha256 for filing in filings.values() if filing.sha256 is not None]
    labels = {label.sha256: label.label for label in desk.journal.labels(WantedLabels(sha256=hashes))}
    requests: dict[int, FilingRequest] = {}
    for move in moves:
        filing = filings.get(move.filing)
        source = None if filing is None else _source(desk, filing)
        if filing is None or source is None:
            yield _item(move, Status.GONE)
        elif labels.get(source.sha256 or "", move.label) != move.label:
            yield _item(move, LABELLED)
        else:
            requests[move.filing] = FilingRequest(
                source=source,
                folder=move.label,
                fate=Fate.ROLLED_UP if move.is_rolled_up else Fate.SURE,
                label=move.label,
                origin=origin_of(filing, desk.outputs, desk.journal.history),
                confidence=move.confidence,
                model_digest=digest,
                action="tag" if filing.action == "tag" else None,
                again=filing.action == "tag",
            )
    results = dict(zip(requests, filer.file(list(requests.values())), strict=True))
    for move in moves:
        if (result := results.get(move.filing)) is not None:
            if result.destination is not None and result.row.action != "tag":
                log_move(desk, result.request.source.path, result.destination)
            yield _item(move, result.status, result)


def _source(desk: Desk, filing: Filing) -> Source | None:
    """Find the image of a filing where it was filed, as it was; None if it is not there."""
    if filing.place is None or filing.reason is not None or filing.duplicate_of is not None:
        return None
    try:
        with OpenFolders(desk.roots) as folders:
            entry = folders.entry(filing.place)
            identity = Identity.from_stat(entry.stat())
            is_there = is_as_filed(entry, filing)
    except OSError:
        return None
    return Source(filing.place, identity, filing.sha256) if is_there else None


def _item(move: ResortMove, outcome: str, result: FilingResult | None = None) -> Item:
    destination = None if result is None else result.destination
    error = None if result is None or destination is not None else result.error or describe(result.status)
    return {
        "filing": move.filing,
        "outcome": str(outcome),
        "destination": None if destination is None else str(destination),
        "error": error,
    }
