"""The classifier of the daemon's tests serves here, too."""

from __future__ import annotations

from tests.daemon.conftest import publish as publish
