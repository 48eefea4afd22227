"""Render the daemon's metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from daemon.alarms.status import AlarmsHealth
from daemon.learning.status import LearningHealth
from daemon.monitoring.audits import AuditHealth
from daemon.monitoring.health import Health
from daemon.monitoring.messages import shown

_PREFIX = "imagesortd_"


def render(health: Health, now: float) -> str:
    """Everything of ``health`` in the text format; ``now``, in seconds since 1970, is when it was looked at."""
    return "".join(f"{line}\n" for line in _lines(health, now))


def _lines(health: Health, now: float) -> Iterator[str]:
    yield from _metric(
        "images_total", "counter", "Images by what became of them.", *_by("outcome", health.images.items())
    )
    yield from _metric(
        "filed_total",
        "counter",
        "Images filed, by class; without one those of classes beyond the first 500.",
        *_by("class", health.classes.items()),
    )
    yield from _metric(
        "labels_total",
        "counter",
        "Images that people said something of, by how they did.",
        *_by("how", health.labels.items()),
    )
    yield from _learning(health.learning)
    yield from _audit(health.audit)
    yield from _alarms(health.alarms)
    yield from _metric(
        "attempts_total",
        "counter",
        "Attempts after which an image is tried again.",
        *_by("outcome", health.attempts.items()),
    )
    yield from _metric("images_waiting", "gauge", "Images waiting in the inboxes.", ({}, health.waiting))
    yield from _metric("images_in_flight", "gauge", "Images at work.", ({}, health.in_flight))
    yield from _metric(
        "images_held", "gauge", "Images that undo brought back.", ({}, 0 if health.held is None else health.held.count)
    )
    if health.oldest is not None:
        yield from _metric(
            "oldest_image_timestamp_seconds", "gauge", "When the oldest waiting image came.", ({}, health.oldest)
        )
    yield from _metric(
        "inbox_up",
        "gauge",
        "Whether an inbox is there.",
        *_by("inbox", ((i.path, not i.missing) for i in health.inboxes)),
    )
    yield from _metric(
        "inbox_polled",
        "gauge",
        "Whether an inbox is polled for want of events.",
        *_by("inbox", ((inbox.path, inbox.mode == "polling") for inbox in health.inboxes)),
    )
    yield from _metric(
        "inbox_other_files",
        "gauge",
        "Files in an inbox that are not looked at because of their names.",
        *_by("inbox", ((inbox.path, inbox.other_files) for inbox in health.inboxes)),
    )
    yield from _metric("watched_folders", "gauge", "Folders with events.", ({}, health.watched_folders))
    yield from _metric("event_overflows_total", "counter", "Times that events were lost.", ({}, health.overflows))
    yield from _metric(
        "watcher_restarts_total", "counter", "Times that the reader of events died.", ({}, health.restarts)
    )
    yield from _metric("errors_total", "counter", "Lines logged as errors.", ({}, health.errors))
    yield from _metric("model_reloads_total", "counter", "Models taken over while running.", ({}, health.reloads))
    model = {"mode": health.model.mode, "digest": health.model.digest[:12]}
    yield from _metric("model_info", "gauge", "The model in use.", (model, 1))
    yield from _metric("model_classes", "gauge", "Classes of the model in use.", ({}, health.model.classes))
    yield from _metric("start_timestamp_seconds", "gauge", "When the daemon was started.", ({}, health.started))
    yield from _metric("progress_timestamp_seconds", "gauge", "When the work loop last said so.", ({}, now))


def _learning(learning: LearningHealth | None) -> Iterator[str]:
    if learning is None:
        return
    yield from _metric(
        "lessons_total", "counter", "Lessons by what came of them.", *_by("result", learning.lessons.items())
    )
    yield from _metric("labels_waiting", "gauge", "Labels that nothing was learned from yet.", ({}, learning.waiting))
    if learning.last is not None:
        yield from _metric(
            "last_lesson_seconds", "gauge", "How long the last lesson took.", ({}, learning.last.seconds)
        )
        yield from _metric(
            "last_lesson_timestamp_seconds", "gauge", "When the last lesson began.", ({}, learning.last.time)
        )


def _audit(audit: AuditHealth | None) -> Iterator[str]:
    if audit is None:
        return
    text = "Share of what was filed that is wrong, by the last audit."
    yield from _metric("audit_wrong_ratio", "gauge", text, ({}, audit.share))
    yield from _metric("audit_wrong_ratio_low", "gauge", "Lower end of its exact interval.", ({}, audit.low))
    yield from _metric("audit_wrong_ratio_high", "gauge", "Upper end of its exact interval.", ({}, audit.high))
    text = "Whether more is wrong than was promised."
    yield from _metric("audit_promise_broken", "gauge", text, ({}, audit.is_broken))


def _alarms(alarms: AlarmsHealth) -> Iterator[str]:
    now = (({"cause": alarm.cause, "subject": shown(alarm.subject)}, 1) for alarm in alarms.now)
    yield from _metric("alarm", "gauge", "Alarms that are not over; there is none for what is well.", *now)
    yield from _metric("alarms_total", "counter", "Alarms that began, by cause.", *_by("cause", alarms.begun.items()))


def _by(label: str, values: Iterable[tuple[str, int]]) -> Iterator[tuple[dict[str, str], float]]:
    return (({label: key}, value) for key, value in values)


def _metric(name: str, kind: str, text: str, *samples: tuple[Mapping[str, str], float]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(content)}"' for key, content in labels.items())
        digits = 3 if value > 1 else 6  # times, or shares
        number = f"{value:.{digits}f}".rstrip("0").rstrip(".") if isinstance(value, float) else int(value)
        yield f"{_PREFIX}{name}{f'{{{inside}}}' if inside else ''} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
