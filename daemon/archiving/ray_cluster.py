"""Ray: connect to a cluster, or start one on this machine, and see which nodes it has."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from models.errors import UserError
from models.inference.runtime import cores
from models.text.language import tr

#: The most cores of a worker: with more of them a batch of the model is finished hardly sooner.
_MOST_CORES = 4
#: Bytes of the memory that a cluster on this machine shares: only addresses, rows and the checkpoint go through it.
_SHARED_MEMORY = 256 << 20


class Share(NamedTuple):
    """A worker's part of a node."""

    cores: int
    gpus: int


class Node(NamedTuple):
    """A machine of the cluster that is alive, and how its workers share it."""

    id: str
    address: str
    shares: tuple[Share, ...]


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
    if (address := os.environ.get("RAY_ADDRESS") or _started_here()) is not None:
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
    """Return the address of the cluster that ``ray start`` began on this machine.

    Ray's own search takes any cluster that runs here, as that of another job, with which it would end.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except OSError:
        return None
    return address or None


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


def nodes(ray: Any, *, with_gpus: bool) -> list[Node]:
    """List the nodes that are alive and have something to work with: GPUs, or only cores are wanted."""
    found = []
    for node in ray.nodes():
        resources = node["Resources"]
        gpus = int(resources.get("GPU", 0)) if with_gpus else 0
        shares = _shares(int(resources.get("CPU", 0)), gpus)
        if node["Alive"] and shares:
            found.append(Node(node["NodeID"], node["NodeManagerAddress"], shares))
    return found


def requirements(node: Node, share: Share) -> dict[str, Any]:
    """Return the options with which Ray starts a worker that gets a share of a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return {"num_cpus": share.cores, "num_gpus": share.gpus, "scheduling_strategy": here}


def _shares(cores_: int, gpus: int) -> tuple[Share, ...]:
    """Share a node out: a worker for each GPU, with its part of the cores; without GPUs for some cores each."""
    count = min(gpus, cores_) or -(-cores_ // _MOST_CORES)
    return tuple(Share((cores_ + number) // count, int(bool(gpus))) for number in range(count))
