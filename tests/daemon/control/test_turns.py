"""Operations on the work loop: slices, turns and ends."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from loguru import logger

from daemon.control import protocol
from daemon.control.calls import Call
from daemon.control.protocol import Request
from daemon.control.turns import Turns, Work
from daemon.journal.journal import JournalBusy
from daemon.monitoring.logs import start_logging
from daemon.operations.desk import Operation
from models.errors import UserError
from models.text.language import Language, in_use, speaking, tr, trn, use


@dataclass
class Told:
    """What a peer is told."""

    lines: list[dict[str, object]] = field(default_factory=list)
    is_full: bool = False

    def put(self, line: bytes) -> None:
        self.lines.append(protocol.decode(line[:-1]))

    def has_room(self) -> bool:
        return not self.is_full

    @property
    def numbers(self) -> list[object]:
        return [line["item"] for line in self.lines if "item" in line]

    @property
    def sentence(self) -> str:
        error = self.lines[-1]["error"]
        assert isinstance(error, dict)
        return str(error["sentence"])

    @property
    def exit_code(self) -> object:
        error = self.lines[-1]["error"]
        assert isinstance(error, dict)
        return error["exit"]


@dataclass
class Stage:
    """Turns whose operations take a second a step, by a clock of the test's own."""

    turns: Turns = field(init=False)
    now: float = 0.0
    steps: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    woken: int = 0
    away: str | None = None
    between_steps: bool = False
    on_report: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.turns = Turns(self.begin, self.wake, self.at_work, lambda: self.on_report(), clock=lambda: self.now)

    def wake(self) -> None:
        self.woken += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        if self.away is not None:
            raise UserError(self.away)
        yield

    def begin(self, call: Call) -> Work:
        return Work(self.operation(call.request.method), between_steps=self.between_steps)

    def operation(self, name: str) -> Operation:
        try:
            for number in range(3):
                self.now += 1
                self.steps.append(name)
                if name == "bug":
                    raise ZeroDivisionError
                if name == "busy":
                    raise JournalBusy("locked")
                if name == "disk":
                    raise OSError(28, "No space left on device")
                yield {"n": number}
            return {"name": name}
        finally:
            self.closed.append(name)

    def call(self, name: str) -> tuple[Call, Told]:
        told = Told()
        call = Call(Request(7, name, {}), "en", told)
        self.turns.add(call)
        return call, told

    def run(self, seconds: float = 100.0, *, idle: bool = True, in_step: bool = False, stopping: bool = False) -> None:
        self.turns.run(lambda: stopping, idle=idle, in_step=in_step, seconds=seconds)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_call_wakes_the_work_loop_and_is_answered(stage: Stage) -> None:
    call, told = stage.call("a")
    assert stage.woken == 1
    assert stage.turns.is_due
    stage.run()
    assert told.lines == [
        *({"id": 7, "item": {"n": number}} for number in range(3)),
        {"id": 7, "result": {"name": "a"}},
    ]
    assert call.is_over
    assert not stage.turns.is_due


def test_what_was_done_is_reported_before_the_answer_in_the_language_of_the_daemon(stage: Stage) -> None:
    told, reported = Told(), []
    stage.on_report = lambda: reported.append((len(told.lines), in_use()))
    stage.turns.add(Call(Request(1, "a", {}), "ko", told))
    stage.run()
    assert reported == [(3, "en")]
    assert len(told.lines) == 4


def test_what_was_done_before_an_error_is_reported_before_it_is_said(stage: Stage) -> None:
    _, told = stage.call("a")
    reported = []
    stage.on_report = lambda: reported.append(len(told.lines))
    stage.run(seconds=1)
    stage.away = "the drive is gone"
    stage.run()
    assert reported == [1]
    assert len(told.lines) == 2


def test_peers_take_turns_a_step_each(stage: Stage) -> None:
    for name in "abc":
        stage.call(name)
    stage.run(seconds=4)
    assert stage.steps == ["a", "b", "c", "a"]


def test_a_slice_ends_after_its_time_and_images_get_as_long(stage: Stage) -> None:
    stage.call("a")
    stage.run(seconds=2, idle=False)
    assert stage.steps == ["a", "a"]
    stage.now += 1
    stage.run(seconds=2, idle=False)
    assert len(stage.steps) == 2
    stage.run(seconds=2, idle=True)  # no image waits
    assert len(stage.steps) == 3


def test_a_slice_that_took_very_long_does_not_keep_operations_out_for_as_long(stage: Stage) -> None:
    stage.call("a")
    stage.run(seconds=0.1, idle=False)
    stage.now += 0.2
    stage.run(seconds=0.1, idle=False)
    assert len(stage.steps) == 2


def test_an_operation_whose_peer_has_gone_is_closed_between_steps(stage: Stage) -> None:
    call, told = stage.call("a")
    stage.run(seconds=1)
    call.is_lost = True
    assert stage.turns.is_due
    stage.run()
    assert stage.closed == ["a"]
    assert (len(stage.steps), told.numbers) == (1, [{"n": 0}])
    assert not stage.turns.is_due


