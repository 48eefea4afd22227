"""Servers on this machine that put files into a folder, each as its users set it up, on a port of its own."""

from __future__ import annotations

import getpass
import http.server
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.processes import wait_for


def needs(*commands: str) -> None:
    """Skip the test where one of these programs is not installed."""
    for command in commands:
        if program(command) is None:
            pytest.skip(f"there is no {command} here")


def program(command: str) -> str | None:
    """Where a program is; servers are often outside the path of users."""
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(command: Sequence[str | Path], folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that listens on a port, with a group of its own; ended with all its children."""
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, start_new_session=True)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), f"the server answers: {log}")
        assert process.poll() is None, log.read_text(errors="replace")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def ftp(folder: Path, inbox: Path) -> Iterator[int]:
    """vsftpd, to which anybody may upload; yields its port."""
    needs("vsftpd")
    if os.geteuid() != 0:
        pytest.skip("vsftpd is started by root")
    port, configuration = free_port(), folder / "vsftpd.conf"
    configuration.write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\n"
        f"anon_root={inbox}\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n"
        "no_anon_password=YES\nwrite_enable=YES\nanon_umask=022\nallow_writeable_chroot=YES\nseccomp_sandbox=NO\n"
        "anon_world_readable_only=NO\nrun_as_launching_user=YES\nxferlog_enable=NO\n"
    )
    with server([program("vsftpd") or "", configuration], folder, port):
        yield port


@contextmanager
def smb(folder: Path, inbox: Path) -> Iterator[int]:
    """Samba with a share named ``inbox``, open to guests; yields its port."""
    needs("smbd", "smbclient")
    port, configuration = free_port(), folder / "smb.conf"
    directories = ""
    for place in (
        "lock directory",
        "state directory",
        "cache directory",
        "pid directory",
        "private dir",
        "ncalrpc dir",
    ):
        (folder / place).mkdir(mode=0o755)
        directories += f"{place} = {folder / place}\n"
    configuration.write_text(
        f"[global]\n{directories}smb ports = {port}\ninterfaces = lo\nbind interfaces only = yes\n"
        "map to guest = Bad User\nserver role = standalone server\nload printers = no\nprinting = bsd\n"
        "disable spoolss = yes\nlog level = 0\n"
        f"[inbox]\npath = {inbox}\nguest ok = yes\nread only = no\nforce user = {getpass.getuser()}\n"
    )
    command = [program("smbd") or "", "--foreground", "--no-process-group", "--debug-stdout", "-s", str(configuration)]
    with server(command, folder, port):
        yield port


@contextmanager
def ssh(folder: Path) -> Iterator[list[str]]:
    """An OpenSSH server that lets this user in; yields the options with which ``sftp`` and ``scp`` reach it."""
    needs("sshd", "ssh-keygen", "sftp", "scp")
    port, configuration, key = free_port(), folder / "sshd.conf", folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with suppress(OSError):
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\n"
        "UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    options = [f"Port={port}", f"IdentityFile={key}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    with server([program("sshd") or "", "-D", "-e", "-f", configuration], folder, port):
        yield ["-q", *(word for option in options for word in ("-o", option))]


#: Bytes that the web server sends ten times a second.
_PIECE = 15_000


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, from any byte on, slowly."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        content = path.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        with suppress(ConnectionError):
            for begin in range(start, len(content), _PIECE):
                self.wfile.write(content[begin : begin + _PIECE])
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """A web server of a folder's files; yields its address."""
    handler = lambda *args: _Ranges(*args, directory=str(folder))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
