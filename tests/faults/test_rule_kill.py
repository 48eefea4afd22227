"""Kill the program while it files a batch of which one image goes to an output of its class, by a layout."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.config.class_rules import ClassRule, ClassRules, Handling
from daemon.files.output_marks import OutputMarks
from daemon.filing.filer import Filer
from tests.faults.scenario import Scenario
from tests.faults.test_kill import all_points, kill_and_check, sample
from tests.faults.tracer import need_strace
from tests.filing_desk import Desk, far_folder, images

pytestmark = pytest.mark.timeout(2 * 3600)

#: As `Scenario` has it, the class of the large image is one in this folder.
_CLASS = "animals/cats"


@dataclass
class TwoOutputs(Desk):
    """A desk whose images may lie in another output, too."""

    own: Path = field(kw_only=True)

    @property
    def rules(self) -> ClassRules:
        return ClassRules(
            Handling(output=self.output), {_CLASS: ClassRule(output=self.own, layout="{class}/{inbox}/{stem}")}
        )

    def contents(self) -> Counter[bytes]:
        return super().contents() + Counter(path.read_bytes() for path in images(self.own))

    def filed(self) -> dict[str, bytes]:
        return super().filed() | {f"own {path.relative_to(self.own)}": path.read_bytes() for path in images(self.own)}


@dataclass
class RuleScenario(Scenario):
    """The large image is of a class with another output, in the folder ``elsewhere``."""

    elsewhere: Path = field(kw_only=True)

    def prepare(self) -> None:
        super().prepare()
        own = Path(tempfile.mkdtemp(dir=self.elsewhere)) / "own"
        desk = self.desk
        self.desk = TwoOutputs(desk.inbox, desk.output, desk.journal_path, own=own)

    def work(self) -> None:
        desk = self.desk
        assert isinstance(desk, TwoOutputs)
        journal = desk.journal()
        marks = OutputMarks(desk.rules.outputs, desk.journal_path.parent)
        decisions = [
            desk.decide(path, self._folder_of(path.name)) for path in images(desk.inbox) if path.suffix == ".jpg"
        ]
        try:
            Filer(desk.output, journal=journal, rules=desk.rules, mark=marks).file(decisions)
        finally:
            marks.release()
            journal.close()

    def check_after_recovery(self) -> None:
        super().check_after_recovery()
        assert isinstance(self.desk, TwoOutputs)
        assert [path for path in images(self.desk.own) if path.name[0] == "."] == []

    def check_to_the_end(self) -> None:
        super().check_to_the_end()
        large = [name for name in self.desk.filed() if name.startswith("own ")]
        assert f"own {_CLASS}/wild/lion/inbox/large/large.jpg" in large


@pytest.fixture(params=["the main output is far", "that of the class is far"])
def scenario(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuleScenario]:
    need_strace()
    with far_folder() as quick:
        if request.param == "the main output is far":
            yield RuleScenario(quick, tmp_path, folder="animals/cat", elsewhere=quick)
        else:
            yield RuleScenario(quick, None, folder="animals/cat", elsewhere=tmp_path)


def test_a_kill_loses_nothing(scenario: RuleScenario, tmp_path: Path) -> None:
    population = all_points(scenario, tmp_path / "trace")
    assert len(population) > 50
    for point in sample(population, 4):
        kill_and_check(scenario, point)


@pytest.mark.slow
def test_a_kill_at_every_call_loses_nothing(scenario: RuleScenario, tmp_path: Path) -> None:
    population = all_points(scenario, tmp_path / "trace")
    for point in population:
        kill_and_check(scenario, point)
    print(f"{len(population)} kill points")
