"""Print what an operation yields, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from daemon.operations.desk import Item, Operation, Result
from models.text.commandline import print_json_list
from models.text.language import tr
from models.text.printable import shown


@dataclass
class Answer:
    """The items of an operation. Those with an outcome in ``good`` are done, the others are left.

    ``done``, ``left`` and ``result`` say how far it came, also where an error or Ctrl-C has ended it.
    """

    operation: Operation
    good: Collection[str]
    done: int = 0
    left: int = 0
    result: Result = field(default_factory=dict)

    def print(self, *, as_json: bool, summary: Callable[[Answer], Iterator[str]]) -> None:
        """Print the items as a list of JSON or as sentences, which the lines of ``summary`` follow.

        What was done before an error is printed, too.
        """
        items: list[Item] = []
        try:
            for item in self._items():
                if as_json:
                    items.append(item)
                else:
                    text = str(item["says"])
                    print(shown(text) if self._is_good(item) else tr("not done: {sentence}", sentence=text))
        except BaseException:
            if as_json and items:
                print_json_list(items)
            elif self.done or self.left:
                _print_lines(summary(self))
            raise
        finally:
            self.operation.close()
        if as_json:
            print_json_list(items)
        else:
            _print_lines(summary(self))

    def _items(self) -> Iterator[Item]:
        while True:
            try:
                item = next(self.operation)
            except StopIteration as end:
                self.result = end.value
                return
            if item:
                good = self._is_good(item)
                self.done, self.left = self.done + good, self.left + (not good)
                yield item

    def _is_good(self, item: Item) -> bool:
        return item["outcome"] in self.good


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)
