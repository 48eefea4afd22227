"""The nodes of a cluster, and how its workers share them."""

from __future__ import annotations

from typing import Any, NamedTuple

#: The most cores of a worker: with more of them a batch of the model is finished hardly sooner.
_MOST_CORES = 4


class Share(NamedTuple):
    """A worker's part of a node."""

    cores: int
    gpus: int


class Node(NamedTuple):
    """A machine of the cluster that is alive, and how its workers share it."""

    id: str
    address: str
    shares: tuple[Share, ...]


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
