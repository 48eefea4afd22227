"""Hot reload: a published checkpoint is loaded aside, proved, handed over and watched; else the one in use stays.

Whatever is published, some model serves: a checkpoint that is no good is refused, one whose loading ended the daemon or
that failed its probation is remembered (`daemon.verdicts`), and then the last good one goes on. The trainer's pointer
is only ever read. It is not for the daemon to turn it back: it may have no right to write there, other daemons may be
content with the same checkpoint, and a write of two programs to one pointer is one too many.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.bell import Bell
from daemon.config import Settings
from daemon.journal import Journal, JournalBusy
from daemon.opening import Loading, Manner, NameTaken, Opening
from daemon.pipeline import Outcome
from daemon.probation import MEMORY, Probation, Seen, from_journal
from daemon.published import Leases, Published
from daemon.threshold import alike
from daemon.verdicts import Verdicts
from models.classifier import Classifier
from models.errors import CheckpointError, UserError
from models.heap import give_back
from models.weights import WeightsStore

#: Seconds after trouble that is not the checkpoint's own (weights out of reach, ...), doubled from first to last.
FIRST_RETRY, LAST_RETRY = 60.0, 3600.0

#: What trouble with a new checkpoint means to people.
_STAYS = "the model in use stays"


@dataclass(frozen=True)
class _Serving:
    published: Published
    classifier: Classifier


@dataclass(frozen=True)
class _Trial:
    """A probation, and what to go back to."""

    probation: Probation
    before: _Serving


class Reloader:
    """Owns the question which checkpoint is in use.

    `first` gives the classifier to begin with; `poll`, called between two batches, gives another one to go over to:
    one that was published and is loaded, or the one before, where a new one failed. Loading happens in a thread of its
    own, so no image waits for it. Everything else is called on the thread of the journal.
    """

    def __init__(self, manner: Manner, store: WeightsStore, journal: Journal | None = None) -> None:
        """Without a journal nothing is remembered."""
        self._opening = Opening(manner, store)
        self._place = manner.place
        self._journal = journal or Journal(None)
        self._verdicts = Verdicts(self._journal, manner.location)
        self._leases = Leases()
        self._serving: _Serving | None = None
        self._anew = False
        self._stamp: object = None
        self._tried = ""
        self._retry_at: float | None = None
        self._delay = FIRST_RETRY
        self.trouble = ""  # why what is published is not in use, as it was said last
        self._loading: Loading | None = None
        self._bell: Bell | None = None
        self._let_go = False  # of backbones, at the last poll
        self._recent: deque[Seen] = deque(maxlen=MEMORY)
        self._trial: _Trial | None = None
        self._back: _Serving | None = None

    @classmethod
    def of(cls, settings: Settings, store: WeightsStore, journal: Journal | None = None) -> Reloader:
        """A reloader for the checkpoint that the settings name."""
        return cls(Manner.of(settings), store, journal)

    def listen(self, wake: Callable[[], None], *, events: bool = True) -> None:
        """Have ``wake`` called, from any thread, when a `poll` may bring something before its time.

        ``events``: also when the kernel says that something happened where checkpoints are published.
        """
        self._bell = Bell(wake, events=events)

    # --- the start

    def first(self, history: Path | None = None) -> Classifier:
        """The classifier to begin with: what is published, the starter model while nothing is, or the last good one.

        ``history``: the journal's file, which knows what the model before made of its last images. Raises `UserError`
        when what is published cannot be used, and nothing is known to be good.
        """
        self._stamp = self._place.stamp()
        refused = None
        try:
            published = self._place.required()
            self._tried = "" if published is None else published.key
            published = published or self._opening.starter()
            if (refusal := self._verdicts.refusal(published)) is not None:
                refused = published
                raise CheckpointError(_not_again(published, refusal.why))
            serving = self._begin(_Serving(published, self._attempt(published)), history)
        except Exception as error:
            serving = self._last_good(error) or self._last_resort(error, refused)
        self._serving = serving
        self._keep_leases()
        if history is not None and self._trial is None:
            self._recent.extend(from_journal(history, serving.classifier.digest))
        return serving.classifier

    def _attempt(self, published: Published) -> Classifier:
        try:
            self._verdicts.attempt(published, flush=True)
        except (JournalBusy, OSError) as error:
            logger.warning("that the checkpoint {} is loaded cannot be written down: {}", published.name, error)
        try:
            self._leases.take(published.path)
            return self._opening.open(published.path, published.digest, None)
        finally:
            self._verdicts.end_attempt(flush=True)  # also when it is told to stop meanwhile

    def _last_good(self, error: Exception) -> _Serving | None:
        good = self._verdicts.good
        if good is None:
            return None
        if isinstance(error, NameTaken) and good.path == self._opening.starter().path:
            return None  # the settings are to be mended: nobody who has classes of their own wants those of the starter
        try:
            classifier = self._opening.open(good.path, good.digest, None)
        except Exception as trouble:
            logger.debug("the last good model cannot be used either: {}", trouble)
            return None
        used = f"the last good model, {good.digest[:12]}, is used"
        if _may_pass(error):
            self._later()
            used += ", and the new one is tried again"
        self._say(used, _sentence(error))
        return _Serving(Published(good.path, good.digest, good.key), classifier)

    def _last_resort(self, error: Exception, refused: Published | None) -> _Serving:
        """With nothing else to serve, a checkpoint that is not to be tried again is tried again."""
        if refused is None:
            raise error
        logger.warning("nothing else is there, so once more: {}", error)
        serving = _Serving(refused, self._attempt(refused))
        self._verdicts.approve(refused, serving.classifier.digest)
        return serving

    def _begin(self, serving: _Serving, history: Path | None) -> _Serving:
        """Serve what was published. It may be new, and on probation; then what is good has to be at hand."""
        good, digest = self._verdicts.good, serving.classifier.digest
        if good is None or history is None or self._verdicts.is_good(digest):
            self._verdicts.approve(serving.published, digest)
            return serving
        try:
            before = self._opening.open(good.path, good.digest, serving.classifier)
        except Exception as error:
            logger.warning("the model before, {}, is not there to be compared with: {}", good.digest[:12], error)
            self._verdicts.approve(serving.published, digest)
        else:
            self._recent.extend(from_journal(history, good.digest))
            self._serving = _Serving(Published(good.path, good.digest, good.key), before)
            self._take_over(serving)
        return serving

    # --- between two batches

    def poll(self) -> Classifier | None:
        """Another classifier, once, when it is ready; never waits.

        A checkpoint that is no good is said once and left; trouble that may pass is tried again after a while.
        """
        if self._let_go:
            self._let_go = False
            threading.Thread(target=give_back, name="give back", daemon=True).start()
        if self._back is not None:
            self._serving, self._back, self._let_go = self._back, None, True
            self._keep_leases()
            return self._serving.classifier
        if self._loading is not None:
            return self._finish(self._loading) if self._loading.is_over else None
        if self._bell is not None:
            self._bell.listen(self._place.location)  # before the look: what comes after it rings
        again = self._retry_at is not None and time.monotonic() >= self._retry_at
        stamp = self._place.stamp()
        if stamp != self._stamp or again:
            self._stamp, self._retry_at = stamp, None
            self._look(again=again)
        return None

    def _look(self, *, again: bool) -> None:
        """See what is published, and begin to load it where that is another checkpoint, and may be tried."""
        try:
            published = self._place.find()
        except CheckpointError as error:
            self._refuse(error)
            return
        self._stamp = self._place.stamp()  # which knows the run's file now
        if published is None and self._tried:
            self._say(_STAYS, f"nothing is published in {self._place.location} any more")
        if published is None or (published.key == self._tried and not again):
            return
        self._tried = published.key
        if self._serves(published.digest):
            return
        if (refusal := self._verdicts.refusal(published)) is not None:
            self._say(_STAYS, _not_again(published, refusal.why))
            return
        try:
            self._verdicts.attempt(published)
        except JournalBusy as error:
            self._try_later(f"that it is loaded cannot be written down ({error})")
            return
        self._leases.take(published.path)
        beside = None if self._anew or self._serving is None else self._serving.classifier
        self._loading = Loading(published, self._opening, beside, self._journal.flush, self._ring)
        self._loading.start()

    def _serves(self, digest: str) -> bool:
        return self._serving is not None and self._serving.classifier.digest == digest and not self._anew

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    def _finish(self, loading: Loading) -> Classifier | None:
        self._loading = None
        self._ring()  # meanwhile another may have been published
        classifier = loading.classifier
        if classifier is None:
            assert loading.error is not None
            self._refuse(loading.error)
        else:
            self.trouble, self._delay = "", FIRST_RETRY
            if self._serves(classifier.digest):
                classifier = None
            else:
                old = self._serving.classifier.extractor if self._serving else None
                self._let_go = classifier.extractor is not old
                self._take_over(_Serving(loading.published, classifier))
        self._verdicts.end_attempt()
        threading.Thread(target=self._verdicts.settle, name="settle", daemon=True).start()
        self._keep_leases()
        return classifier

    def _refuse(self, error: Exception) -> None:
        if _may_pass(error):
            self._try_later(_sentence(error))
        else:
            self._say(_STAYS, _sentence(error))

    def _try_later(self, trouble: str) -> None:
        self._later()
        self._say(f"{_STAYS}, and the new one is tried again", trouble)

    def _later(self) -> None:
        self._retry_at = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LAST_RETRY)

    def _say(self, consequence: str, trouble: str) -> None:
        """Each trouble once, also where it lasts over the start."""
        if trouble != self.trouble:
            self.trouble = trouble
            logger.error("{}: {}", consequence, trouble)

    @property
    def classes(self) -> list[str]:
        """Those of the model in use and of the one to go back to: either may serve by the settings of now."""
        return [name for each in self._at_hand() for name in each.classifier.classes]

    def _at_hand(self) -> list[_Serving]:
        held = [self._serving, self._trial.before if self._trial else None, self._back]
        return [each for each in held if each is not None]

    def _keep_leases(self) -> None:
        good = self._verdicts.good
        paths = [each.published.path for each in self._at_hand()]
        for path in [*paths, *([good.path] if good else [])]:
            self._leases.take(path)
        self._leases.keep([*paths, *([good.path] if good else [])])

    # --- probation

    def _take_over(self, serving: _Serving) -> None:
        """Serve another checkpoint: on probation, unless it is known or there is nothing to go back to."""
        before = self._trial.before if self._trial else self._serving
        self._trial, self._serving, self._anew = None, serving, False
        digest = serving.classifier.digest
        if before is None or not self._opening.manner.probation or self._verdicts.is_good(digest):
            self._verdicts.approve(serving.published, digest)
            return
        insisted = self._verdicts.is_insisted_on(serving.published)
        if not alike(before.classifier.metadata, serving.classifier.metadata):
            self._recent.clear()  # one that was asked to be surer is unsure more often, and rightly so
        probation = Probation(
            self._opening.manner.probation, [] if insisted else list(self._recent), serving.classifier.classes
        )
        self._trial = _Trial(probation, before)

    def outcome(self, outcome: Outcome) -> None:
        """Something became of an image: a model on probation is judged by it."""
        prediction, place = outcome.prediction, outcome.destination
        if prediction is None or place is None or self._back is not None:
            return
        seen = Seen(prediction.label, place.parent.name != prediction.label)
        if self._trial is None:
            self._recent.append(seen)
            return
        probation = self._trial.probation
        fault = probation.fault(seen, prediction.confidence)
        if fault is not None:
            self._go_back(self._trial, fault)
        elif probation.passed:
            assert self._serving is not None
            self._verdicts.approve(self._serving.published, self._serving.classifier.digest)
            self._trial = None
            self._recent.extend(probation.seen)
            self._keep_leases()

    def failed(self, error: Exception) -> Classifier | None:
        """The model in use could not classify a batch: the one to use instead, where its probation was not passed."""
        if self._trial is not None:
            self._go_back(self._trial, f"it failed with {type(error).__name__}: {error}")
        return None if self._back is None else self.poll()

    def _go_back(self, trial: _Trial, fault: str) -> None:
        assert self._serving is not None
        bad, good = self._serving, trial.before
        self._verdicts.refuse(bad.published, bad.classifier.digest, fault)
        self._trial, self._back = None, good
        logger.error(
            "back to checkpoint {} from {}: {}; to use it all the same, publish it once more",
            good.classifier.digest[:12],
            bad.classifier.digest[:12],
            fault,
        )

    # --- other settings, and the end

    def adopt(self, settings: Settings) -> None:
        """Look where the settings say now, and open checkpoints as they say."""
        old, new = self._opening.manner, Manner.of(settings)
        self._opening = Opening(new, WeightsStore(settings.cache_dir))
        if new.location != old.location:
            self._verdicts.end_attempt(flush=True)
            self._verdicts = Verdicts(self._journal, new.location)
            self._trial = None
        opens_otherwise = (new.location, new.precision) != (old.location, old.precision)
        if opens_otherwise or new.reserved != old.reserved:
            # What is published may have been refused for the name of a class, or is being held to the old names.
            self._place, self._stamp, self._tried, self._retry_at = new.place, None, "", None
            self._loading = None  # what it makes comes too late
        if opens_otherwise:
            self._anew = True

    def close(self) -> None:
        """The daemon ends, and not for loading a checkpoint."""
        if self._bell is not None:
            self._bell.close()
        self._verdicts.end_attempt()
        self._leases.keep([])


def _may_pass(error: Exception) -> bool:
    """Whether a checkpoint may be loaded another time all the same: the trouble is not its own, or nobody's we know."""
    return not isinstance(error, CheckpointError) or isinstance(error.__cause__, OSError)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _not_again(published: Published, why: str) -> str:
    return (
        f"the checkpoint {published.name} is not tried again ({why}): publish another, or this one once more with "
        "python -m trainer publish"
    )
