from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.files.candidates import is_candidate, is_temporary_name
from daemon.watching.settle import Settler, Signature

SETTLE = 2.0
PATIENCE = 30.0
P = "/inbox/a.jpg"
S1, S2 = Signature(10, 1, 5), Signature(20, 2, 5)
PAST, FUTURE = Signature(10, -1), Signature(10, 2**62)
EMPTY = Signature(0, 1, 5)


@pytest.fixture
def settler() -> Settler:
    return Settler(SETTLE, patience_seconds=PATIENCE, limit=3)


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg", "A.JPG", "b.jpeg", "c.png", "d.webp", "e.heic", "f.tiff", "g.gif", "h.bmp", "i.avif",
        "with space.jpg", "new\nline.png", "-rf.jpg", "caf\udce9.jpg", "part.jpg", "~tilde.jpg",
    ],
)  # fmt: skip
def test_image_names_are_candidates(name: str) -> None:
    assert is_candidate(name)


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg", ".a.jpg.Xy3Zq9", ".~lock.a.jpg#", "~$a.jpg", "a.jpg.part", "a.jpg.partial", "a.jpg.crdownload",
        "a.jpg.download", "a.jpg.tmp", "a.jpg.TMP", "a.jpg.filepart", "a.jpg.!ut", ".imagesortd", "notes.txt", "jpg",
        "",
    ],
)  # fmt: skip
def test_unfinished_and_other_names_are_not(name: str) -> None:
    assert not is_candidate(name)


@pytest.mark.parametrize("name", [".rsync-partial", "album.part", "Photos.download", "~$x"])
def test_folders_have_unfinished_names_too(name: str) -> None:
    assert is_temporary_name(name)
    assert not is_temporary_name("album")


# What happens when (seconds): "met" by a walk, "hint" (created), "closed", "idle" (nothing is due), "look" -> stable?
Step = tuple[float, str] | tuple[float, str, Signature] | tuple[float, str, Signature | None, bool]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(0, "met", S1), (1.9, "idle"), (2, "look", S1, True)], id="quiet for 2 s"),
        pytest.param(
            [(0, "met", S1), (2, "look", S2, False), (3.9, "idle"), (4, "look", S2, True)],
            id="a slow writer starts the wait anew",
        ),
        pytest.param([(0, "closed"), (0, "look", S1, True)], id="closed needs no wait"),
        pytest.param([(0, "closed"), (0, "met", S1), (0, "look", S1, True)], id="nor when a walk meets it as well"),
        pytest.param([(0, "hint"), (0, "look", S1, False), (2, "look", S1, True)], id="created alone waits"),
        pytest.param(
            [(0, "hint"), (0, "look", S1, False), (0.5, "closed"), (0.5, "look", S2, True)],
            id="closed cuts the wait short",
        ),
        pytest.param(
            [(0, "met", S1), (1, "met", S2), (2, "idle"), (3, "look", S2, True)],
            id="a walk that sees it changed starts the wait anew",
        ),
        pytest.param(
            [(0, "met", S1), (1, "met", S1), (2, "look", S1, True)],
            id="a walk that sees it unchanged does not",
        ),
        pytest.param(
            [(0, "closed"), (0, "look", EMPTY, False), (2, "look", EMPTY, True)],
            id="closed while empty does not count",
        ),
        pytest.param([(0, "met", S1), (2, "look", None, False), (9, "idle")], id="gone is forgotten"),
        pytest.param(
            [(0, "met", PAST), (2, "look", FUTURE, False), (4, "look", FUTURE, True)],
            id="time stamps in the past or future are only compared",
        ),
        pytest.param(
            [(0, "met", S1), (2, "look", S1._replace(inode=6), False), (4, "look", S1._replace(inode=6), True)],
            id="another file of that name is a change",
        ),
    ],
)  # fmt: skip
def test_decisions(settler: Settler, steps: list[Step]) -> None:
    for now, what, *rest in steps:
        signature = rest[0] if rest else None
        assert signature is None or isinstance(signature, Signature)
        if what == "met":
            assert signature is not None
            assert settler.offer(P, signature, now)
        elif what in ("hint", "closed"):
            assert settler.hint(P, now, close_seen=what == "closed")
        elif what == "idle":
            assert settler.next_due_path(now) is None
        else:
            assert settler.next_due_path(now) == P
            assert settler.examine(P, signature, now) is rest[1]
    if steps[-1][1] == "look":
        assert settler.in_flight == steps[-1][-1]


