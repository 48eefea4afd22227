"""Check whether a checkpoint fits into the memory that is left beside the one in use."""

from __future__ import annotations

from pathlib import Path

from models.errors import UserError
from models.text.language import tr

#: While it is loaded a checkpoint is in memory as its file's bytes, as its tensors and as the graph made of them.
_COPIES = 3
#: Smaller checkpoints are not checked: a head alone is smaller.
SMALL_CHECKPOINT = 32 << 20

#: Where the kernel tells the machine's memory, the groups of this process, and what each group may use.
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def require_room(path: Path) -> None:
    """Raise `UserError` where loading a checkpoint would bring on the out-of-memory killer."""
    size = path.stat().st_size
    if size > SMALL_CHECKPOINT and (free := free_memory()) < _COPIES * size:
        raise UserError(
            tr(
                "there is not enough memory for the checkpoint {path}: {times} MB are needed to load it, "
                "and {free} MB are free",
                path=path,
                times=_COPIES * size >> 20,
                free=free >> 20,
            )
        )


def free_memory() -> int:
    """Bytes that this process may still allocate: of the machine, and of its control group (systemd's MemoryMax)."""
    return min([_machine(), *_groups()])


def _machine() -> int:
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="ascii").splitlines())
    return int(lines["MemAvailable"].split()[0]) << 10


def _groups() -> list[int]:
    """List the memory that the limits of the control group and its parents leave."""
    try:
        own = next(line[3:] for line in CGROUP.read_text(encoding="utf-8").splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    place = CGROUPS / own.lstrip("/")
    return [left for group in (place, *place.parents) if (left := _left(group)) is not None]


def _left(group: Path) -> int | None:
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        known = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return limit - used + int(known["inactive_file"])  # cached files make room
    except (OSError, ValueError, KeyError):  # the group has no limit, or the kernel tells no such thing
        return None
