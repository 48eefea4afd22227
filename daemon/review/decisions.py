"""Carry out what people decide, in their order, through the control socket or in this process.

A decision is answered at once and carried out by a thread. While a daemon restarts they wait here, and are carried out
afterwards; a decision that is sent again is not done again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from loguru import logger

from daemon.review.api import Decision, DecisionState, LabelDecision
from daemon.review.carrying_out import CarryingOut, Done
from daemon.review.place import GRACE_SECONDS
from daemon.review.refusals import Refusal
from models.errors import UserError
from models.text.language import tr

#: Decisions that are remembered, so that one that is sent again is known; and images decided last, for other pages.
MOST_KNOWN = 20_000
#: Decisions that go into one call, at most, and the longest pause until a failed one is tried again.
_AT_ONCE, _LONGEST_PAUSE = 50, 5.0
#: How often a decision is tried that the daemon refuses, although it answers.
_TRIES = 3


@dataclass
class _Known:
    """A decision and what became of it."""

    decision: Decision
    state: DecisionState
    done: Done | None = None
    tries: int = 0


@dataclass
class _Changes:
    """Counts changes up, and remembers which images each was about."""

    revision: int = 1
    about: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_KNOWN))

    def count(self, images: Iterable[int] = ()) -> None:
        self.revision += 1
        self.about.extend((self.revision, image) for image in images)

    def since(self, revision: int) -> list[int]:
        return list(dict.fromkeys(image for when, image in self.about if when > revision))


class DecisionQueue:
    """Queue of decisions, and the thread that carries them out. Safe in any thread."""

    def __init__(
        self,
        carrying_out: CarryingOut,
        is_running: Callable[[], bool],
        *,
        on_decided: Callable[[Collection[int]], None] = lambda _: None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """``is_running``: whether a daemon answers. ``on_decided``: told the images whose decisions are done."""
        self._carry_out = carrying_out
        self._is_running = is_running
        self._on_decided = on_decided
        self._grace = grace
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._queue: deque[_Known] = deque()
        self._changes = _Changes()
        self._arrival = threading.Condition()
        self._closed = False
        self._daemon_seen = -float("inf")
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """Carry out what can be in the time, and end."""
        with self._arrival:
            self._closed = True
            self._arrival.notify_all()
        self._thread.join(patience)

    @property
    def revision(self) -> int:
        """Return what counts up with each change."""
        return self._changes.revision

    def count_change(self) -> None:
        """Count a change of the journal."""
        with self._arrival:
            self._changes.count()

    def decided_since(self, revision: int) -> list[int]:
        """List the images that were decided since a revision."""
        with self._arrival:
            return self._changes.since(revision)

    def waiting(self) -> dict[int, str]:
        """Map the images whose decisions are not carried out yet to the classes that they get, "" for none."""
        with self._arrival:
            return {
                image: (known.decision.to or "") if isinstance(known.decision, LabelDecision) else ""
                for known in self._queue
                if (image := known.state.id) is not None
            }

    @property
    def length(self) -> int:
        """Count the decisions that wait."""
        return len(self._queue)

    def submit(self, decisions: Sequence[Decision]) -> list[DecisionState]:
        """Take decisions; those that are known are only answered."""
        with self._arrival:
            states = []
            for decision in decisions:
                known = self._known.get(decision.key)
                if known is None:
                    known = self._take(decision)
                states.append(known.state)
            self._arrival.notify_all()
        return states

    def states(self, keys: Iterable[str]) -> list[DecisionState]:
        """Return what became of decisions. One that is not known was lost with an earlier process: send it again."""
        with self._arrival:
            return [
                self._known[key].state
                if key in self._known
                else DecisionState(key=key, state="unknown", id=None, says="")
                for key in keys
            ]

    def _take(self, decision: Decision) -> _Known:
        try:
            image = self._carry_out.check(decision, self._done_of)
        except (Refusal, UserError) as error:
            state = DecisionState(key=decision.key, state="refused", id=getattr(decision, "id", None), says=str(error))
            known = self._known[decision.key] = _Known(decision, state)
            return known
        state = DecisionState(key=decision.key, state="waiting", id=image, says=tr("waiting"))
        known = self._known[decision.key] = _Known(decision, state)
        self._queue.append(known)
        self._changes.count([] if image is None else [image])
        while len(self._known) > MOST_KNOWN and next(iter(self._known.values())).state.state != "waiting":
            self._known.popitem(last=False)
        return known

    def _done_of(self, key: str) -> Done | None:
        known = self._known.get(key)
        if known is None:
            return None
        if known.done is not None:
            return known.done
        refused = known.state.says if known.state.state == "refused" else None
        return Done(refused=refused, waiting=known.state.state == "waiting", image=known.state.id)

    def _run(self) -> None:
        pause = 0.1
        while batch := self._next_batch():
            if self._may_act() and self._try(batch):
                pause = 0.1
                continue
            with self._arrival:
                if self._closed:
                    return
                self._arrival.wait_for(lambda: self._closed, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _next_batch(self) -> list[_Known]:
        """Wait for decisions; return the first ones that go into one call, which stay in the queue."""
        with self._arrival:
            self._arrival.wait_for(lambda: self._closed or self._queue)
            batch: list[_Known] = []
            for known in self._queue:
                is_other = batch and self._carry_out.call_of(known.decision) != self._carry_out.call_of(
                    batch[0].decision
                )
                is_again = known.state.id in {earlier.state.id for earlier in batch}
                if is_other or is_again or len(batch) == (1 if known.tries else _AT_ONCE):
                    break
                batch.append(known)
            return batch

    def _may_act(self) -> bool:
        """Whether decisions can be carried out now; not while a daemon that was there may be restarting."""
        now = time.monotonic()
        try:
            is_running = self._is_running()
        except UserError as error:
            self.trouble = str(error)
            return False
        if is_running:
            self._daemon_seen = now
        elif now - self._daemon_seen < self._grace:
            self.trouble = tr("the daemon does not answer: what you decide waits until it does")
            return False
        return True

    def _try(self, batch: Sequence[_Known]) -> bool:
        """Carry out a batch; returns whether any decision was done or refused."""
        try:
            done = self._carry_out.run([known.decision for known in batch], self._done_of)
        except UserError as error:
            return self._put_off(batch, str(error), gives_up=error.exit_code == 2)
        except Exception as error:  # whatever it is: the thread must go on
            why = tr("an internal error: {error}", error=error)
            logger.opt(exception=error).error(why)
            return self._put_off(batch, why, gives_up=True)
        self.trouble = None
        self._settle(batch, done)
        return True

    def _put_off(self, batch: Sequence[_Known], why: str, *, gives_up: bool) -> bool:
        self.trouble = why
        for known in batch:
            known.tries += gives_up
        if batch[0].tries < _TRIES or len(batch) > 1:
            return False
        self._settle(batch, [Done(refused=why)])
        return True

    def _settle(self, batch: Sequence[_Known], done: Sequence[Done]) -> None:
        with self._arrival:
            for known, what in zip(batch, done, strict=True):
                self._queue.popleft()
                known.done = what
                known.state = DecisionState(
                    key=known.decision.key,
                    state="refused" if what.refused is not None else "done",
                    id=known.state.id,
                    says=what.refused if what.refused is not None else what.says,
                    can_take_back=what.can_take_back,
                )
            images = [known.state.id for known in batch if known.state.id is not None]
        self._on_decided(images)
        with self._arrival:
            self._changes.count(images)
