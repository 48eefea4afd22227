"""Hot reload: load a published checkpoint in the background, check it and use it; else keep the one in use.

Whatever is published, some model is in use. An invalid checkpoint is not used. One whose loading ended the daemon, or
that failed its probation (`daemon.reloading.serving`), is remembered (`daemon.reloading.checkpoint_history`) and not
tried again; the last good one is used instead. The daemon reads the trainer's pointer and never writes it: it may not
be allowed to, the checkpoint may suit other daemons, and a pointer should have one writer.
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
from daemon.reloading.checkpoint_history import CheckpointHistory, Rejection
from daemon.reloading.checkpoint_source import CheckpointFile, Leases
from daemon.reloading.loader import CheckpointLoading, CheckpointOpener, CheckpointOptions
from daemon.reloading.pointer_watch import PointerWatch
from daemon.reloading.probation import from_journal
from daemon.reloading.serving import Model, Serving
from models.backoff import Backoff
from models.classifier import Classifier
from models.errors import CheckpointError, UserError
from models.files.markers import record_names
from models.text.language import mark, reason, tr
from models.weights.store import WeightsStore

#: Seconds until another attempt after a problem outside the checkpoint (weights cannot be downloaded, ...).
BACKOFF = Backoff(first=60.0, last=3600.0)

#: What a problem with a new checkpoint means to people.
_STAYS = mark("the model in use stays: {problem}")
_STAYS_AND_RETRIES = mark("the model in use stays, and the new one is tried again: {problem}")
_LAST_GOOD = mark("the last good model, {digest}, is used: {problem}")
_LAST_GOOD_AND_RETRIES = mark("the last good model, {digest}, is used, and the new one is tried again: {problem}")


class Reloader:
    """Decides which checkpoint is in use.

    `first` returns the classifier to start with. `poll`, called between two batches, returns the next one to use: one
    that was published and is loaded, or the one before where a new one failed. Loading happens in its own thread and
    delays no image. Everything else runs on the thread of the journal.
    """

    def __init__(self, options: CheckpointOptions, store: WeightsStore, journal: Journal | None = None) -> None:
        """Without a journal nothing is remembered."""
        self._opening = CheckpointOpener(options, store)
        self._source = options.source
        self._journal = journal or Journal(None)
        self._writes_names = journal is not None  # not in a dry run, which leaves nothing anywhere
        self._history = CheckpointHistory(self._journal, options.location)
        self._leases = Leases()
        self._serving = Serving(self._history, self._leases)
        self._must_open_anew = False  # the next model must not share a backbone with the one in use
        self._stamp: object = None
        self._tried = ""
        self._retry_at: float | None = None
        self._failures = 0  # temporary ones in a row
        self.problem = ""  # why the published checkpoint is not in use, as last logged
        self._loading: CheckpointLoading | None = None
        self._pointer_watch: PointerWatch | None = None
        self._freed_backbone = False  # by the last poll: its memory goes back to the system at the next

    @classmethod
    def from_settings(cls, settings: Settings, store: WeightsStore, journal: Journal | None = None) -> Reloader:
        """Make a reloader for the checkpoint that the settings name."""
        return cls(CheckpointOptions.from_settings(settings), store, journal)

    def listen(self, wake: Callable[[], None], *, events: bool = True) -> None:
        """Have ``wake`` called, from any thread, when a `poll` may have a result before it is due.

        ``events``: also when the kernel reports a change where checkpoints are published.
        """
        self._pointer_watch = PointerWatch(wake, events=events)

    # --- the start

    def first(self, journal_file: Path | None = None) -> Classifier:
        """Open the classifier to start with: the published one, the starter model if none is, or the last good one.

        ``journal_file``: tells what the previous model made of its last images. Raises `UserError` when
        the published checkpoint cannot be used and there is no last good one.
        """
        self._record_names()
        self._stamp = self._source.stamp()
        rejected = None
        try:
            file = self._source.find_or_raise()
            self._tried = "" if file is None else file.key
            file = file or self._opening.starter()
            if (rejection := self._history.rejection(file)) is not None:
                rejected = file
                raise CheckpointError(_rejected_sentence(file, rejection.why))
            self._serve_first(Model(file, self._attempt(file)), journal_file)
        except Exception as error:
            if not self._use_last_good(error):
                self._last_resort(error, rejected)
        model = self._serving.model
        assert model is not None
        if journal_file is not None and not self._serving.on_probation:
            self._serving.remember(from_journal(journal_file, model.digest, self._opening.options.outputs))
        return model.classifier

    def _record_names(self) -> None:
        """Record for the trainer the class names that are refused here, where that may be written."""
        options = self._opening.options
        if not self._writes_names:
            return
        try:
            record_names(options.location, options.outputs[0], options.reserved)
        except OSError as error:
            logger.debug("the trainer is not told the names of other folders: {}", error)

    def _attempt(self, file: CheckpointFile) -> Classifier:
        try:
            self._history.attempt(file, flush=True)
        except (JournalBusy, OSError) as error:
            logger.warning(
                tr(
                    "cannot record that checkpoint {name} is being loaded: {error}",
                    name=file.name,
                    error=error,
                )
            )
        try:
            self._leases.take(file.path)
            return self._opening.open(file.path, file.digest, None)
        finally:
            self._history.end_attempt(flush=True)  # also when it is told to stop meanwhile

    def _use_last_good(self, error: Exception) -> bool:
        """Use the last good model because of an error with the published one; False where there is none."""
        good = self._history.good
        if good is None:
            return False
        try:
            classifier = self._opening.open(good.path, good.digest, None)
        except Exception as second_error:
            logger.debug("the last good model cannot be used either: {}", second_error)
            return False
        retries = _is_temporary(error)
        if retries:
            self._schedule_retry()
        self._log_once(_LAST_GOOD_AND_RETRIES if retries else _LAST_GOOD, _sentence(error), digest=good.digest[:12])
        self._serving.use(Model(CheckpointFile(good.path, good.digest, good.key), classifier))
        return True

    def _last_resort(self, error: Exception, rejected: CheckpointFile | None) -> None:
        """Try a rejected checkpoint after all, because there is no other to use."""
        if rejected is None:
            raise error
        logger.warning(tr("no other model is available, so it is tried anyway: {error}", error=error))
        self._serving.use_as_good(Model(rejected, self._attempt(rejected)))

    def _serve_first(self, model: Model, journal_file: Path | None) -> None:
        """Use the published model. If it is new it is on probation, and the last good one is loaded too."""
        good = self._history.good
        if good is None or journal_file is None or self._history.is_good(model.digest):
            self._serving.use_as_good(model)
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
            self._serving.use_as_good(model)
        else:
            self._serving.use(Model(CheckpointFile(good.path, good.digest, good.key), before))
            self._serving.remember(from_journal(journal_file, good.digest, self._opening.options.outputs))
            self._serving.try_out(model, self._opening.options.probation)

    # --- between two batches

    @property
    def loading(self) -> CheckpointLoading | None:
        """Checkpoint that is being loaded; `poll` returns it when it is ready."""
        return self._loading

    def poll(self) -> Classifier | None:
        """Return the next classifier to use, once, when there is one; never blocks.

        An invalid checkpoint is logged once and left; after a temporary problem it is tried again later.
        """
        if self._freed_backbone:
            self._freed_backbone = False
            threading.Thread(target=give_back, name="give back", daemon=True).start()
        if (before := self._step_back()) is not None:
            return before
        if self._loading is not None:
            return self._finish(self._loading) if self._loading.is_over else None
        if self._pointer_watch is not None:
            # Before the stamp is read: a later change wakes the daemon.
            self._pointer_watch.watch(self._source.location)
        again = self._retry_at is not None and time.monotonic() >= self._retry_at
        stamp = self._source.stamp()
        if stamp != self._stamp or again:
            self._stamp, self._retry_at = stamp, None
            self._check_published(again=again)
        return None

    def _check_published(self, *, again: bool) -> None:
        """Start to load what is published, if it is another checkpoint and was not rejected."""
        try:
            file = self._source.find()
        except CheckpointError as error:
            self._keep_model(error)
            return
        self._stamp = self._source.stamp()  # again: `find` has followed the pointer to the run's file
        if file is None and self._source.wants_starter():
            file = self._opening.starter()
        self._record_names()
        if file is None and self._tried:
            self._log_once(_STAYS, tr("nothing is published in {location} any more", location=self._source.location))
        if file is None or (file.key == self._tried and not again):
            return
        self._tried = file.key
        if self._need_not_load(file.digest):
            return
        if (rejection := self._history.rejection(file)) is not None:
            self._log_once(_STAYS, _rejected_sentence(file, rejection.why))
            return
        try:
            self._history.attempt(file)
        except JournalBusy as error:
            self._try_later(tr("the attempt to load it cannot be recorded ({error})", error=error))
            return
        self._leases.take(file.path)
        model = self._serving.model
        reuse = None if self._must_open_anew or model is None else model.classifier
        self._loading = CheckpointLoading(file, self._opening, reuse, self._journal.flush, self._wake_loop)
        self._loading.start()

    def _need_not_load(self, digest: str) -> bool:
        model = self._serving.model
        return model is not None and model.digest == digest and not self._must_open_anew

    def _wake_loop(self) -> None:
        if self._pointer_watch is not None:
            self._pointer_watch.wake_loop()

    def _finish(self, loading: CheckpointLoading) -> Classifier | None:
        self._loading = None
        self._wake_loop()  # another may have been published meanwhile
        classifier = loading.classifier
        if classifier is None:
            assert loading.error is not None
            self._keep_model(loading.error)
        else:
            self.problem, self._failures = "", 0
            if self._need_not_load(classifier.digest):
                classifier = None
            else:
                old = self._serving.model
                self._freed_backbone = old is None or classifier.extractor is not old.classifier.extractor
                model = Model(loading.file, classifier)
                # A user who returns to the starter wants it, however many images it is unsure of.
                probation = 0 if self._source.wants_starter() else self._opening.options.probation
                self._serving.try_out(model, probation)
                self._must_open_anew = False
        self._history.end_attempt()
        threading.Thread(target=self._history.flush, name="flush", daemon=True).start()
        self._serving.keep_leases()  # and give up that of a checkpoint which was not used
        return classifier

    def _keep_model(self, error: Exception) -> None:
        """Keep the model in use because of an error with the published one, which is tried again if temporary."""
        if _is_temporary(error):
            self._try_later(_sentence(error))
        else:
            self._log_once(_STAYS, _sentence(error))

    def _try_later(self, problem: str) -> None:
        self._schedule_retry()
        self._log_once(_STAYS_AND_RETRIES, problem)

    def _schedule_retry(self) -> None:
        self._retry_at = time.monotonic() + BACKOFF.delay(self._failures)
        self._failures += 1

    def _log_once(self, sentence: str, problem: str, **values: object) -> None:
        """Log each problem once, even if it was there before the start."""
        if problem != self.problem:
            self.problem = problem
            logger.error("{}", tr(sentence, problem=problem, **values))

    # --- what becomes of images

    def outcome(self, outcome: Outcome) -> None:
        """Judge a model on probation by the outcome of an image."""
        self._serving.outcome(outcome)

    def failed(self, error: Exception) -> Classifier | None:
        """Note that the model in use could not classify a batch; return the one before if it was on probation."""
        self._serving.failed(error)
        return self._step_back()

    def _step_back(self) -> Classifier | None:
        model = self._serving.step_back()
        if model is None:
            return None
        self._freed_backbone = True
        return model.classifier

    def why_given_up(self, digest: str) -> str | None:
        """Return why the checkpoint with this sha256 has failed its probation; None where it has not."""
        return self._history.fault(digest)

    @property
    def given_up(self) -> Rejection | None:
        """Why the published checkpoint is not tried again; None where it was not rejected."""
        return self._history.rejected(self._tried) if self._tried else None

    # --- other settings, and the end

    @property
    def classes(self) -> list[str]:
        """Classes whose folder names the settings must not use."""
        return self._serving.classes

    def adopt(self, settings: Settings) -> None:
        """Apply new settings: where to look for checkpoints, and how to open them."""
        old, new = self._opening.options, CheckpointOptions.from_settings(settings)
        self._opening = CheckpointOpener(new, WeightsStore(settings.cache_dir))
        if new.location != old.location:
            self._history.end_attempt(flush=True)
            self._history = CheckpointHistory(self._journal, new.location)
            self._serving.use_history(self._history)
        opens_differently = (new.location, new.precision) != (old.location, old.precision)
        self._record_names()
        if opens_differently or new.reserved != old.reserved:
            # The published checkpoint may have been refused for a class name, or be in loading with the old names.
            self._source, self._stamp, self._tried, self._retry_at = new.source, None, "", None
            self._loading = None  # its result is dropped
        if opens_differently:
            self._must_open_anew = True

    def close(self) -> None:
        """Stop: the daemon ends, and no checkpoint that was being loaded is to blame."""
        if self._pointer_watch is not None:
            self._pointer_watch.close()
        self._history.end_attempt()
        self._leases.keep([])


def _is_temporary(error: Exception) -> bool:
    """Whether an error may not be the checkpoint's own, so that another attempt may succeed."""
    return not isinstance(error, CheckpointError) or isinstance(error.__cause__, OSError)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {reason(error)}"


def _rejected_sentence(file: CheckpointFile, why: str) -> str:
    return tr(
        "the checkpoint {name} is not tried again ({why}): publish another, or this one once more with "
        "python -m trainer publish",
        name=file.name,
        why=why,
    )
