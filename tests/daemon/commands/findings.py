"""What the tests of ``doctor`` ask of its findings."""

from __future__ import annotations

import os
from collections.abc import Iterable

from daemon.commands.probes import Finding


def wrongs(findings: Iterable[Finding]) -> list[str]:
    """List what is wrong; there is advice for each."""
    found = list(findings)
    assert found
    assert all(finding.advice for finding in found if finding.state == "wrong")
    return [finding.text for finding in found if finding.state == "wrong"]


def raising(code: int) -> object:
    """Make a call that fails with an error of the system."""

    def call(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return call
