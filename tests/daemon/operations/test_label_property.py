"""Whatever people do one after another: an image has the label of the last act that holds, and no other."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.config import Settings
from daemon.files.roots import Roots
from daemon.filing.held import HeldImages
from daemon.operations.desk import Desk, Item
from daemon.operations.labels import ForgetParams, forget_labels
from daemon.operations.relabel import RelabelParams, relabel
from daemon.operations.selection import GivenName
from daemon.operations.undo import UndoParams, undo
from tests.filing_desk import make_desk

CLASSES = ("cat", "dog", "others")
IMAGES = ("a.jpg", "b.jpg", "c.jpg")
some_image, some_class = st.sampled_from(IMAGES), st.sampled_from(CLASSES)


class People(RuleBasedStateMachine):
    """Images that are relabelled, brought back and forgotten; ``acts`` is what was done with each, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.desk = make_desk(Path(self.folder.name))
        for name in IMAGES:
            self.desk.file_one(self.desk.put(name, name.encode()), "cat", confidence=0.9, model_digest="1" * 64)
        (self.desk.output / "dog").mkdir()
        self.journal = self.desk.journal()
        self.place = dict.fromkeys(IMAGES, "cat")
        self.moves = [(name, "") for name in IMAGES]  # the filings that are done, and where each came from
        self.labels: dict[str, list[tuple[str, int]]] = {name: [] for name in IMAGES}  # and the move of each

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    @property
    def office(self) -> Desk:
        desk = self.desk
        settings = Settings(watch=[desk.inbox], output=desk.output, state_dir=desk.journal_path.parent)
        roots = Roots([desk.inbox, desk.output])
        return Desk(settings=settings, journal=self.journal, roots=roots, held=HeldImages(self.journal))

    def given(self, name: str) -> GivenName:
        return GivenName(name=name, path=f"/nowhere/{name}")

    @rule(name=some_image, to=some_class)
    def relabel(self, name: str, to: str) -> None:
        (item,) = self.run(relabel(self.office, RelabelParams(files=(self.given(name),), to=to)))
        if self.place[name] == "inbox":
            assert item["outcome"] == "not found"
            return
        if self.place[name] == to:
            assert item["outcome"] == "confirmed"
        else:
            assert item["outcome"] == "filed"
            self.moves.append((name, self.place[name]))
            self.place[name] = to
        last_move = max(number for number, (moved, _) in enumerate(self.moves) if moved == name)
        self.labels[name].append((to, last_move))

    @precondition(lambda self: self.moves)
    @rule()
    def undo_the_last(self) -> None:
        name, came_from = self.moves.pop()
        (item,) = self.run(undo(self.office, UndoParams(last=1)))
        assert item["outcome"] == "undone"
        self.place[name] = came_from or "inbox"
        self.labels[name] = [label for label in self.labels[name] if label[1] < len(self.moves)]

    @rule(name=some_image)
    def forget(self, name: str) -> None:
        items = self.run(forget_labels(self.office, ForgetParams(files=(self.given(name),))))
        is_labelled = bool(self.labels[name])
        assert [item["outcome"] for item in items] == ["forgotten" if is_labelled else "not found"]
        self.labels[name] = []

    @invariant()
    def each_image_has_the_label_of_the_last_act(self) -> None:
        known = {label.path.name: label.label or "others" for label in self.journal.labels()}
        assert known == {name: labels[-1][0] for name, labels in self.labels.items() if labels}

    @invariant()
    def each_image_lies_where_it_was_last_brought(self) -> None:
        for name, place in self.place.items():
            folder = self.desk.inbox if place == "inbox" else self.desk.output / place
            assert (folder / name).read_bytes() == name.encode()

    def run(self, operation: object) -> list[Item]:
        return [item for item in operation if item]  # type: ignore[attr-defined]


TestPeople = People.TestCase
TestPeople.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
