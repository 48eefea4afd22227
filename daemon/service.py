"""Assemble and run the service: inbox watcher, pipeline and work loop, from the settings."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from daemon.alarms.causes import Cause, Trouble
from daemon.alarms.status import AlarmsHealth
from daemon.alarms.watch import AlarmWatch
from daemon.config import Settings, watches_inside
from daemon.control.control import Control
from daemon.control.signals import obey_signals
from daemon.correcting.watch import watch_corrections
from daemon.decoding.launcher import Launcher
from daemon.decoding.pool import DecoderPool
from daemon.files import copying
from daemon.files.answers import SHORT_LIMIT, answers
from daemon.files.class_mounts import ClassMounts
from daemon.files.inbox_mark import InboxMark
from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OutputAway
from daemon.files.output_marks import OutputMarks
from daemon.files.roots import Roots
from daemon.filing.duplicates import Duplicates
from daemon.filing.filer import Filer
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.held import HeldImages
from daemon.housekeeping import Housekeeping, clear_strays, stray_names
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import State
from daemon.learning.lessons import Lessons
from daemon.loop import WorkLoop
from daemon.monitoring.announcements import announce, conclude
from daemon.monitoring.audits import AUDIT_FILE, AuditFile
from daemon.monitoring.health import Tally
from daemon.monitoring.messages import shown
from daemon.monitoring.monitor import Monitor, hook_of, metrics_file
from daemon.monitoring.progress import Progress, bar_fits
from daemon.monitoring.stall_watch import StallWatch, logged_if_late
from daemon.monitoring.status_file import StatusFile
from daemon.monitoring.systemd import Notifier
from daemon.operations.desk import Desk
from daemon.operations.methods import operations_at
from daemon.pipeline import Pipeline
from daemon.reconfigure import Configuration
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.reloader import Reloader
from daemon.state import control_path, journal_path, lock, state_folder, status_path
from daemon.watching.skipped import Skipped, SkippedReporter
from daemon.watching.watcher import InboxWatcher
from models.allowed import allow_plugins, missing_plugins, report_missing
from models.errors import UserError
from models.files.ownership import make_folder
from models.inference.runtime import cores
from models.text.commandline import EXIT_LEFT_BEHIND
from models.text.language import mark, tr
from models.weights.store import WeightsStore

if TYPE_CHECKING:
    from daemon.monitoring.metrics_server import MetricsListener

#: Seconds until a folder that another daemon has locked is tried again.
_RETRY_SECONDS = 5.0

#: What became of filings that a crash interrupted.
_RECOVERED = {
    State.DONE: mark("{count} done"),
    State.ORPHAN: mark("{count} lost track of"),
    State.VOID: mark("{count} begun anew"),
}
_STILL_INTERRUPTED = mark("{count} still interrupted")


def watch(settings: Settings, launcher: Launcher, *, once: bool, dry_run: bool, reread: Callable[[], Settings]) -> int:
    """File what arrives in the inboxes until SIGTERM or SIGINT. Returns the exit code.

    With ``once``: file what is there now. ``reread`` loads the settings again after SIGHUP.
    """
    allow_plugins(settings.plugins)
    for name in missing_plugins():
        report_missing(name)
    threads = settings.threads or cores()
    for inbox in settings.watch:
        with logged_if_late(inbox):
            _make(inbox, "watch", dry_run=dry_run)
    state = state_folder(settings.state_dir)
    path = journal_path(state, settings.output)
    outputs = settings.outputs
    output_marks = None if dry_run else OutputMarks(outputs, path.parent)
    away = {} if output_marks is None else output_marks.outputs_away()
    for output in outputs:
        if output not in away:
            _make(output, "output", dry_run=dry_run)
    with ExitStack() as closing:
        notifier = Notifier.from_environment()
        closing.callback(notifier.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until there is a loop to stop
        inbox_marks = [] if dry_run else [InboxMark(inbox.absolute(), state) for inbox in settings.watch]
        if output_marks is not None:
            closing.callback(output_marks.release)
            closing.callback(_release, inbox_marks)
            _lock_or_wait(
                lambda: closing.enter_context(_lock_folders(state, settings, output_marks, inbox_marks)),
                notifier,
                once=once,
            )
        notifier.status(tr("loading the model"))
        journal = open_journal(path, dry_run=dry_run)
        closing.callback(journal.close)
        _prepare(journal, notifier)
        held = HeldImages(journal, settings.output, settings.watch, other_outputs=outputs[1:])
        skipped_by_inbox: dict[str, Skipped] = {}  # by the last whole walk of each inbox
        surveyed = (lambda skipped: skipped_by_inbox.update({skipped.folder: skipped})) if once else SkippedReporter()
        watcher = _watcher(settings, surveyed, inbox_marks, held, once=once)
        closing.callback(watcher.stop)
        pipeline_settings = PipelineSettings.from_settings(settings)
        decoders = DecoderPool(threads, pipeline_settings.limits, launcher)
        closing.callback(decoders.close)
        reloader = Reloader.from_settings(settings, WeightsStore(settings.cache_dir), None if dry_run else journal)
        closing.callback(reloader.close)
        classifier = reloader.first(path)
        roots = Roots([*settings.watch, *outputs], why_closed=None if output_marks is None else output_marks.why_closed)
        filer = Filer(
            settings.output,
            tags_too=settings.metadata == "xmp",
            journal=journal,
            dry_run=dry_run,
            roots=roots,
            mark=output_marks,
            class_mounts=None if dry_run else ClassMounts(path.parent),
            held=held,
            layout=FolderLayout(settings.layout, settings.watch),
            rules=settings.class_rules,
            duplicates=Duplicates(settings.duplicates, settings.duplicates_dir),
        )
        if not dry_run:
            _recover(filer, notifier)
        strays = None if output_marks is None else stray_names(settings, journal, output_marks)
        if once and strays is not None:
            clear_strays(strays, notifier.gets_on)
        pipeline = Pipeline(classifier, filer, pipeline_settings, threads=threads, decoders=decoders, roots=roots)
        closing.callback(pipeline.close)
        lessons = None if dry_run or once else Lessons(settings, journal, path, watcher.wake)
        audits = AuditFile(path.with_name(AUDIT_FILE))
        alarms = None if dry_run or once else _alarms(settings, journal, path, audits, reloader)
        monitor = Monitor(
            notifier,
            Tally(
                settings.output,
                classifier,
                lambda: pipeline.threshold,
                held=held,
                bursts=pipeline.bursts,
                audit=audits.latest,
                alarms=AlarmsHealth if alarms is None else alarms.health,
                other_outputs=dict if output_marks is None else output_marks.other_outputs,
                learning=None if lessons is None else (lambda: lessons.health),
            ),
            status=None if dry_run else StatusFile(status_path(state, settings.output)),
            metrics=None if dry_run else metrics_file(settings),
            hook=None if dry_run else hook_of(settings),
            output_away=(lambda: None) if output_marks is None else output_marks.why_away,
            keeps_metrics=once,
            progress=Progress(shows_bar=bar_fits(as_json=False, log_json=settings.log_json)),
        )
        journal.on_labels = monitor.labelled
        if settings.metrics_listen and not dry_run:
            closing.callback(_listen(settings.metrics_listen, monitor).close)
        housekeeping = None if dry_run else Housekeeping.from_settings(settings, journal, held, strays)
        configuration = Configuration(settings, reread)
        control = None
        if output_marks is not None and not once:

            def desk() -> Desk:
                return Desk(
                    settings=configuration.settings,
                    journal=journal,
                    roots=roots,
                    held=held,
                    look_again=watcher.look_again,
                    is_running=True,
                )

            control = Control(
                settings.output,
                watcher,
                monitor,
                output_marks,
                operations_at(desk),
                None if lessons is None else lessons.ask,
            )
        corrections = None if dry_run else watch_corrections(settings, journal, path, classifier.classes, watcher.wake)
        turns = None if control is None else control.turns
        loop = WorkLoop(
            watcher, pipeline, reloader, monitor, configuration, housekeeping, turns, corrections, lessons, alarms
        )
        obey_signals(loop.stop, loop.reconfigure)
        if not once:
            closing.enter_context(StallWatch(monitor, lambda: watcher.asked))
        if control is not None:
            closing.callback(control.close)
            control.listen(control_path(state, settings.output), settings.control_group, loop.reload)
        if corrections is not None:
            closing.enter_context(corrections)
        if lessons is not None:
            closing.enter_context(lessons)
        if alarms is not None:
            closing.enter_context(alarms)
        watcher.start()
        if not once:
            reloader.listen(watcher.wake, events=not settings.poll)
        announce(settings, classifier, pipeline.threshold, reloader.problem, dry_run=dry_run)
        if held:
            logger.info("{}", held)
        monitor.ready(watcher.status)
        left = _run(loop, skipped_by_inbox, once=once)
        if once and corrections is not None:
            corrections.finish()
        conclude(monitor.summary, left, once=once, dry_run=dry_run)
        for skipped in skipped_by_inbox.values():
            if skipped.count:
                logger.info("{}", skipped)
            if skipped.raw_files:
                logger.warning("{}", skipped.about_raw_files)
            if skipped.leftovers.pictures:
                logger.info("{}: {}", shown(skipped.folder), skipped.leftovers)
        monitor.stopping(watcher.status())
        return EXIT_LEFT_BEHIND if left else 0


def _lock_folders(
    state: Path, settings: Settings, output_marks: OutputMarks, inbox_marks: Sequence[InboxMark]
) -> ExitStack:
    """Lock the folders. Raises `FolderBusy`; where the output is away, that is logged, and filing is paused."""
    with lock(state, dict.fromkeys([*settings.watch, *settings.outputs])) as held:
        for inbox_mark in inbox_marks:
            with logged_if_late(inbox_mark.inbox):
                inbox_mark.take()
        try:
            with output_marks.at_work():
                output_marks.require_free()
        except OutputAway as error:
            logger.error(tr("filing is paused: {error}", error=error))
        for why in output_marks.other_outputs_away().values():
            logger.error(tr("images of a class with an output of its own wait in the inbox: {why}", why=why))
        return held.pop_all()


def _release(inbox_marks: Sequence[InboxMark]) -> None:
    """Release the inboxes to other daemons, but not those on a share that does not answer."""
    for inbox_mark in inbox_marks:
        if answers(inbox_mark.inbox, SHORT_LIMIT):
            inbox_mark.release()


def _lock_or_wait(take: Callable[[], object], notifier: Notifier, *, once: bool) -> None:
    """Take the locks. A service tries until it gets them, since there may be no one to start it again."""
    logged = ""
    while True:
        try:
            take()
            return
        except FolderBusy as error:
            if once or not notifier.is_heard:
                raise
            why = tr("not started yet: {why}", why=str(error))
            if why != logged:
                logged = why
                logger.error("{}", why)
            notifier.status(why)
            notifier.still_starting(_RETRY_SECONDS)
            time.sleep(_RETRY_SECONDS)


def _listen(address: str, monitor: Monitor) -> MetricsListener:
    from daemon.monitoring.metrics_server import MetricsListener  # http.server is slow to import, and seldom wanted

    return MetricsListener(address, monitor.metrics)


def open_journal(path: Path, *, dry_run: bool) -> Journal:
    """Open the journal; a dry run only reads one that is there."""
    return Journal(path if path.exists() or not dry_run else None, read_only=dry_run)


def _prepare(journal: Journal, notifier: Notifier) -> None:
    """Open the journal, and migrate one of an earlier version. One of a million rows takes longer than a start may."""
    with copying.reporting_to(notifier.gets_on), suppress(JournalBusy):
        journal.prepare()


def _recover(filer: Filer, notifier: Notifier) -> None:
    """Put right what a crash left half done. Reading a large file may take longer than systemd allows for a start."""
    with copying.reporting_to(notifier.gets_on):
        recovered = filer.recover()
    if recovered:
        outcome = ", ".join(
            tr(_RECOVERED.get(state, _STILL_INTERRUPTED), count=count) for state, count in recovered.items()
        )
        logger.warning(tr("recovered from an interrupted run; its interrupted filings: {outcome}", outcome=outcome))


def _alarms(settings: Settings, journal: Journal, path: Path, audits: AuditFile, reloader: Reloader) -> AlarmWatch:
    def broken_promise() -> Mapping[str, object] | None:
        audit = audits.latest()
        return audit.broken if audit is not None and audit.is_broken else None

    def given_up() -> Mapping[str, object] | None:
        rejection = reloader.given_up
        return None if rejection is None else {"digest": rejection.digest[:12], "why": rejection.why}

    return AlarmWatch(
        settings,
        journal,
        path,
        lambda settings: {
            Trouble(Cause.PROMISE, str(settings.output)): broken_promise,
            Trouble(Cause.PROBATION, str(settings.checkpoint)): given_up,
        },
    )


def _watcher(
    settings: Settings,
    surveyed: Callable[[Skipped], None],
    inbox_marks: Sequence[InboxMark],
    held: HeldImages,
    *,
    once: bool,
) -> InboxWatcher:
    quiet = settings.quiet_after_close_seconds
    return InboxWatcher(
        settings.watch,
        exclude=settings.outputs,
        settle_seconds=settings.settle_seconds,
        writer_patience_seconds=settings.writer_patience_seconds,
        quiet_after_close={str(inbox): seconds for inbox, seconds in quiet.items()}
        if isinstance(quiet, dict)
        else None
        if quiet == "auto"
        else quiet,
        rescan_seconds=settings.rescan_seconds,
        poll=settings.poll,
        recursive=watches_inside(settings),
        surveyed=surveyed,
        cross_mounts=settings.cross_mounts,
        once=once,
        claims={os.path.abspath(claim.inbox): claim.take for claim in inbox_marks},  # noqa: PTH100
        held=held,
    )


def _make(folder: Path, key: str, *, dry_run: bool) -> None:
    if dry_run:
        return
    try:
        make_folder(folder)
    except OSError as error:
        raise UserError(
            tr("{key}: the folder {folder} cannot be made: {reason}", key=key, folder=folder, reason=error.strerror)
        ) from error


def _run(loop: WorkLoop, skipped_by_inbox: Mapping[str, Skipped], *, once: bool) -> int:
    """Returns how many images were left behind; a folder that could not be read counts as one."""
    if once:
        return loop.run_once() + sum(
            skipped.not_files + skipped.unreadable + len(skipped.not_entered) for skipped in skipped_by_inbox.values()
        )
    loop.run()
    return 0
