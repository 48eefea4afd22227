"""Guard the page: let in only requests that are meant for this server, come from its page, and belong to a session.

- The header Host must be one of a list, so that no other name works that an attacker points at this machine.
- A request that changes anything comes from the page itself (Origin), is JSON, and is small.
- Everything but the way in needs a session.
- Every answer has headers that say what a browser may do with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.review.answers import refused
from daemon.review.keys import SESSION_SECONDS, Keys
from daemon.review.refusals import Refusal, ending
from models.text.language import tr

#: Bytes of a request at most, and seconds until all of it must have come.
LONGEST_BODY, BODY_SECONDS = 256 << 10, 10.0
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_SAFE = frozenset({"GET", "HEAD"})
#: Paths that links on other sites may lead to: without a session they show nothing.
_NAVIGATION = ("/", "/enter/")


@dataclass(frozen=True)
class Door:
    """Where the server is reached: the hosts by which it is called, and the path prefix, empty or like ``/photos``.

    ``cookie``: the name of the session's cookie, which no other server on this machine has.
    """

    hosts: frozenset[str]
    prefix: str = ""
    cookie: str = "imagesortd"

    def origins(self) -> frozenset[str]:
        """List the origins of the page."""
        return frozenset(f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https"))

    def session_cookie(self, value: str, *, is_secure: bool) -> str:
        """Return the header that sets the cookie of a session."""
        attributes = f"Path={self.prefix or '/'}; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict"
        return f"{self.cookie}={value}; {attributes}{'; Secure' if is_secure else ''}"


class Guard:
    """Passes requests that are in order on to the application, and refuses the others itself."""

    def __init__(self, app: ASGIApp, door: Door, keys: Keys, open_paths: Iterable[str]) -> None:
        """``open_paths``: what needs no session, each a path or, with a slash at its end, all below it."""
        self._app = app
        self._door = door
        self._keys = keys
        self._open = tuple(open_paths)
        self._origins = door.origins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope)
            body = await _body(scope, receive)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, _replay(body, receive), send_guarded)
        except asyncio.CancelledError:  # the server ends, and waits no longer for this answer
            await refused(ending())(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        """Raise `Refusal` for a request that is not in order."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._door.hosts:
            raise Refusal(403, tr("this server does not go by that name: open the link that it has printed"))
        path = scope["path"]
        if self._door.prefix:
            if not path.startswith(f"{self._door.prefix}/"):
                raise Refusal(404, tr("there is nothing at this address"))
            scope["root_path"] = self._door.prefix
            path = path.removeprefix(self._door.prefix)
        self._check_origin(headers, scope["method"], path)
        scope["session"] = self._keys.is_session(_cookie(headers, self._door.cookie))
        if not scope["session"] and not _is_below(path, self._open):
            raise Refusal(401, tr("open a new link: python -m daemon review --link prints one"))

    def _check_origin(self, headers: Headers, method: str, path: str) -> None:
        origins = headers.getlist("origin")
        if method in _SAFE:
            is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            is_led_here = headers.get("sec-fetch-mode") == "navigate" and _is_below(path, _NAVIGATION)
            if (is_foreign and not is_led_here) or not set(origins) <= self._origins:
                raise Refusal(403, tr("this request comes from another site"))
            return
        if len(origins) != 1 or origins[0] not in self._origins:
            raise Refusal(403, tr("this request comes from another site"))
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, tr("the request is not JSON"))


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Receive the whole of a request that is small and comes in time. Raises `Refusal`."""
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length) > LONGEST_BODY:
        raise Refusal(413, tr("the request is too large"))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LONGEST_BODY:
                    raise Refusal(413, tr("the request is too large"))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refusal(408, tr("the request took too long")) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the application the request that was received, and after it what comes then: that the client is gone."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _is_below(path: str, paths: Iterable[str]) -> bool:
    return any(
        path == allowed or (len(allowed) > 1 and allowed[-1] == "/" and path.startswith(allowed)) for allowed in paths
    )
