"""What the ranks tell each other while they fine-tune together: gradients, figures, and what one of them knows.

Gradients are averaged here, weighted by the images that each rank had, instead of by torch's DistributedDataParallel:
that takes equal shares and a batch on every rank, and neither holds for the last batch of an epoch. Overlapping sums
with the backward pass, as it does, would gain little: only half of a backbone is trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.finetuning.ranks import ALONE, Rank, peers_answering

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Payload:
    """Arrays by name, and all else as JSON values."""

    arrays: Mapping[str, npt.NDArray[Any]]
    state: dict[str, Any]


class Group:
    """The ranks that fine-tune together. All of them call the same methods in the same order.

    ``wire`` is torch's process group; without one the rank is alone, and every method returns what it was given.
    Methods raise `PeerLost` when another rank no longer answers.
    """

    def __init__(self, rank: Rank = ALONE, wire: Any = None, device: str = "") -> None:
        self.rank = rank
        self._wire = wire
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def mean_gradients(self, trained: Sequence[torch.nn.Parameter], loss: float, images: int) -> tuple[float, int]:
        """Replace the gradients, those of the mean ``loss`` of this rank's ``images``, by those of all ranks' images.

        Return the mean loss of all images, and their number.
        """
        if self._wire is None:
            return loss, images
        sizes = [parameter.numel() for parameter in trained]
        total = torch.zeros(2 + len(trained) + sum(sizes), device=trained[0].device)
        head, body = total[: 2 + len(trained)], torch.split(total[2 + len(trained) :], sizes)
        if images:
            # A weight that no image reaches has no gradient on any rank, so that no step decays it.
            reached = [float(parameter.grad is not None) for parameter in trained]
            head.copy_(torch.tensor([images, loss * images, *reached]))
            for parameter, part in zip(trained, body, strict=True):
                if parameter.grad is not None:
                    part.copy_(parameter.grad.reshape(-1)).mul_(images)
        self._add(total)
        count, loss_sum, *reaching = head.tolist()
        if not count:
            return 0.0, 0
        for parameter, part, reach in zip(trained, body, reaching, strict=True):
            if reach:
                mean = part.view(parameter.shape) / count
                parameter.grad = mean if parameter.grad is None else parameter.grad.copy_(mean)
        return loss_sum / count, int(count)

    def align(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give all ranks the first one's values: machines of different kinds round differently."""
        if self._wire is not None:
            for parameter in parameters:
                value = parameter.detach().contiguous()
                self._spread(value)
                with torch.no_grad():
                    parameter.copy_(value)

    def sum(self, array: Doubles) -> Doubles:
        """Return the sum of all ranks' arrays, of one shape."""
        if self._wire is not None:
            self._add(torch.from_numpy(array))
        return array

    def from_first(self, numbers: Sequence[float]) -> list[float]:
        """Return the first rank's numbers, of which all ranks have equally many."""
        if self._wire is None:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        self._spread(tensor)
        return [float(number) for number in tensor]

    def share(self, payload: Payload | None) -> Payload | None:
        """Return the first rank's payload; the others pass None."""
        if self._wire is None:
            return payload
        header = b""
        if payload is not None:
            forms = {name: (array.dtype.str, array.shape) for name, array in payload.arrays.items()}
            header = json.dumps([payload.state, forms]).encode()
        (size,) = self.from_first([len(header)])
        if not size:
            return None
        state, forms = json.loads(self._bytes(np.frombuffer(header.ljust(int(size)), np.uint8)).tobytes())
        own = {} if payload is None else payload.arrays
        arrays = {
            name: self._bytes(own[name] if name in own else np.empty(shape, dtype))
            for name, (dtype, shape) in forms.items()
        }
        return Payload(arrays, state)

    def _bytes(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the first rank's array; those of the others have its form."""
        array = np.require(array, requirements=["C", "W"])  # torch takes no array that cannot be written to
        if array.size:
            self._spread(torch.from_numpy(array.reshape(-1).view(np.uint8)))
        return array

    def _add(self, tensor: torch.Tensor) -> None:
        with peers_answering():
            self._wire.allreduce([tensor]).wait()

    def _spread(self, tensor: torch.Tensor) -> None:
        with peers_answering():
            self._wire.broadcast(tensor, 0).wait()