def hand_out(settler: Settler, now: float, signature: Signature = S1) -> None:
    settler.hint(P, now, close_seen=True)
    assert settler.next_due_path(now) == P
    assert settler.examine(P, signature, now)


def test_a_file_is_handed_out_once_however_many_events_name_it(settler: Settler) -> None:
    hand_out(settler, 0)
    assert settler.offer(P, S2, 1)
    assert settler.hint(P, 1, close_seen=True)
    assert settler.next_due_path(100) is None
    assert (settler.waiting, settler.in_flight) == (0, 1)


def test_done_tells_what_was_handed_out_and_forgets(settler: Settler) -> None:
    hand_out(settler, 0)
    assert settler.done(P) == S1
    assert settler.done(P) is None
    assert (settler.waiting, settler.in_flight) == (0, 0)


def test_again_comes_after_its_delay(settler: Settler) -> None:
    hand_out(settler, 0)
    settler.again(P, 10, now=1)
    assert settler.next_due() == 11
    assert settler.next_due_path(10.9) is None
    assert settler.next_due_path(11) == P
    assert settler.examine(P, S1, 11)


def test_an_event_does_not_shorten_again_unless_the_file_changed(settler: Settler) -> None:
    hand_out(settler, 0)
    settler.again(P, 10, now=0)
    settler.hint(P, 1, close_seen=True)
    assert not settler.examine(P, S1, 1)
    assert settler.next_due_path(9.9) is None
    settler.hint(P, 9.9, close_seen=True)
    assert settler.examine(P, S2, 9.9)


def test_patience_with_a_file_that_ends_early_grows_and_ends(settler: Settler) -> None:
    hand_out(settler, 0)
    looks = []
    now = 0.0
    while settler.ends_early(P, S1, now):
        due = settler.next_due()
        assert due is not None
        now = due
        looks.append(now)
        assert settler.next_due_path(now) == P
        assert settler.examine(P, S1, now)
    assert looks == [2, 6, 14, 30]
    assert settler.in_flight == 1
    assert settler.done(P) == S1


def test_patience_begins_anew_when_the_file_grows(settler: Settler) -> None:
    hand_out(settler, 0)
    assert settler.ends_early(P, S1, 29)
    assert not settler.examine(P, S2, 30)
    assert settler.examine(P, S2, 32)
    assert settler.ends_early(P, S2, 59)
    assert settler.examine(P, S2, 60)
    assert not settler.ends_early(P, S2, 60)
    assert settler.ends_early(P, S1, 60), "it has just changed"
    assert settler.next_due_path(61.9) is None
    assert settler.examine(P, S1, 62)
    assert settler.ends_early(P, None, 99)
    assert (settler.waiting, settler.in_flight) == (0, 0), "gone is forgotten"


def test_answers_for_a_path_that_is_not_in_flight_change_nothing(settler: Settler) -> None:
    settler.again(P, 1, now=0)
    assert settler.ends_early(P, S1, 0)
    assert settler.done(P) is None
    assert (settler.waiting, settler.in_flight, settler.next_due()) == (0, 0, None)


def test_room_is_limited_and_comes_back(settler: Settler) -> None:
    assert [settler.offer(f"/{n}.jpg", S1, 0) for n in range(4)] == [True, True, True, False]
    assert settler.offer("/0.jpg", S2, 1), "a known one needs no room"
    settler.examine("/1.jpg", None, 1)
    assert settler.offer("/4.jpg", S1, 1)
    assert settler.waiting == 3


def test_files_put_back_take_no_room_from_others(settler: Settler) -> None:
    for number in range(4):
        path = f"/{number}.jpg"
        assert settler.hint(path, 0, close_seen=True)
        assert settler.examine(path, S1, 0)
        settler.again(path, 100, 0)
    assert (settler.waiting, settler.active) == (3, 0), "the fourth is left to the next walk"
    assert [settler.offer(f"/new {n}.jpg", S1, 1) for n in range(4)] == [True, True, True, False]
    assert not settler.examine("/0.jpg", S2, 1)
    assert (settler.waiting, settler.active) == (6, 4)
    assert settler.examine("/0.jpg", S2, 3)
    settler.examine("/1.jpg", None, 1)
    assert (settler.waiting, settler.active) == (4, 3)


