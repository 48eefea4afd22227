"""What is said of images in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.filing.outcome import Outcome
from daemon.filing.status import Status
from daemon.monitoring.messages import refused


@pytest.mark.parametrize(
    ("reason", "detail", "said"),
    [
        ("sidecar", "the XMP sidecar of 'a.jpg' stays as it is: why", "the XMP sidecar of 'a.jpg' stays as it is: why"),
        ("damaged", "why", "a.jpg stays where it is: why"),
    ],
)
def test_an_image_that_stays_is_named_once(reason: str, detail: str, said: str) -> None:
    outcome = Outcome(path=Path("/inbox/a.jpg"), status=Status.REFUSED, reason=reason, detail=detail)
    assert refused(outcome) == said
