"""What the daemon says of its alarms, in its status file and to those who ask."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from daemon.alarms import causes
from daemon.journal.alarms import AlarmEvent


class AlarmHealth(BaseModel):
    """One thing that is wrong now, and since when; ``details`` fill its sentence."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cause: str
    subject: str
    since: float
    details: dict[str, object]

    @classmethod
    def from_event(cls, event: AlarmEvent) -> AlarmHealth:
        """Make it of the event with which it began."""
        return cls(cause=event.cause, subject=event.subject, since=event.time.timestamp(), details=dict(event.details))

    @property
    def sentence(self) -> str:
        """Say what is wrong, in the language of who reads it."""
        time = datetime.fromtimestamp(self.since, UTC)
        return causes.sentence(
            AlarmEvent(cause=self.cause, subject=self.subject, over=False, details=self.details, time=time)
        )


class AlarmsHealth(BaseModel):
    """What is wrong ``now``, the oldest first, and how many alarms have ``begun`` since the start, by cause."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    now: list[AlarmHealth] = []
    begun: dict[str, int] = {}
