from __future__ import annotations

from daemon.watching.handled import Handled
from daemon.watching.settle import Signature

S1, S2 = Signature(1, 1, 1), Signature(1, 2, 1)


def test_a_file_is_known_in_the_state_it_was_dealt_with() -> None:
    handled = Handled()
    handled.add("/a.jpg", S1)
    assert handled.meet("/a.jpg", S1)
    assert not handled.meet("/a.jpg", S2)
    assert not handled.meet("/b.jpg", S1)


def test_what_walks_keep_meeting_is_kept() -> None:
    handled = Handled()
    handled.add("/a.jpg", S1)
    for _ in range(5):
        handled.turn()
        assert handled.meet("/a.jpg", S1)
    assert len(handled) == 1


def test_what_a_whole_walk_did_not_meet_is_forgotten() -> None:
    handled = Handled()
    handled.add("/a.jpg", S1)  # perhaps behind the walk that is under way
    handled.turn()
    assert len(handled) == 1
    handled.turn()
    assert len(handled) == 0
    assert not handled.meet("/a.jpg", S1)
