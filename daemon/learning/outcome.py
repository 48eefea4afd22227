"""What to say of a lesson that is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from daemon.learning.trainer_child import BROKEN, BUSY, IMPOSSIBLE, NOTHING_NEW, PUBLISHED, SUPERSEDED, LessonAnswer
from models.text.language import tr, trn

#: The exit code of a command whose lesson changed nothing, and the others.
EXIT_CODES = {PUBLISHED: 0, NOTHING_NEW: 0, IMPOSSIBLE: 2, BROKEN: 1}
EXIT_NOT_PUBLISHED = 3
#: Results that are told as errors.
FAILED = frozenset({IMPOSSIBLE, BROKEN})


@dataclass(frozen=True)
class LessonOutcome:
    """An answer, of ``given`` labels, and the seconds that it took."""

    answer: LessonAnswer
    given: int
    seconds: float

    @property
    def run(self) -> str | None:
        """Return the name of the published run."""
        run = self.answer.figures.get("run")
        return PurePath(run).name if isinstance(run, str) else None

    @property
    def left_out(self) -> list[str]:
        """Return which labels it could not use, in sentences."""
        sentences = self.answer.figures.get("left_out")
        return [str(sentence) for sentence in sentences] if isinstance(sentences, list) else []

    @property
    def exit_code(self) -> int:
        """Return the exit code of a command that asked for the lesson."""
        return EXIT_CODES.get(self.answer.result, EXIT_NOT_PUBLISHED)

    def sentence(self) -> str:
        """Say what came of it, in the language in use; the trainer's reasons are in the daemon's."""
        why = self.answer.why
        if self.answer.result in (NOTHING_NEW, BUSY, SUPERSEDED):
            return tr("no lesson: {why}", why=why)
        if self.answer.result != PUBLISHED:
            return trn(
                "nothing is learned from 1 label: {why}",
                "nothing is learned from {count} labels: {why}",
                self.given,
                why=why,
            )
        accuracy = _accuracy(self.answer.figures)
        if accuracy is None:
            return trn(
                "learned from 1 label: run {run} is published ({why})",
                "learned from {count} labels: run {run} is published ({why})",
                self.given,
                run=self.run,
                why=why,
            )
        before, now = accuracy
        return trn(
            "learned from 1 label: run {run} is published, accuracy on checked images {before:.3f} -> {now:.3f}",
            "learned from {count} labels: run {run} is published, accuracy on checked images {before:.3f} -> {now:.3f}",
            self.given,
            run=self.run,
            before=before,
            now=now,
        )

    def as_result(self) -> dict[str, Any]:
        """Return the answer for a command."""
        return {
            "result": self.answer.result,
            "says": self.sentence(),
            "why": self.answer.why,
            "run": self.run,
            "labels": self.given,
            "left_out": self.left_out,
            "seconds": round(self.seconds, 2),
            "exit": self.exit_code,
        }


def _accuracy(figures: dict[str, Any]) -> tuple[float, float] | None:
    """Return the shares of right images before and now, of those that both heads were judged by without having seen."""
    judged = figures.get("judged")
    if not isinstance(judged, dict):
        return None
    counts = [0, 0, 0]
    for kind in ("data_set", "labelled"):
        part = judged.get(kind)
        if not isinstance(part, dict):
            continue
        values = [part.get(name) for name in ("images", "right_before", "right")]
        if not all(isinstance(value, int) for value in values):
            return None
        counts = [total + value for total, value in zip(counts, values, strict=True)]  # type: ignore[operator]
    images, before, now = counts
    return (before / images, now / images) if images else None
