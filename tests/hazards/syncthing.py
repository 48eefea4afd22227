"""Two devices of Syncthing on this machine, one of which sends a folder and the other one receives it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.hazards.servers import free_port, needs, program, server

_CONFIGURATION = """\
<configuration version="35">
    <folder id="pictures" path="{path}" type="{kind}" rescanIntervalS="2" fsWatcherEnabled="false">
        <device id="{sender}"/><device id="{receiver}"/>
        <minDiskFree unit="%">0</minDiskFree>
    </folder>
    <device id="{sender}" compression="never"><address>tcp://127.0.0.1:{sends}</address></device>
    <device id="{receiver}" compression="never"><address>tcp://127.0.0.1:{receives}</address></device>
    <gui enabled="false"/>
    <options>
        <listenAddress>tcp://127.0.0.1:{port}</listenAddress>
        <globalAnnounceEnabled>false</globalAnnounceEnabled>
        <localAnnounceEnabled>false</localAnnounceEnabled>
        <relaysEnabled>false</relaysEnabled>
        <natEnabled>false</natEnabled>
        <crashReportingEnabled>false</crashReportingEnabled>
        <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
        <urAccepted>-1</urAccepted>
        <startBrowser>false</startBrowser>
        <setLowPriority>false</setLowPriority>
        <reconnectionIntervalS>2</reconnectionIntervalS>
        <maxSendKbps>{kb}</maxSendKbps>
        <limitBandwidthInLan>true</limitBandwidthInLan>
    </options>
</configuration>
"""


class Syncthing:
    """``shared``: what lies in there comes into the inbox."""

    def __init__(self, folder: Path, inbox: Path, rate: int) -> None:
        """``rate``: bytes a second, after the first half megabyte."""
        needs("syncthing")
        self.shared = folder / "shared"
        self._folder = folder
        self._ports = {"sender": free_port(), "receiver": free_port()}
        self._sending = ExitStack()
        devices = {name: _made(folder / name) for name in self._ports}
        for name, path in (("sender", self.shared), ("receiver", inbox)):
            path.mkdir(exist_ok=True)
            (path / ".stfolder").mkdir()
            kind = "sendonly" if name == "sender" else "receiveonly"
            port, sends, receives = self._ports[name], self._ports["sender"], self._ports["receiver"]
            text = _CONFIGURATION.format(
                path=path, kind=kind, port=port, sends=sends, receives=receives, kb=rate // 1000, **devices
            )
            (folder / name / "config.xml").write_text(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._device("receiver"), self._sending:
            self.send()
            yield

    def send(self) -> None:
        """Start the device that sends."""
        self.sender = self._sending.enter_context(self._device("sender"))

    def break_off(self) -> None:
        """End the device that sends, whatever it does."""
        self._sending.close()

    @contextmanager
    def _device(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        home = self._folder / name
        command = [program("syncthing") or "", "serve", f"--home={home}", "--no-browser", "--no-restart"]
        with server(command, home, self._ports[name]) as process:
            yield process


def _made(home: Path) -> str:
    """The identity of a new device."""
    command = [program("syncthing") or "", "generate", f"--home={home}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = re.search(r'<device id="([A-Z0-9-]+)"', (home / "config.xml").read_text())
    assert found is not None
    return found[1]
