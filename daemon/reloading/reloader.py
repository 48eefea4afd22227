"""Hot reload: a published checkpoint is loaded aside, proved and handed over; else the one in use stays.

Whatever is published, some model serves: a checkpoint that is no good is not used, one whose loading ended the daemon
or that failed its probation (`daemon.reloading.serving`) is remembered (`daemon.reloading.checkpoint_history`), and
then the last good one goes on. The trainer's pointer is only ever read. The daemon does not turn it back: it may have
no right to write there, other daemons may be content with the same checkpoint, and a pointer should have one writer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from daemon.config import Settings
from daemon.files.malloc import give_back
from daemon.filing.outcome import Outcome
from daemon.journal.journal import Journal, JournalBusy
from daemon.reloading.checkpoint_history import CheckpointHistory
from daemon.reloading.checkpoint_source import Leases, Published
from daemon.reloading.loader import CheckpointLoading, CheckpointOpener, CheckpointOptions
from daemon.reloading.pointer_watch import PointerWatch
from daemon.reloading.probation import from_journal
from daemon.reloading.serving import Model, Serving
from models.backoff import Backoff
from models.classifier import Classifier
from models.errors import CheckpointError, UserError
from models.markers import leave_names
from models.text.language import mark, reason, tr
from models.weights import WeightsStore

#: Seconds after trouble that is not the checkpoint's own (weights out of reach, ...), until it is tried again.
BACKOFF = Backoff(first=60.0, last=3600.0)

#: What trouble with a new checkpoint means to people.
_STAYS = mark("the model in use stays: {trouble}")
_STAYS_AND_RETRIES = mark("the model in use stays, and the new one is tried again: {trouble}")
_LAST_GOOD = mark("the last good model, {digest}, is used: {trouble}")
_LAST_GOOD_AND_RETRIES = mark("the last good model, {digest}, is used, and the new one is tried again: {trouble}")


class Reloader:
    """Decides which checkpoint is in use.

    `first` gives the classifier to begin with; `poll`, called between two batches, gives another one to go over to:
    one that was published and is loaded, or the one before, where a new one failed. Loading happens in a thread of its
    own, so it delays no image. Everything else is called on the thread of the journal.
    """

    def __init__(self, manner: CheckpointOptions, store: WeightsStore, journal: Journal | None = None) -> None:
        """Without a journal nothing is remembered."""
        self._opening = CheckpointOpener(manner, store)
        self._place = manner.place
        self._journal = journal or Journal(None)
        self._tells = journal is not None  # a dry run leaves nothing anywhere
        self._history = CheckpointHistory(self._journal, manner.location)
        self._leases = Leases()
        self._serving = Serving(self._history, self._leases)
        self._anew = False  # the next model shares nothing with the one in use
        self._stamp: object = None
        self._tried = ""
        self._retry_at: float | None = None
        self._failures = 0  # that may pass, one after the other
        self.trouble = ""  # why what is published is not in use, as it was said last
        self._loading: CheckpointLoading | None = None
        self._pointer_watch: PointerWatch | None = None
        self._let_go = False  # of backbones, at the last poll

    @classmethod
    def from_settings(cls, settings: Settings, store: WeightsStore, journal: Journal | None = None) -> Reloader:
        """Make a reloader for the checkpoint that the settings name."""
        return cls(CheckpointOptions.from_settings(settings), store, journal)

    def listen(self, wake: Callable[[], None], *, events: bool = True) -> None:
        """Have ``wake`` called, from any thread, when a `poll` may bring something before its time.

        ``events``: also when the kernel says that something happened where checkpoints are published.
        """
        self._pointer_watch = PointerWatch(wake, events=events)

    # --- the start

    def first(self, history: Path | None = None) -> Classifier:
        """The classifier to begin with: what is published, the starter model while nothing is, or the last good one.

        ``history``: the journal's file, which knows what the model before made of its last images. Raises `UserError`
        when what is published cannot be used, and nothing is known to be good.
        """
        self._leave_names()
        self._stamp = self._place.stamp()
        rejected = None
        try:
            published = self._place.required()
            self._tried = "" if published is None else published.key
            published = published or self._opening.starter()
            if (rejection := self._history.rejection(published)) is not None:
                rejected = published
                raise CheckpointError(_not_again(published, rejection.why))
            self._begin(Model(published, self._attempt(published)), history)
        except Exception as error:
            if not self._use_last_good(error):
                self._last_resort(error, rejected)
        model = self._serving.model
        assert model is not None
        if history is not None and not self._serving.on_probation:
            self._serving.remember(from_journal(history, model.digest))
        return model.classifier

    def _leave_names(self) -> None:
        """Tell the trainer which class names would be refused here, as far as we may write there."""
        manner = self._opening.manner
        if not self._tells:
            return
        try:
            leave_names(manner.location, manner.output, manner.reserved)
        except OSError as error:
            logger.debug("the trainer is not told the names of other folders: {}", error)

    def _attempt(self, published: Published) -> Classifier:
        try:
            self._history.attempt(published, flush=True)
        except (JournalBusy, OSError) as error:
            logger.warning(
                tr(
                    "cannot record that checkpoint {name} is being loaded: {error}",
                    name=published.name,
                    error=error,
                )
            )
        try:
            self._leases.take(published.path)
            return self._opening.open(published.path, published.digest, None)
        finally:
            self._history.end_attempt(flush=True)  # also when it is told to stop meanwhile

    def _use_last_good(self, error: Exception) -> bool:
        """Serve with the last good model, because of an error with what is published; False where there is none."""
        good = self._history.good
        if good is None:
            return False
        try:
            classifier = self._opening.open(good.path, good.digest, None)
        except Exception as trouble:
            logger.debug("the last good model cannot be used either: {}", trouble)
            return False
        retries = _may_pass(error)
        if retries:
            self._schedule_retry()
        self._log_once(_LAST_GOOD_AND_RETRIES if retries else _LAST_GOOD, _sentence(error), digest=good.digest[:12])
        self._serving.use(Model(Published(good.path, good.digest, good.key), classifier))
        return True

    def _last_resort(self, error: Exception, rejected: Published | None) -> None:
        """With nothing else to serve, a checkpoint that was rejected is tried all the same."""
        if rejected is None:
            raise error
        logger.warning(tr("no other model is available, so it is tried anyway: {error}", error=error))
        self._serving.trust(Model(rejected, self._attempt(rejected)))

    def _begin(self, model: Model, history: Path | None) -> None:
        """Serve what was published. It may be new, and on probation; then the last good one must be at hand, too."""
        good = self._history.good
        if good is None or history is None or self._history.is_good(model.digest):
            self._serving.trust(model)
            return
        try:
            before = self._opening.open(good.path, good.digest, model.classifier)
        except Exception as error:
            logger.warning(
                tr(
                    "the previous model, {digest}, cannot be opened for comparison: {error}",
                    digest=good.digest[:12],
                    error=error,
                )
            )
            self._serving.trust(model)
        else:
            self._serving.use(Model(Published(good.path, good.digest, good.key), before))
            self._serving.remember(from_journal(history, good.digest))
            self._serving.take_over(model, self._opening.manner.probation)

    # --- between two batches

    @property
    def loading(self) -> CheckpointLoading | None:
        """What is on its way into memory; `poll` hands it over when it is there."""
        return self._loading

    def poll(self) -> Classifier | None:
        """Another classifier, once, when it is ready; never blocks.

        A checkpoint that is no good is said once and left; trouble that may pass is tried again after a while.
        """
        if self._let_go:
            self._let_go = False
            threading.Thread(target=give_back, name="give back", daemon=True).start()
        if (before := self._step_back()) is not None:
            return before
        if self._loading is not None:
            return self._finish(self._loading) if self._loading.is_over else None
        if self._pointer_watch is not None:
            self._pointer_watch.listen(self._place.location)  # before the look: what comes after it rings
        again = self._retry_at is not None and time.monotonic() >= self._retry_at
        stamp = self._place.stamp()
        if stamp != self._stamp or again:
            self._stamp, self._retry_at = stamp, None
            self._check_published(again=again)
        return None

    def _check_published(self, *, again: bool) -> None:
        """See what is published, and begin to load it where that is another checkpoint, and may be tried."""
        try:
            published = self._place.find()
        except CheckpointError as error:
            self._stay(error)
            return
        self._stamp = self._place.stamp()  # which knows the run's file now
        if published is None and self._place.wants_starter():
            published = self._opening.starter()
        self._leave_names()
        if published is None and self._tried:
            self._log_once(_STAYS, tr("nothing is published in {location} any more", location=self._place.location))
        if published is None or (published.key == self._tried and not again):
            return
        self._tried = published.key
        if self._serves(published.digest):
            return
        if (rejection := self._history.rejection(published)) is not None:
            self._log_once(_STAYS, _not_again(published, rejection.why))
            return
        try:
            self._history.attempt(published)
        except JournalBusy as error:
            self._try_later(tr("the attempt to load it cannot be recorded ({error})", error=error))
            return
        self._leases.take(published.path)
        model = self._serving.model
        beside = None if self._anew or model is None else model.classifier
        self._loading = CheckpointLoading(published, self._opening, beside, self._journal.flush, self._ring)
        self._loading.start()

    def _serves(self, digest: str) -> bool:
        model = self._serving.model
        return model is not None and model.digest == digest and not self._anew

    def _ring(self) -> None:
        if self._pointer_watch is not None:
            self._pointer_watch.ring()

    def _finish(self, loading: CheckpointLoading) -> Classifier | None:
        self._loading = None
        self._ring()  # meanwhile another may have been published
        classifier = loading.classifier
        if classifier is None:
            assert loading.error is not None
            self._stay(loading.error)
        else:
            self.trouble, self._failures = "", 0
            if self._serves(classifier.digest):
                classifier = None
            else:
                old = self._serving.model
                self._let_go = old is None or classifier.extractor is not old.classifier.extractor
                model = Model(loading.published, classifier)
                # Who goes back to the starter wants it, however many images it is unsure of.
                probation = 0 if self._place.wants_starter() else self._opening.manner.probation
                self._serving.take_over(model, probation)
                self._anew = False
        self._history.end_attempt()
        threading.Thread(target=self._history.settle, name="settle", daemon=True).start()
        self._serving.keep_leases()  # not of what came to nothing
        return classifier

    def _stay(self, error: Exception) -> None:
        """Keep the model in use because of an error with the published one, for now or for good."""
        if _may_pass(error):
            self._try_later(_sentence(error))
        else:
            self._log_once(_STAYS, _sentence(error))

    def _try_later(self, trouble: str) -> None:
        self._schedule_retry()
        self._log_once(_STAYS_AND_RETRIES, trouble)

    def _schedule_retry(self) -> None:
        self._retry_at = time.monotonic() + BACKOFF.delay(self._failures)
        self._failures += 1

    def _log_once(self, sentence: str, trouble: str, **values: object) -> None:
        """Log each problem once, even if it was there before the start."""
        if trouble != self.trouble:
            self.trouble = trouble
            logger.error("{}", tr(sentence, trouble=trouble, **values))

    # --- what becomes of images

    def outcome(self, outcome: Outcome) -> None:
        """Judge a model on probation by the outcome of an image."""
        self._serving.outcome(outcome)

    def failed(self, error: Exception) -> Classifier | None:
        """The model in use could not classify a batch: the one to use instead, where its probation was not passed."""
        self._serving.failed(error)
        return self._step_back()

    def _step_back(self) -> Classifier | None:
        model = self._serving.step_back()
        if model is None:
            return None
        self._let_go = True
        return model.classifier

    # --- other settings, and the end

    @property
    def classes(self) -> list[str]:
        """The classes that the settings have to leave a folder for."""
        return self._serving.classes

    def adopt(self, settings: Settings) -> None:
        """Look where the settings say now, and open checkpoints as they say."""
        old, new = self._opening.manner, CheckpointOptions.from_settings(settings)
        self._opening = CheckpointOpener(new, WeightsStore(settings.cache_dir))
        if new.location != old.location:
            self._history.end_attempt(flush=True)
            self._history = CheckpointHistory(self._journal, new.location)
            self._serving.moved(self._history)
        opens_otherwise = (new.location, new.precision) != (old.location, old.precision)
        self._leave_names()
        if opens_otherwise or new.reserved != old.reserved:
            # What is published may have been turned down for a class name, or is being checked for the old ones.
            self._place, self._stamp, self._tried, self._retry_at = new.place, None, "", None
            self._loading = None  # what it makes comes too late
        if opens_otherwise:
            self._anew = True

    def close(self) -> None:
        """Stop: the daemon ends, and no checkpoint that was being loaded is to blame."""
        if self._pointer_watch is not None:
            self._pointer_watch.close()
        self._history.end_attempt()
        self._leases.keep([])


def _may_pass(error: Exception) -> bool:
    """Whether a checkpoint may be loaded another time all the same: the trouble is not its own, or nobody's we know."""
    return not isinstance(error, CheckpointError) or isinstance(error.__cause__, OSError)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {reason(error)}"


def _not_again(published: Published, why: str) -> str:
    return tr(
        "the checkpoint {name} is not tried again ({why}): publish another, or this one once more with "
        "python -m trainer publish",
        name=published.name,
        why=why,
    )
