"""Name the classes of labels as the model does, and tell which of them can be none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.deciding.class_names import check_class_path, folded, inner_folders_of
from models.deciding.class_tree import ClassTree
from models.errors import CheckpointError
from models.files.markers import first_reserved
from models.text.language import tr


@dataclass(frozen=True)
class NamedClasses:
    """The class of each label that has one, which ones are ``coarse``, and sentences on those that can be no class.

    A coarse one is that of a folder which holds folders of classes: its images may be of any of these.
    """

    by_label: dict[str, str] = field(default_factory=dict)
    coarse: set[str] = field(default_factory=set)
    sentences: list[str] = field(default_factory=list)


def name_classes(labels: Iterable[str], classes: Sequence[str], reserved: Sequence[str]) -> NamedClasses:
    """Name the classes that ``labels`` tell as those in use are, as far as they are the same or lie in the same folder.

    What lies below a class in use belongs to it. ``reserved`` are the names that no class may have.
    """
    named = NamedClasses()
    known = _Spelling(classes)
    for label in sorted(set(labels)):
        try:
            checked = check_class_path(label)
        except CheckpointError as error:
            named.sentences.append(tr("images are left out, since {error}", error=error))
            continue
        if first_reserved([checked], reserved):
            named.sentences.append(
                tr("images of {name} are left out, since a folder for other images has this name", name=checked)
            )
            continue
        named.by_label[label] = known.of(checked)
    tree = ClassTree([*classes, *named.by_label.values()])
    named.coarse.update(label for label, name in named.by_label.items() if tree.is_coarse(name))
    return named


class _Spelling:
    """How classes and the folders they lie in are spelt: as in use, or else as first seen."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = {folded(name): name for name in classes}
        self._paths: dict[str, str] = {}
        for name in classes:
            for path in (*inner_folders_of(name), name):
                self._paths.setdefault(folded(path), path)

    def of(self, name: str) -> str:
        """Return the class that a path means."""
        spelt = ""
        for path in (*inner_folders_of(name), name):
            own = f"{spelt}/{path.rpartition('/')[2]}" if spelt else path
            spelt = self._paths.setdefault(folded(own), own)
            if folded(spelt) in self._classes:
                return spelt
        return spelt
