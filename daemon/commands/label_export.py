"""``python -m daemon labels export``: make a data set of the labelled images, for ``python -m trainer fit``.

The command itself reads the images and writes the data set: a daemon may write nowhere but where it files.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

from daemon.commands.chosen_labels import add_conditions, all_labels, conditions
from daemon.commands.filters import FiledOutput, add_place
from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders, Roots
from daemon.files.source import Identity, SourceChanged
from daemon.filing.class_paths import ClassPaths
from daemon.filing.corrections import Corrections
from daemon.filing.data_set import DataSetFolder, Exported, LabelledFile
from daemon.journal.records import Filing, State
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import shown
from daemon.operations.classes import learnt_classes
from daemon.operations.desk import Item
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.language import tr, trn
from models.text.printable import quoted


def main(arguments: list[str]) -> int:
    """Export labelled images; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options, by_daemon=True)
    start_logging("WARNING", as_json=False)
    labels, result = all_labels(place, conditions(options))
    folders, others = result["folders"], str(result["others"])  # as the daemon has them
    assert isinstance(folders, list)
    ours = list(map(Path, folders))
    with closing(DataSetFolder(options.folder, others, ours, copy=options.copy)) as folder:
        classes = partial(learnt_classes, place.settings)
        export = _Export(ClassPaths(ours[0], classes, other_outputs=place.settings.outputs[1:]), others, folder)
        for item in labels:
            export.add(item)
    if options.json:
        print_json(_record(export, folder))
    else:
        _print(export, folder)
    return EXIT_LEFT_BEHIND if export.failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon labels export",
        description=tr(
            "Make a data set of the labelled images, with a folder for each class, as python -m trainer fit --data-dir "
            "takes it. Nothing is replaced: a second time, only what is not there yet is added. The images stay where "
            "they lie, and the data set gets hard links to them, or copies where there can be no links."
        ),
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help=tr("the data set; it must not lie in an inbox or an output"))
    add("--copy", action="store_true", help=tr("make copies: editing a link would edit the filed image, too"))
    add_conditions(parser)
    add("--json", action="store_true", help=tr("print the result as JSON"))
    add_place(parser)
    return parser


class _Export:
    """Images on their way into a data set, counted by what became of them."""

    def __init__(self, paths: ClassPaths, others: str, folder: DataSetFolder) -> None:
        self._paths, self._others = paths, others
        self._folder = folder
        self._roots = Roots(paths.outputs)
        self._corrections = Corrections(paths.outputs[0], other_outputs=paths.outputs[1:])
        self.exported: Counter[Exported] = Counter()
        self.classes: Counter[str] = Counter()
        self.negatives = 0
        self.gone: list[Path] = []
        self.failed: dict[Path, str] = {}
        self.earlier: list[Path] = []

    def add(self, item: Item) -> None:
        """Export the image of a label."""
        label = None if item["class"] is None else str(item["class"])
        path = Path(str(item["now"] or item["path"]))
        try:
            if self._try(path, item, label):
                return
            found = self._corrections.find(_filing(item))
            if found is None:
                self.gone.append(path)
            elif self._paths.of_image(found) != (label or self._others):
                self.failed[path] = tr("{name} was moved since", name=quoted(str(found)))
            elif not self._try(found, item, label):
                self.gone.append(path)
        except (OSError, SourceChanged) as error:
            self.failed[path] = tr("{name}: {error}", name=quoted(str(path)), error=error)

    def _try(self, path: Path, item: Item, label: str | None) -> bool:
        """Export what lies at a path if it is the image. Raises OSError, SourceChanged."""
        with OpenFolders(self._roots) as folders:
            try:
                entry = folders.entry(path)
                identity = Identity.from_stat(entry.stat())
            except (FileNotFoundError, NotADirectoryError):
                return False
            if not _is_labelled(entry, identity, item):
                return False
            image = LabelledFile(entry=entry, identity=identity, sha256=str(item["sha256"]), label=label)
            self.exported[self._folder.add(image)] += 1
            self.earlier += self._folder.earlier(image)
        if label is None:
            self.negatives += 1
        else:
            self.classes[label] += 1
        return True


def _is_labelled(entry: FileAt, identity: Identity, item: Item) -> bool:
    if identity.on_any_device == (item["inode"], item["size"], item["mtime_ns"]):
        return True
    return identity.size == item["size"] and sha256_of(entry) == item["sha256"]


def _filing(item: Item) -> Filing:
    """Describe an image as if it had been filed where it was labelled, so that it is found elsewhere."""
    path = Path(str(item["path"]))
    numbers = [item[key] for key in ("inode", "size", "mtime_ns")]
    return Filing(
        state=State.DONE,
        action="move",
        source=path,
        identity=Identity(0, *(int(str(number)) for number in numbers)),
        sha256=str(item["sha256"]),
        folder=path.parent,
        filed_name=path.name,
    )


def _print(export: _Export, folder: DataSetFolder) -> None:
    for why in export.failed.values():
        print(tr("not done: {sentence}", sentence=why))
    for path in export.earlier:
        name = quoted(str(path))
        print(tr("{name} is from an earlier export, and the image has another label now: delete it", name=name))
    exported = export.exported
    print(
        tr(
            "{folder}: images: {count}, classes: {classes} ({linked} linked, {copied} copied, {there} there already)",
            folder=folder.path,
            count=exported.total(),
            classes=len(export.classes),
            linked=exported[Exported.LINKED],
            copied=exported[Exported.COPIED],
            there=exported[Exported.THERE],
        )
    )
    if export.negatives:
        print(
            trn(
                "{count} of them is of none of the classes: it lies in {others}, and fit leaves it out",
                "{count} of them are of none of the classes: they lie in {others}, and fit leaves them out",
                export.negatives,
                others=shown(folder.others),
            )
        )
    if export.gone:
        print(tr("labelled images that were not found, or were edited since: {count}", count=len(export.gone)))
    if any("/" in name for name in export.classes):
        print(
            tr(
                "To learn from them, copy these folders into the data set that you fit on: a model has only the "
                "classes of its data set. If there is no other: python -m trainer fit --nested --data-dir {folder}",
                folder=quoted(str(folder.path)),
            )
        )
    elif export.classes:
        print(
            tr(
                "To learn from them, copy these folders into the data set that you fit on: a model has only the "
                "classes of its data set. If there is no other: python -m trainer fit --data-dir {folder}",
                folder=quoted(str(folder.path)),
            )
        )


def _record(export: _Export, folder: DataSetFolder) -> dict[str, object]:
    return {
        "folder": str(folder.path),
        "classes": dict(sorted(export.classes.items())),
        "negatives": export.negatives,
        **{kind.name.lower(): export.exported[kind] for kind in Exported},
        "gone": [str(path) for path in export.gone],
        "failed": {str(path): why for path, why in export.failed.items()},
        "earlier": [str(path) for path in export.earlier],
    }
