"""Serve the control socket on a thread of its own, which sleeps until a peer wants something.

Whatever a peer sends or fails to send costs a bounded amount of memory, descriptors and time, and never an image: what
moves a file is handed to the work loop, and what this thread computes is limited.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping

from loguru import logger

from daemon.control import protocol
from daemon.control.calls import Call
from daemon.control.listening import is_admitted
from daemon.control.peers import Peer
from daemon.control.protocol import FAULT, PACE, PATIENCE, Malformed
from daemon.watching.wakeup import Wakeup
from models.text.language import in_use, speaking, tr

#: Peers at once. One more takes the place of one that has sent nothing for so many seconds.
MOST_PEERS = 16
_IDLE = 1.0
#: Seconds between two looks at calls under way, and until a connection is accepted after there was no descriptor.
_TICK, PAUSE = 1.0, 1.0
#: Seconds of processor time that this thread may take of each window of so many seconds.
_SHARE, _WINDOW = 0.05, 0.25
#: Seconds that peers have to take their last lines when the daemon ends.
_LAST_LINES = 1.0

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class ControlServer:
    """Takes the calls of peers.

    ``begin`` is given each, on this thread: it answers the call, or hands it to the work loop. ``look`` is called when
    a peer has gone away or takes more. ``why_stuck`` says why the work loop makes no progress, if so: then nobody
    waits. ``group``: members of that group may speak, beside this user and root.
    """

    def __init__(
        self,
        listening: socket.socket,
        greeting: Mapping[str, object],
        begin: Callable[[Call], None],
        *,
        look: Callable[[], None] = lambda: None,
        why_stuck: Callable[[], str | None] = lambda: None,
        group: int | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listening = listening
        self._greeting = protocol.encode(greeting)
        self._begin = begin
        self._look = look
        self._why_stuck = why_stuck
        self._group = group
        self._patience = patience
        self._clock = clock
        self._peers: dict[int, Peer] = {}
        self._wakeup = Wakeup()
        self._accept_at = -math.inf
        self._window_ends, self._used = -math.inf, 0.0
        self._is_closing = False
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """End, once the peers have taken what they are sent, or soon. The listening socket stays open."""
        self._is_closing = True
        self._wakeup.set()
        if self._thread.is_alive():
            self._thread.join()
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        self._wakeup.close()

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self._round(self._timeout())
            except Exception as error:
                self._warn_once(tr("the control socket had an internal error"), error)
                self._drop_all()
                time.sleep(PAUSE)
        deadline = self._clock() + min(_LAST_LINES, self._patience)
        while any(peer.events & select.POLLOUT for peer in self._peers.values()) and self._clock() < deadline:
            self._round(deadline - self._clock())

    def _round(self, timeout: float | None) -> None:
        """Wait for something to do, and do a little for each peer."""
        poll = select.poll()
        poll.register(self._wakeup.fileno(), select.POLLIN)
        if self._clock() >= self._accept_at and not self._is_closing:
            poll.register(self._listening.fileno(), select.POLLIN)
        for descriptor, peer in self._peers.items():
            poll.register(descriptor, peer.events)
        ready = dict(poll.poll(None if timeout is None else math.ceil(max(0.0, timeout) * 1000)))
        begun = time.thread_time()
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
        for descriptor, peer in list(self._peers.items()):
            self._attend(peer, ready.get(descriptor, 0))
        if self._listening.fileno() in ready:
            self._accept()
        self._rest(time.thread_time() - begun)

    def _timeout(self) -> float | None:
        """Return how long nothing has to be done unless a peer wants something; None: for ever."""
        now = self._clock()
        times = [peer.deadline() for peer in self._peers.values()]
        if any(peer.may_have_line for peer in self._peers.values()):
            times.append(now)
        if any(peer.call is not None for peer in self._peers.values()):
            times.append(now + _TICK)
        if self._accept_at > now:
            times.append(self._accept_at)
        soonest = min(times, default=math.inf)
        return None if soonest == math.inf else max(0.0, soonest - now)

    def _rest(self, used: float) -> None:
        """Sleep for the rest of a window in which this thread has taken its share of the processor."""
        now = self._clock()
        if now >= self._window_ends:
            self._window_ends, self._used = now + _WINDOW, 0.0
        self._used += used
        if self._used > _SHARE and not self._is_closing:
            time.sleep(max(0.0, self._window_ends - now))

    # --- one peer

    def _attend(self, peer: Peer, ready: int) -> None:
        try:
            if ready & _GONE:
                self._drop(peer)
                return
            if ready & select.POLLIN:
                peer.receive()
            peer.send()
            self._answer(peer)
            peer.send()
        except OSError as error:
            logger.debug("control: a peer has gone away: {}", error.strerror)
            self._drop(peer)
            return
        if peer.is_done or (self._clock() >= peer.deadline() and self._is_too_late(peer)):
            self._drop(peer)

    def _answer(self, peer: Peer) -> None:
        """Take a line of a peer, or see to its call."""
        if peer.call is not None:
            self._tend(peer, peer.call)
        with speaking(peer.language or in_use()):
            try:
                if peer.may_have_line and (line := peer.next_line()) is not None:
                    self._take(peer, line)
            except Malformed as error:
                peer.end(str(error))

    def _take(self, peer: Peer, line: bytes) -> None:
        message = protocol.decode(line)
        if peer.language is None:
            peer.language = protocol.language_of(message)
            peer.listen_again()
            return
        call = Call(protocol.request(message), peer.language, peer)
        peer.call = call
        try:
            self._begin(call)
        except Exception as error:
            call.failed(error)
        self._tend(peer, call)

    def _tend(self, peer: Peer, call: Call) -> None:
        """See whether a call is over; tell a peer that waits whether it still makes sense to wait."""
        if not call.is_over and (why := self._stuck(peer)) is not None:
            call.fail(why, FAULT)
        if call.is_over:
            peer.listen_again()
            self._look()  # at what it leaves behind
            return
        if call.has_room and peer.was_full:
            peer.was_full = False
            self._look()
        if call.has_room and self._clock() >= peer.last_sent + PACE:
            call.working()

    def _stuck(self, peer: Peer) -> str | None:
        with speaking(peer.language or in_use()):
            return self._why_stuck()

    def _is_too_late(self, peer: Peer) -> bool:
        """Deal with a peer whose time is over; returns whether to drop it now."""
        if peer.is_ending or peer.events & select.POLLOUT:
            return True
        with speaking(peer.language or in_use()):
            peer.end(tr("nothing was sent for {seconds:g} s", seconds=self._patience))
        peer.send()
        return peer.is_done

    def _drop(self, peer: Peer) -> None:
        self._peers.pop(peer.connection.fileno(), None)
        was_busy = peer.call is not None
        peer.close()
        if was_busy:
            self._look()

    def _drop_all(self) -> None:
        for peer in list(self._peers.values()):
            self._drop(peer)

    # --- new ones

    def _accept(self) -> None:
        for _ in range(MOST_PEERS):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._accept_at = self._clock() + PAUSE
                    self._warn_once(tr("no command can speak to the daemon for now: {error}", error=error), None)
                    return
                continue  # it has gone away already
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        peer = Peer(connection, self._wakeup.set, self._clock, patience=self._patience)
        try:
            if not is_admitted(connection, self._group):
                peer.end(tr("only the daemon's user, root and the group of control_group may speak to the daemon"))
                self._warn_once(tr("a user who may not speak to the daemon has tried to"), None)
            elif len(self._peers) >= MOST_PEERS and not self._make_room():
                peer.end(tr("too many commands speak to the daemon now: try again in a moment"), is_busy=True)
            else:
                peer.put(self._greeting)
                peer.send()
                self._peers[connection.fileno()] = peer
                return
            peer.send()
        except OSError as error:
            logger.debug("control: a peer has gone away: {}", error.strerror)
        peer.close()

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest, if it has been for long."""
        idle = min(self._peers.values(), key=Peer.idle_since)
        if idle.idle_since() > self._clock() - _IDLE:
            return False
        with speaking(idle.language or in_use()):
            idle.end(tr("too many commands speak to the daemon now: try again in a moment"), is_busy=True)
        self._attend(idle, 0)
        if idle.connection.fileno() >= 0:
            self._drop(idle)
        return True

    def _warn_once(self, sentence: str, error: Exception | None) -> None:
        if sentence not in self._warned and len(self._warned) < MOST_PEERS:
            self._warned.add(sentence)
            logger.opt(exception=error).warning("{}", sentence)