def test_the_oldest_counts_from_first_sight(settler: Settler) -> None:
    assert settler.oldest(5) == 0
    settler.offer(P, S1, 1)
    settler.examine(P, S2, 3)
    assert settler.oldest(5) == 4
    settler.examine(P, S2, 5)
    settler.again(P, 10, 6)
    assert settler.oldest(9) == 8


def test_those_due_first_come_first(settler: Settler) -> None:
    settler.offer("/late.jpg", S1, 1)
    settler.offer("/early.jpg", S1, 0.5)
    assert settler.next_due_path(9) == "/early.jpg"
    settler.hint("/late.jpg", 1, close_seen=True)
    assert settler.next_due_path(1) == "/late.jpg"


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_settle_time_of_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="settle_seconds"):
        Settler(seconds)


class World(RuleBasedStateMachine):
    """Writers that write when they like, a walk and events that tell of it or not, a work loop that answers."""

    paths = [f"/{n}.jpg" for n in range(4)]  # noqa: RUF012 - a constant of the test

    @initialize()
    def begin(self) -> None:
        self.settler = Settler(SETTLE, patience_seconds=PATIENCE, limit=3)
        self.now = 0.0
        self.states = 0
        self.files: dict[str, Signature] = {}
        self.changed: dict[str, float] = {}
        self.closed: set[str] = set()  # named by a closed event since it was looked at
        self.out: set[str] = set()

    @rule(seconds=st.floats(0.001, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(path=st.sampled_from(paths), size=st.integers(0, 3), mtime=st.integers(-5, 5))
    def write(self, path: str, size: int, mtime: int) -> None:
        self.states += 1
        self.files[path] = Signature(size, mtime, inode=self.states)  # no two states are alike
        self.changed[path] = self.now

    @rule(path=st.sampled_from(paths))
    def delete(self, path: str) -> None:
        self.files.pop(path, None)

    @rule(path=st.sampled_from(paths), close_seen=st.booleans())
    def event(self, path: str, close_seen: bool) -> None:
        if self.settler.hint(path, self.now, close_seen=close_seen) and close_seen and path not in self.out:
            self.closed.add(path)

    @rule()
    def walk(self) -> None:
        for path, signature in self.files.items():
            self.settler.offer(path, signature, self.now)

    @rule()
    def hand_out(self) -> None:
        while (path := self.settler.next_due_path(self.now)) is not None:
            signature = self.files.get(path)
            if self.settler.examine(path, signature, self.now):
                assert path not in self.out, "handed out twice"
                assert signature is not None
                quiet = self.now - self.changed[path]
                assert quiet >= SETTLE - 1e-6 or (path in self.closed and signature.size > 0)
                self.out.add(path)
            self.closed.discard(path)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), answer=st.sampled_from(["done", "again", "ends early"]), delay=st.floats(0, 20))
    def answer(self, data: st.DataObject, answer: str, delay: float) -> None:
        path = data.draw(st.sampled_from(sorted(self.out)))
        if answer == "done":
            self.settler.done(path)
        elif answer == "again":
            self.settler.again(path, delay, self.now)
        elif not self.settler.ends_early(path, self.files.get(path), self.now):
            assert self.now - self.changed[path] >= PATIENCE - 1e-6
            return
        self.out.discard(path)

    @invariant()
    def counts_agree(self) -> None:
        assert self.settler.in_flight == len(self.out)
        assert 0 <= self.settler.active <= self.settler.waiting
        assert self.settler.active <= 3 + len(self.paths)  # a file that changes while postponed is active at once
        assert (self.settler.next_due() is None) == (self.settler.waiting == 0)

    def teardown(self) -> None:
        """When all writers rest, every file is handed out within a walk, the longest hold and a settle time."""
        for path in sorted(self.out):
            self.settler.done(path)
        left = set(self.files)
        for _ in range(10):
            self.out.clear()
            for path in left:
                self.settler.offer(path, self.files[path], self.now)
            self.hand_out()
            self.now += 40
            self.hand_out()
            left -= self.out
            for path in self.out:
                self.settler.done(path)
        assert not left


World.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
