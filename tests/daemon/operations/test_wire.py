"""What a command asks for reaches a daemon as it was meant."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from daemon.journal.labels import How
from daemon.journal.records import new_run
from daemon.operations.desk import Params
from daemon.operations.labels import ForgetParams, LabelsParams
from daemon.operations.methods import METHODS
from daemon.operations.relabel import RelabelParams
from daemon.operations.resort import ResortMove, ResortParams
from daemon.operations.selection import GivenName

ODD = os.fsdecode(b"caf\xe9\n.jpg")
NAMES = (GivenName(name=ODD, path=f"/srv/{ODD}"), GivenName(name="a.jpg", path="/srv/a.jpg"))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("relabel", RelabelParams(files=NAMES, to="늑대", new=True, run=new_run())),
        (
            "resort",
            ResortParams(moves=(ResortMove(filing=1, label="dog", confidence=1),), digest="0" * 64, run=new_run()),
        ),
        ("labels", LabelsParams(label="dog", how=(How.MOVED, How.AUDITED), since=datetime.now(UTC), limit=3)),
        ("labels", LabelsParams()),
        ("forget", ForgetParams(files=NAMES, ids=(1, 2), last=3, as_json=True)),
    ],
)
def test_params_survive_the_way(method: str, params: Params) -> None:
    line = json.dumps(params.model_dump(mode="json"))
    assert METHODS[method].parse(json.loads(line)) == params
