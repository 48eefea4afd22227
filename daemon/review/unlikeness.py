"""Order the images of a class with those first that look least like the others: most mistakes are among them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from daemon.journal.records import Filing
from daemon.review.comparing import Answer, Comparing

#: Images of a class that are compared: the newest. And classes whose order is kept.
MOST_COMPARED, MOST_KEPT = 5000, 8
#: Seconds until a class is compared again at the earliest, and until one is that could not be.
PAUSE_SECONDS = 60.0
#: Reads filings of a class, newest first, after the filing of an id: so many.
ReadNewest = Callable[[int | None, int], list[Filing]]


@dataclass
class ClassOrder:
    """The ids of filings, the most unlike first; empty until they have been compared."""

    ids: Sequence[int] = ()
    progress: float = 0.0
    is_busy: bool = False
    next: float = 0.0
    newest: int | None = None
    at: dict[int, int] = field(default_factory=dict)

    @property
    def is_ordered(self) -> bool:
        """Whether the images have been compared."""
        return bool(self.ids)

    def after(self, number: int | None) -> Sequence[int]:
        """Return those that come after one."""
        return self.ids if number is None else self.ids[self.at.get(number, len(self.ids)) + 1 :]


class Unlikeness:
    """Knows the orders of the classes that were looked at last. Safe in any thread."""

    def __init__(self, comparing: Comparing, on_change: Callable[[], None]) -> None:
        """``on_change`` is called when an order has been made."""
        self._comparing = comparing
        self._on_change = on_change
        self._lock = threading.Lock()
        self._orders: OrderedDict[str, ClassOrder] = OrderedDict()

    def of(self, name: str, read: ReadNewest) -> ClassOrder:
        """Return the order of a class, and have it made where there is none yet, or images have come since.

        Raises what ``read`` raises.
        """
        newest = next((row.id for row in read(None, 1)), None)
        with self._lock:
            order = self._orders.setdefault(name, ClassOrder())
            self._orders.move_to_end(name)
            while len(self._orders) > MOST_KEPT:
                self._orders.popitem(last=False)
            is_due = newest != order.newest and time.monotonic() >= order.next
            if newest is not None and is_due and not order.is_busy and not self._comparing.is_closed:
                order.is_busy = True
                order.newest = newest
                threading.Thread(target=self._compare, args=(order, read), name="unlikeness", daemon=True).start()
        return order

    def _compare(self, order: ClassOrder, read: ReadNewest) -> None:
        try:
            ids = [row.id for row in read(None, MOST_COMPARED) if row.id is not None]
            self._comparing.compare(ids, "order", partial(self._hear, order))
        finally:
            with self._lock:
                order.is_busy = False
                order.newest = order.newest if order.ids else None
                order.next = time.monotonic() + PAUSE_SECONDS
            self._on_change()

    def _hear(self, order: ClassOrder, answer: Answer) -> None:
        with self._lock:
            if "progress" in answer:
                order.progress = float(answer["progress"])
            elif "order" in answer:
                order.ids = answer["order"]
                order.at = {number: place for place, number in enumerate(order.ids)}
