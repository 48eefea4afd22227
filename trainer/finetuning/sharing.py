"""How the ranks come to fine-tune together: the first one hands out the work, and the others do their share of it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from models.errors import UserError
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.finetuning.finetune import fine_tune
from trainer.finetuning.group import Group
from trainer.finetuning.team import Team
from trainer.finetuning.work import Work, read_work, require_images


def hand_out(team: Team, work: Work, tell: Callable[[str], None]) -> Group:
    """Give the others their work. Raises `UserError` where one of them cannot do it."""
    group = team.begin()
    group.share(work.payload())
    team.agree(group, "")
    tell(tr("{count} processes share each batch of {size} images", count=team.rank.count, size=work.options.batch_size))
    return group


def follow(team: Team, cache_dir: Path | None) -> None:
    """Do this rank's share of the first one's fine-tuning, once it comes to that."""
    if (group := team.await_work()) is not None:
        _do_share(team, group, WeightsStore(cache_dir))
        gc.collect()  # the network, while the first rank needs memory for what is left


def _do_share(team: Team, group: Group, store: WeightsStore) -> None:
    payload = group.share(None)
    assert payload is not None, "the first rank hands out some work"
    try:
        work = read_work(payload, store)
        if team.rank.node > 0:
            require_images(work)
    except UserError as error:
        team.agree(group, str(error))
        raise
    team.agree(group, "")
    fine_tune(*work.arguments, lambda _: None, lambda _: None, group=group)
