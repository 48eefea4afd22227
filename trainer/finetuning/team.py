"""The processes of one fit under torchrun: the first one fits, and the others wait for it to share its fine-tuning.

While the first one computes features, the others look into the store of torchrun; only for fine-tuning do all connect
to each other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import UserError
from models.text.language import tr
from trainer.finetuning.ranks import (
    PeerLost,
    Rank,
    Stopped,
    await_signal,
    die_by,
    obey_signals,
    peers_answering,
    record_error,
)
from trainer.tables import padded

if TYPE_CHECKING:
    from trainer.finetuning.group import Group

# No heavy imports here, so that a mistyped option is reported at once.

#: How long the others may take for a batch, an epoch's checks or a save on a slow disk.
_TIMEOUT = timedelta(minutes=30)
#: Seconds between two looks whether the first rank has come to fine-tuning.
_PAUSE = 0.2
#: Keys in the store.
_BEGUN, _DONE, _PROBLEM, _TOLD = "begun", "done", "problem", "told"

_Result = TypeVar("_Result")


class Team:
    """This process among the others."""

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self._store: Any = None

    def run(self, command: Callable[[], int]) -> int:
        """Run a command as one of the ranks: one of those on a machine says how it ended, the others are silent."""
        obey_signals()
        with contextlib.ExitStack() as stack:
            if not self.rank.is_first:
                silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 - a device
                stack.enter_context(contextlib.redirect_stdout(silence))
            try:
                return self._run(command)
            except KeyboardInterrupt:
                if self.rank.is_first:
                    raise
                die_by(signal.SIGINT)
            except Stopped:
                self._tell_stop()
                die_by(signal.SIGTERM)

    def _run(self, command: Callable[[], int]) -> int:
        try:
            return command()
        except PeerLost:
            raise Stopped from None
        except Exception as error:
            if self._is_first_to_tell():
                record_error(str(error) or type(error).__name__)
                raise
            await_signal()
            raise Stopped from None

    def _tell_stop(self) -> None:
        if self._is_first_to_tell():
            text = tr(
                "another process of this fit ended, or torchrun was told to stop: the same command with --resume "
                "continues it"
            )
            print(padded(tr("stopped"), 11) + text, file=sys.stderr, flush=True)

    def _is_first_to_tell(self) -> bool:
        """Whether no other process on this machine has told the user yet how the fit ended."""
        if self._store is None:  # each process has been given the same command
            return self.rank.local_number == 0
        try:
            return bool(self._store.add(f"{_TOLD}{self.rank.node}", 1) == 1)
        except RuntimeError:  # torchrun itself is gone
            return self.rank.local_number == 0

    def join(self, batch_size: int) -> None:
        """Connect to torchrun's store. Raises `UserError` where the processes cannot share batches."""
        if self.rank.count > batch_size:
            text = tr(
                "{count} processes cannot share batches of {size} images: start fewer, or give --batch-size {count}",
                count=self.rank.count,
                size=batch_size,
            )
            raise UserError(text)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost store would be warned of with a C++ trace
        import torch
        from torch import distributed

        if 0 < torch.cuda.device_count() < self.rank.local_count:
            text = tr(
                "{count} processes cannot share {gpus} GPUs: give torchrun --nproc-per-node {gpus}",
                count=self.rank.local_count,
                gpus=torch.cuda.device_count(),
            )
            raise UserError(text)
        with peers_answering():
            store, _, _ = next(distributed.rendezvous("env://", timeout=_TIMEOUT))
            # torchrun keeps the store when it starts all of them again.
            self._store = distributed.PrefixStore(f"attempt{self.rank.attempt}", store)
            self._store.set(f"device{self.rank.number}", "cuda" if torch.cuda.is_available() else "cpu")

    def take_part(self, act: Callable[[], _Result]) -> _Result:
        """Do this rank's part of the fit, and wait until the first one has written the run, or is lost.

        Where another process is lost, torchrun soon sends a signal, which says why.
        """
        try:
            result = act()
            self._finish()
        except PeerLost:
            await_signal()
            raise
        return result

    def begin(self) -> Group:
        """Connect the ranks to each other; the first one decides when."""
        from torch import distributed

        from trainer.finetuning.group import Group

        with peers_answering():
            if self.rank.is_first:
                self._store.set(_BEGUN, "")
            devices = {self._store.get(f"device{number}") for number in range(self.rank.count)}
        device, backend = "cpu", "gloo"
        if devices == {b"cuda"}:
            device, backend = f"cuda:{self.rank.local_number}", "cpu:gloo,cuda:nccl"
        if self.rank.local_count == self.rank.count:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # it would look for the address of the machine's name
        with peers_answering():
            distributed.init_process_group(
                backend,
                store=distributed.PrefixStore("group", self._store),
                rank=self.rank.number,
                world_size=self.rank.count,
                timeout=_TIMEOUT,
            )
        return Group(self.rank, distributed.group.WORLD, device)

    def await_work(self) -> Group | None:
        """Wait until the first rank begins to fine-tune, and connect to it; None where it has ended without."""
        while not self._has(_BEGUN):
            if self._has(_DONE):
                return None
            time.sleep(_PAUSE)
        return self.begin()

    def agree(self, group: Group, problem: str) -> None:
        """Raise `UserError` on all ranks where one of them has a ``problem``."""
        import numpy as np

        with peers_answering():
            if problem:
                self._store.set(_PROBLEM, problem)
            if group.sum(np.array([float(bool(problem))])).any():
                raise UserError(self._store.get(_PROBLEM).decode())

    def _finish(self) -> None:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
        if self.rank.is_first:
            with contextlib.suppress(RuntimeError):  # torchrun is gone, but the run was written
                self._store.set(_DONE, "")
            return
        while not self._has(_DONE):
            time.sleep(_PAUSE)

    def _has(self, key: str) -> bool:
        with peers_answering():
            return bool(self._store.check([key]))
