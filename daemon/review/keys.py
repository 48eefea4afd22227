"""Let people in: by a link that is good once, or by a password; then a cookie holds their session.

Both are signed with a key that lies in the state folder, so that another command of the same user can make a link, and
a session outlasts a restart of the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from models.errors import UserError
from models.files.atomic import atomic_file
from models.files.ownership import make_folder
from models.text.language import tr

KEY_FILE, PASSWORD_FILE = "review.key", "review.password"
#: Seconds that a link is good for until it is used, and a session from its beginning.
LINK_SECONDS, SESSION_SECONDS = 600, 30 * 86400
#: Seconds that the next try waits after a wrong password.
WRONG_PASSWORD_SECONDS = 1.0
SHORTEST_PASSWORD = 8
_KEY_BYTES = 32
_SALT_BYTES = 16
#: Parameters of scrypt: 64 MiB and some 0.2 s for one try.
_COST = {"n": 1 << 16, "r": 8, "p": 1}
_MOST_MEMORY = 128 << 20
_LINK, _SESSION = "link", "session"


class Keys:
    """Signs and checks links and sessions. Safe in any thread."""

    def __init__(self, key: bytes, password: Path, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._password = password
        self._now = now
        #: A link that was made before may have been used then.
        self._since = int(now())
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, state: Path, now: Callable[[], float] = time.time) -> Keys:
        """Read the key of a state folder, or make one. Raises `UserError` where that cannot be."""
        return cls(_key(state), state / PASSWORD_FILE, now)

    def new_link(self) -> str:
        """Make the token of a new link."""
        return self._signed(_LINK, LINK_SECONDS)

    def enter(self, token: str) -> str | None:
        """Use up a link: returns the cookie of a new session, None where the link is not good."""
        expiry = self._valid(token, _LINK)
        if expiry is None or expiry - LINK_SECONDS < self._since:
            return None
        with self._lock:
            now = self._now()
            self._used = {used: end for used, end in self._used.items() if end > now}
            if token in self._used:
                return None
            self._used[token] = expiry
        return self._signed(_SESSION, SESSION_SECONDS)

    def is_session(self, cookie: str) -> bool:
        """Whether a cookie is that of a session."""
        return self._valid(cookie, _SESSION) is not None

    @property
    def has_password(self) -> bool:
        """Whether a password was set."""
        return self._password.exists()

    def enter_with_password(self, password: str) -> str | None:
        """Return the cookie of a new session, None for a wrong password. A try takes 64 MiB: one at a time."""
        return self._signed(_SESSION, SESSION_SECONDS) if _is_password(password, self._password) else None

    def _signed(self, kind: str, seconds: int) -> str:
        text = f"{int(self._now()) + seconds}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._signature(kind, text)}"

    def _valid(self, given: str, kind: str) -> int | None:
        """Return until when something that was signed is good; None where it is not."""
        text, _, signature = given.rpartition(".")
        if not given.isascii() or not hmac.compare_digest(signature, self._signature(kind, text)):
            return None
        expiry = int(text.partition(".")[0])
        return expiry if expiry > self._now() else None

    def _signature(self, kind: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{kind}.{text}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def set_password(state: Path, password: str) -> None:
    """Keep the hash of a password; all sessions end with the old one. Raises `UserError`."""
    if len(password) < SHORTEST_PASSWORD:
        raise UserError(
            tr("the password is too short: give one of at least {count} characters", count=SHORTEST_PASSWORD)
        )
    salt = secrets.token_bytes(_SALT_BYTES)
    kept = {"scrypt": _COST, "salt": salt.hex(), "hash": _hash(password, salt, _COST).hex()}
    try:
        make_folder(state)
        with atomic_file(state / PASSWORD_FILE, mode=0o600) as file:
            file.write(json.dumps(kept).encode())
        (state / KEY_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(state, error) from error


def _key(state: Path) -> bytes:
    """Read the key; make one, whole and durable or not at all, where there is none or a damaged one."""
    path = state / KEY_FILE
    try:
        with suppress(FileNotFoundError):
            if (key := _read_key(path)) is not None:
                return key
            path.unlink()
        # Of two commands that make one at once, both use the first.
        with suppress(FileExistsError), atomic_file(path, replace=False, mode=0o600) as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        key = _read_key(path)
    except OSError as error:
        raise _not_written(state, error) from error
    if key is None:
        raise UserError(tr("{path} is damaged: remove it", path=path))
    return key


def _read_key(path: Path) -> bytes | None:
    """Read a key and make its file private; None where it is not whole. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        key = os.read(descriptor, _KEY_BYTES)
        return key if len(key) == _KEY_BYTES and any(key) else None
    finally:
        os.close(descriptor)


def _is_password(given: str, file: Path) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_bytes())
        return hmac.compare_digest(_hash(given, bytes.fromhex(kept["salt"]), kept["scrypt"]).hex(), kept["hash"])
    return False


def _hash(password: str, salt: bytes, cost: dict[str, int]) -> bytes:
    # Systems write the same letters, such as those of Hangul, in one piece or in several.
    password = unicodedata.normalize("NFC", password)
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, maxmem=_MOST_MEMORY, dklen=32, **cost)


def _not_written(state: Path, error: OSError) -> UserError:
    return UserError(
        tr("{folder} cannot be written ({reason}): run this as the daemon's user", folder=state, reason=error.strerror)
    )