def test_a_peer_that_does_not_read_holds_up_nobody(stage: Stage) -> None:
    _, slow = stage.call("slow")
    _, quick = stage.call("quick")
    slow.is_full = True
    stage.run()
    assert "result" in quick.lines[-1]
    assert not stage.turns.is_due  # or else the work loop would turn and turn
    slow.is_full = False
    stage.turns.look()
    assert stage.woken == 3
    stage.run()
    assert "result" in slow.lines[-1]


@pytest.mark.parametrize("name", ["bug", "busy", "disk"])
def test_an_operation_that_fails_costs_only_itself(stage: Stage, name: str) -> None:
    _, bad = stage.call(name)
    _, good = stage.call("good")
    stage.run()
    assert bad.sentence
    assert bad.exit_code in (1, 2)
    assert "result" in good.lines[-1]
    assert stage.closed == [name, "good"]


def test_an_item_that_is_no_json_is_a_fault_of_ours(stage: Stage) -> None:
    told = Told()

    def begin(call: Call) -> Work:
        def operation() -> Operation:
            yield {"path": object()}
            return {}

        return Work(operation())

    turns = Turns(begin, lambda: None)
    turns.add(Call(Request(1, "a", {}), "en", told))
    turns.run(lambda: False, idle=True)
    assert told.exit_code == 1


def test_where_the_folders_are_away_a_call_is_told_at_once(stage: Stage) -> None:
    stage.away = "the drive is gone"
    _, told = stage.call("a")
    stage.run()
    assert (told.sentence, told.exit_code, stage.steps) == ("the drive is gone", 2, [])


def test_folders_that_go_in_the_middle_end_the_operation_between_steps(stage: Stage) -> None:
    _, told = stage.call("a")
    stage.run(seconds=1)
    stage.away = "the drive is gone"
    stage.run()
    assert told.sentence == "the drive is gone"
    assert stage.closed == ["a"]


def test_what_changes_the_settings_waits_for_the_end_of_a_step(stage: Stage) -> None:
    stage.between_steps = True
    stage.call("a")
    stage.run(in_step=True)
    assert stage.steps == []
    assert stage.turns.is_due
    stage.run()
    assert stage.steps == ["a"] * 3


def test_at_the_end_an_operation_ends_between_steps_and_its_peer_is_told(stage: Stage) -> None:
    _, told = stage.call("a")
    stage.run(seconds=1)
    _, waiting = stage.call("b")
    stage.run(stopping=True)
    assert len(stage.steps) == 1
    stage.turns.close()
    _, late = stage.call("c")
    for peer in (told, waiting, late):
        assert (peer.sentence, peer.exit_code) == (
            "the daemon is stopping: run the same command again for what is left",
            3,
        )
    assert stage.closed == ["a"]


def test_it_is_answered_in_the_language_of_the_peer(stage: Stage) -> None:
    told = Told()
    stage.turns.add(Call(Request(1, "disk", {}), "ko", told))
    stage.run()
    assert "공간" in told.sentence


def test_a_call_is_over_only_once_its_answer_is_handed_over() -> None:
    """Or else the server closes the connection of a peer that has sent all, before the answer is there."""
    seen: list[bool] = []

    class Watching(Told):
        def put(self, line: bytes) -> None:
            seen.append(call.is_over)

    call = Call(Request(1, "a", {}), "en", Watching())
    call.result({})
    assert (seen, call.is_over) == ([False], True)


@pytest.mark.parametrize(("own", "peer"), [("en", "ko"), ("ko", "en"), ("ko", "ko")])
def test_what_is_logged_meanwhile_is_in_the_language_of_the_daemon(
    stage: Stage, own: Language, peer: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the log takes up what the client is told, as a whole or as a part."""
    monkeypatch.setenv("LANGUAGE", "")
    use(own)
    start_logging("WARNING", as_json=False)
    logged: list[str] = []
    sink = logger.add(lambda message: logged.append(message.record["message"]), level="INFO")

    def say() -> tuple[str, str, str, str]:
        sentence = tr("no image is held")
        error = UserError(tr("'{name}' has no label", name="a.jpg"))
        disk = OSError(errno.ENOSPC, tr("No space left on device"), "a.jpg")
        return (
            sentence,
            tr("not done: {sentence}", sentence=trn("1 image is held", "{count} images are held", 1)),
            tr("the settings in use stay: {error}", error=error),
            tr("the settings in use stay: {error}", error=disk),
        )

    def operation() -> Operation:
        sentences = say()
        for sentence in sentences:
            logger.info("{}", sentence)
            logger.warning(sentence)
        yield {"says": sentences}
        return {}

    try:
        monkeypatch.setattr(stage, "operation", lambda _: operation())
        told = Told()
        stage.turns.add(Call(Request(1, "a", {}), peer, told))
        stage.run()
        assert logged == [line for sentence in say() for line in (sentence, sentence)]
        with speaking(peer):
            assert told.numbers == [{"says": [*say()]}]
    finally:
        logger.remove(sink)
        use("en")
