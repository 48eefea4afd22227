"""Give one lesson, and remember what came of it: beside the service, or in the process of a command without one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Settings
from daemon.learning.audited import audited_file, write_audited
from daemon.learning.base_run import is_promise_wanted, published_checkpoint
from daemon.learning.given_labels import LabelState, filed_file, write_filed, write_labels
from daemon.learning.outcome import LessonOutcome
from daemon.learning.record import LessonRecord
from daemon.learning.schedule import RETRIES
from daemon.learning.trainer_child import BROKEN, NOTHING_NEW, LessonAnswer, LessonOptions, TrainerChild
from models.errors import UserError
from models.text.language import reason


@dataclass(frozen=True)
class GivenLesson:
    """A lesson from the labels of ``state`` that began at ``began``, in seconds since 1970."""

    outcome: LessonOutcome
    state: LabelState
    began: float

    def record(self, before: LessonRecord | None, checkpoints: Path) -> LessonRecord:
        """Return what to remember of it, ``before`` being what was remembered so far."""
        outcome, state, result = self.outcome, self.state, self.outcome.answer.result
        record = LessonRecord(
            labels=state.digest,
            result=result,
            says=outcome.sentence(),
            time=self.began,
            seconds=round(outcome.seconds, 2),
            run=outcome.run,
            given_up=None if before is None else before.given_up,
            checkpoint=None if outcome.run is None else published_checkpoint(checkpoints, outcome.run),
        )
        if result not in RETRIES:
            learned = {"learned": state.digest, "count": state.count, "last_id": state.last_id}
            if result == NOTHING_NEW and before is not None and before.result not in RETRIES:
                return before.with_changes(labels=state.digest, **learned)  # what is there to tell is of that one
            return record.with_changes(**learned)
        if before is None:
            return record.with_changes(failures=1)
        is_another = (before.result, before.labels) == (result, state.digest)
        return record.with_changes(
            failures=before.failures + 1 if is_another else 1,
            learned=before.learned,
            count=before.count,
            last_id=before.last_id,
        )


def give_lesson(
    settings: Settings,
    journal: Path,
    state: LabelState,
    file: Path,
    prepare: Callable[[LessonOptions, Path], TrainerChild],
    on_line: Callable[[str], None],
    *,
    given_up: str | None = None,
) -> GivenLesson | None:
    """Give a lesson from the labels of a journal, which are written to ``file`` meanwhile; None: it was ended.

    ``prepare`` makes the child that gives it, and ``on_line`` is told what that reports. ``given_up``: see
    `LessonRecord`.
    """
    began, clock = time.time(), time.monotonic()
    folders = [*settings.watch, *settings.outputs]
    answer: LessonAnswer | None
    try:
        write_labels(journal, file, folders, settings.checkpoint)
        write_filed(journal, filed_file(file), settings.outputs)
        if is_promise_wanted(settings.checkpoint):
            write_audited(journal, audited_file(file), folders, settings.output / settings.others_dir)
        answer = prepare(LessonOptions.from_settings(settings, given_up), file).run(on_line)
    except (OSError, sqlite3.Error, UserError) as error:
        answer = LessonAnswer(BROKEN, reason(error))
    finally:
        with suppress(OSError):
            for written in (file, filed_file(file), audited_file(file)):
                written.unlink(missing_ok=True)
    if answer is None:
        return None
    return GivenLesson(LessonOutcome(answer, state.count, time.monotonic() - clock), state, began)
