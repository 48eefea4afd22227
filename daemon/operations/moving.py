"""File images that lie in the output already into other class folders, as a run of their own."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from daemon.files.class_mounts import ClassMounts
from daemon.filing.filer import Filer
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.sidecars import Sidecars
from daemon.journal.records import new_run
from daemon.operations.desk import Desk
from daemon.state import journal_path, state_folder
from models.text.printable import shown

#: What `new_run` makes.
RUN_PATTERN = r"^\d{8}T\d{6}-[0-9a-f]{8}$"


def settled_sidecars() -> Sidecars:
    """Make the `Sidecars` of class folders, where none is still being written and none is late."""
    return Sidecars(settle_seconds=0.0)


def make_filer(desk: Desk, *, dry_run: bool = False, run: str | None = None) -> Filer:
    """Make the filer of one operation. ``run``: the name that its rows get; None for a new one."""
    state = state_folder(desk.settings.state_dir)
    return Filer(
        desk.output,
        journal=desk.journal,
        dry_run=dry_run,
        roots=desk.roots,
        class_mounts=ClassMounts(journal_path(state, desk.output).parent),
        sidecars=settled_sidecars(),
        layout=FolderLayout(desk.settings.layout, desk.settings.watch),
        tags_too=desk.settings.metadata == "xmp",
        rules=desk.settings.class_rules.moving(),
        run=run or new_run(),
    )


def log_move(desk: Desk, source: Path, destination: Path) -> None:
    """Tell the log of a running daemon what a command had it move, in the same way for all commands."""
    if desk.is_running:
        logger.info("{}", shown(f"{source} -> {destination}"))
