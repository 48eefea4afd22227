from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import UserError
from tests.processes import environment
from trainer.__main__ import main
from trainer.finetuning.ranks import ALONE, Rank, own_rank
from trainer.finetuning.team import Team

#: What torchrun tells the second process on the second of two machines, started again once.
TOLD = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "TORCHELASTIC_RESTART_COUNT": "1",
}

SWALLOWED = """
import signal, time
from trainer.finetuning.ranks import Stopped, obey_signals

class Swallowing:
    def __del__(self):
        signal.raise_signal(signal.{name})

obey_signals()
try:
    Swallowing()
    time.sleep(600)
except (Stopped, KeyboardInterrupt) as end:
    print(type(end).__name__)
"""


def test_what_torchrun_says_is_understood() -> None:
    rank = own_rank(TOLD)
    assert rank == Rank(number=3, count=4, local_number=1, local_count=2, node=1, attempt=1)
    assert not rank.is_first


@pytest.mark.parametrize("gone", ["TORCHELASTIC_RUN_ID", "RANK"])
def test_without_torchrun_a_process_is_alone(gone: str) -> None:
    """Programs that share out the machines of a cluster set some of these names, too."""
    assert own_rank({name: value for name, value in TOLD.items() if name != gone}) == ALONE


@pytest.mark.parametrize(("cores", "count", "shares"), [(5, 2, [3, 2]), (2, 3, [1, 1, 1]), (8, 1, [8])])
def test_processes_share_the_cores_of_their_machine(cores: int, count: int, shares: list[int]) -> None:
    assert [Rank(0, 9, number, count).share_of(cores) for number in range(count)] == shares


@pytest.mark.parametrize("command", [["fit", "--data-dir", "D"], ["list"], ["evaluate", "--data-dir", "D"]])
def test_torchrun_is_for_fine_tuning_alone(command: list[str]) -> None:
    with pytest.raises(UserError, match="torchrun is for fit --fine-tune alone"):
        main(command, Team(Rank(count=2, local_count=2)))


def test_a_batch_has_an_image_for_every_process() -> None:
    with pytest.raises(UserError, match="9 processes cannot share batches of 8 images: .* --batch-size 9"):
        main(["fit", "--data-dir", "D", "--fine-tune", "--batch-size", "8"], Team(Rank(count=9, local_count=9)))


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, "Stopped"), (signal.SIGINT, "KeyboardInterrupt")])
def test_a_signal_ends_the_process_where_a_finaliser_swallows_it(
    number: signal.Signals, end: str, tmp_path: Path
) -> None:
    """Finalisers run at any moment, and an exception in one of them goes no further."""
    code = SWALLOWED.format(name=number.name)
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == (f"{end}\n", "")
