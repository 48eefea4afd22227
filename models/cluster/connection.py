"""Connect to a cluster of Ray, or start one on this machine, and notice when it is gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loguru import logger

from models.errors import UserError
from models.inference.runtime import cores
from models.text.language import tr

#: Bytes of the memory that a cluster on this machine shares: images do not go through it, only what is found of them.
_SHARED_MEMORY = 256 << 20
#: Seconds in which a cluster that is there takes a connection.
_CONNECTING_SECONDS = 2.0


def require_ray() -> None:
    """Raise `UserError` where Ray is not installed."""
    if find_spec("ray") is None:
        raise UserError(
            tr(
                "--engine ray needs a package that is not installed: install it with pip install '.[cluster]' in the "
                "clone, on every machine of the cluster"
            )
        )


@contextmanager
def connected() -> Iterator[Any]:
    """Be connected to the cluster that ``$RAY_ADDRESS`` names or ``ray start`` began here, else to one of this machine.

    Yields the module. A connection that is there already is used, and left. Raises `UserError`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    with ExitStack() as closing:
        try:
            with _signals_kept():
                _connect(ray, closing)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                tr(
                    "the Ray cluster does not answer ({reason}): see that it runs, and that RAY_ADDRESS names it",
                    reason=" ".join(str(error).split()),
                )
            ) from error
        closing.callback(ray.shutdown)
        yield ray


def _connect(ray: Any, closing: ExitStack) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    named = os.environ.get("RAY_ADDRESS")
    if named and not answers(named):
        raise ConnectionError(tr("nothing answers at {address}", address=named))
    if (address := named or _started_here()) is not None:
        ray.init(address=address, **quiet)
        return
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the local engine; Ray's is 15
    folder = closing.enter_context(TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
    ray.init(
        address="local",
        num_cpus=cores(),
        object_store_memory=_SHARED_MEMORY,
        include_dashboard=False,
        _temp_dir=folder,
        **quiet,
    )


def _started_here() -> str | None:
    """Return the address of the cluster that ``ray start`` began on this machine, if it still runs.

    Ray's own search takes any cluster that runs here, as that of another job, with which it would end.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except OSError:
        return None
    if address and not answers(address):
        logger.warning(
            tr("the Ray cluster {address} that was started here is gone; this machine works alone", address=address)
        )
        return None
    return address or None


def answers(address: str) -> bool:
    """Whether something takes connections at ``host:port``. Of other addresses it is not known, and True.

    Ray itself would try again for minutes, and end this process where it was connected before.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECTING_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give SIGTERM back to who had it: Ray takes it, and would end this process without its last block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
