"""Fork server and decoders, the processes that read untrusted files: ``python -m daemon.decoding.forkserver``.

It is a fork server: a process with one thread that has imported what decoding needs and nothing else, and that forks
a decoder on request. A decoder opens, reads, hashes and decodes one image after the other, within its limits.
A fork takes 3 ms and shares the memory of the imports (27 MB), where a process started afresh takes 120 ms and has all
of it to itself; and it is safe, since no thread of ONNX Runtime was ever here.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import pillow_heif
from PIL import (  # each format is imported once, before the fork
    AvifImagePlugin,
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from daemon.decoding.channel import Channel
from daemon.decoding.shared_crops import CropBuffer, SlotState
from daemon.files.malloc import keep_plenty
from daemon.files.roots import Roots
from daemon.files.source import Source, SourceError, open_source
from daemon.files.taken import exif_time_in
from models.decoding import bmpopening, pngopening, tiffopening  # noqa: F401
from models.decoding.images import DecodedFile, Transform, decode_file
from models.decoding.raw import decode_raw, is_raw
from models.errors import ImageError
from models.files.image_names import is_raw_name
from models.text.language import inherit, tr

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)

# Descriptors: the standard three, the connection, the shared memory, the image, and some for a library's own files.
_DESCRIPTORS = 32
# Where memory runs out altogether, the kernel is to choose a decoder, never the daemon.
_OOM_SCORE = 800
# Seconds that a killed decoder may take to vanish; one that reads from a dead network file system takes longer.
_VANISHING = 1.0
_PAGE = resource.getpagesize()
# What has an answer of such keys, beside those of measures, is finished so.
_MEASURES = {"size", "taken"}
_STATES = {frozenset[str](): SlotState.CROPS, frozenset({"end"}): SlotState.CROPS_WITHOUT_END}


class ForkServer:
    """Forks and ends decoders on request, until the daemon is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._ending: set[int] = set()

    def run(self) -> None:
        """Answer requests one after the other.

        ``{"memory": bytes}`` with two descriptors forks a decoder that talks through the one and leaves its crops in
        the other: ``{"pid": number}``, or ``{"error": why not}``. ``{"end": pid}`` kills one, unless it is dead:
        ``{"status": exit code or -signal}``, null where it does not vanish.
        """
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._control, 1024, 2)
            if not message:
                return
            request = json.loads(message)
            answer = {"status": self._end(request["end"])} if "end" in request else self._begin(request, *descriptors)
            self._control.send(json.dumps(answer).encode("ascii"))
            self._ending = {pid for pid in self._ending if os.waitpid(pid, os.WNOHANG)[0] == 0}

    def _begin(self, request: dict[str, int], connection: int, shared: int) -> dict[str, object]:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            return {"error": error.strerror}
        else:
            if pid == 0:
                self._control.close()
                _become_decoder(parent, connection, shared, request["memory"])
            self._children.add(pid)
            return {"pid": pid}
        finally:
            os.close(connection)
            os.close(shared)

    def _end(self, pid: int) -> int | None:
        """Kill a child of ours: until it is reaped, no other process gets its number."""
        if pid not in self._children:
            return None
        self._children.discard(pid)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _VANISHING
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        self._ending.add(pid)
        return None


def _become_decoder(fork_server: int, connection: int, shared: int, memory: int) -> NoReturn:
    """Run a decoder from the fork to its end. It writes no file, not even the warnings of a library."""
    status = 1
    try:
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() == fork_server:  # else it was gone before the kernel knew that we end with it
            nothing = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nothing, standard)
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
            with suppress(OSError):
                # Not to interrupt the model each time a request comes, sched(7): 4 % more images a second of 500 px.
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            _limit(memory)
            _serve(Channel(socket.socket(fileno=connection)), CropBuffer(shared))
    except ConnectionError:
        status = 0  # the daemon hung up
    finally:
        os._exit(status)


def _limit(memory: int) -> None:
    """Memory is limited as data: the address space also counts what is only reserved, or mapped from libraries.

    Time is the daemon's to limit.
    """
    for kind, limit in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def _serve(channel: Channel, buffer: CropBuffer) -> None:
    """Decode the images of each request, one after the other, until the daemon hangs up.

    Before an image is decoded, its slot says which file was read, so that the daemon knows that even if decoding ends
    this process; the state of its slot says when it is finished. An answer says why a file could not be read or has no
    crops; otherwise the crops are in the buffer, and the answer may say that the file lacks its end. Images that the
    daemon cancels before they are started, because the one before takes long, get no answer.
    """
    status = None
    with suppress(OSError):  # a container may have no /proc
        status = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    while True:
        request = channel.receive()
        transforms = [Transform(**values) for values in request["transforms"]]
        answers = []
        for slot, path in enumerate(request["paths"]):
            if slot and buffer.is_cancelled:
                break
            answers.append(_answer(Path(path), transforms, request, buffer, slot))
            buffer.mark_finished(slot, _STATES.get(frozenset(answers[-1]) - _MEASURES, SlotState.NO_CROPS))
        channel.send({"answers": answers, "resident": _resident(status)})


def _answer(
    path: Path, transforms: Sequence[Transform], request: dict[str, Any], buffer: CropBuffer, slot: int
) -> dict[str, object]:
    try:
        source = _read(path, request["max_bytes"], Roots(request["roots"]))
    except SourceError as error:
        return {"error": type(error).__name__, "message": str(error)}
    buffer.write_source(slot, {"identity": source.identity, "sha256": source.sha256})
    try:
        image = _decode(source, transforms, request["max_pixels"])
    except ImageError as error:
        return {"reason": error.reason, "message": error.message}
    buffer.write_crops(slot, image.crops)
    answer: dict[str, object] = {} if image.has_end else {"end": "missing"}
    if request["measures"]:
        time = exif_time_in(source.data)
        answer |= {"size": image.size, "taken": time and time.isoformat()}
    return answer


def _read(path: Path, max_bytes: int, roots: Roots) -> Source:
    try:
        return open_source(path, max_bytes=max_bytes, roots=roots)
    except MemoryError:
        return open_source(path, max_bytes=-1, roots=roots)  # identified, not read


def _decode(source: Source, transforms: Sequence[Transform], max_pixels: int) -> DecodedFile:
    try:
        if is_raw_name(source.path.name) and is_raw(source.data):
            return decode_raw(source.data, transforms, max_pixels=max_pixels)
        return decode_file(BytesIO(source.data), transforms, max_pixels=max_pixels)
    except MemoryError as error:
        raise ImageError("too-large", tr("The image needs more memory than there is.")) from error


def _resident(status: int | None) -> int:
    """Bytes of physical memory that this process uses, shared ones included, by its open ``statm``.

    Without it, the most that it ever used.
    """
    if status is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(os.pread(status, 256, 0).split()[1]) * _PAGE


def main() -> None:
    """Serve the daemon whose socket is the standard input."""
    for number in _IGNORED:  # they reach a whole group, and it is the daemon that decides what ends
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it may be ignored already, and then no child can be reaped
    inherit()
    control = socket.socket(fileno=os.dup(0))
    # The cores are shared out among the decoders; threads of one of them would count against its memory.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1
    sys.dont_write_bytecode = True
    keep_plenty()
    gc.freeze()
    with suppress(ConnectionError):  # the daemon may end at any moment
        ForkServer(control).run()


if __name__ == "__main__":
    main()
