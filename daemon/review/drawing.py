"""Draw images at random, in equal shares of all classes, and estimate from them which share is wrong.

Each class gives its share of the draw, rounded up or down at random, so that every image is as likely to be drawn as
any other: the share that is wrong among the drawn ones estimates that of all, without weights. Its interval is that of
Clopper and Pearson (Biometrika 1934) for the whole draw. With strata the count of mistakes varies less than their
binomial does (Hoeffding, Ann. Math. Statist. 1956), so it holds, and is if anything too wide. The images come in random
order, so that those answered so far are a sample, too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

CONFIDENCE = 0.95
#: Halvings of the interval in which a bound is looked for: to 1e-15.
_STEPS = 50


def shares(sizes: Mapping[str, int], count: int, random_numbers: random.Random) -> dict[str, int]:
    """Divide a draw among classes in proportion to their sizes, each rounded up or down at random."""
    total = sum(sizes.values())
    if count >= total:
        return dict(sizes)
    start = random_numbers.random()
    divided: dict[str, int] = {}
    before = 0
    for label in sorted(sizes):
        after = before + sizes[label]
        divided[label] = math.ceil(after * count / total - start) - math.ceil(before * count / total - start)
        before = after
    return divided


def draw(images: Mapping[str, Sequence[int]], count: int, seed: int) -> Iterator[tuple[str, int, Iterator[int]]]:
    """Yield for each class how many of its images are to be drawn, and the images in the order to draw them in."""
    random_numbers = random.Random(seed)
    sizes = {label: len(ids) for label, ids in images.items()}
    for label, share in shares(sizes, count, random_numbers).items():
        order = sorted(images[label])
        random.Random(f"{seed} {label}").shuffle(order)
        yield label, share, iter(order)


@lru_cache(maxsize=4096)
def interval(wrong: int, count: int) -> tuple[float, float]:
    """Return the exact interval of a share, after ``wrong`` among ``count``; 0 to 1 where nothing was counted."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if wrong == 0 else _bound(lambda share: 1 - _at_most(wrong - 1, count, share), tail)
    high = 1.0 if wrong == count else 1 - _bound(lambda share: _at_most(wrong, count, 1 - share), tail)
    return low, high


def _bound(probability: Callable[[float], float], tail: float) -> float:
    """Find the share at which a probability that grows with it reaches ``tail``."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < tail else (low, middle)
    return low


def _at_most(most: int, count: int, share: float) -> float:
    """Return the probability of at most so many among ``count``, each with this probability."""
    if share <= 0 or most >= count:
        return 1.0
    if share >= 1:
        return 0.0
    log_share, log_rest, log_all = math.log(share), math.log1p(-share), math.lgamma(count + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(log_all - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * log_share + (count - k) * log_rest)
            for k in range(most + 1)
        ),
    )
