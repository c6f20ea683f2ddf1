"""Training by several processes, each with its own device, under `torchrun`.

Every process makes the whole batch and runs its share of the rows. The logits are put together again, so that
each computes the loss of the whole batch, whose gradient through its own rows is its part: the parts' sum is
the gradient that one process would have found. Weights, state and checkpoints are those of one process, and
any number of processes may go on with them. Only the network's work is divided, not that of making audio.

Shape letters: B streams or utterances.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed, nn

from auricle.configs.errors import DataError
from auricle.models import state as states
from auricle.models.network import NetworkState


class Processes:
    """One of the processes, and what it does together with the others."""

    def __init__(self) -> None:
        """Joins the others, if `torchrun` started any."""
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.number = int(os.environ.get("RANK", "0"))
        if self.count > 1 and not distributed.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")

    @property
    def is_first(self) -> bool:
        """Whether this is the one that judges and writes."""
        return self.number == 0

    def wait(self) -> None:
        """Waits until all are here."""
        if self.count > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Parts from the others."""
        if self.count > 1:
            distributed.destroy_process_group()

    def share(self, rows: int) -> slice:
        """The rows of a batch that are this process's own.

        Raises:
            DataError: there are not enough rows for all.
        """
        if rows < self.count:
            raise DataError(
                f"a batch of {rows} rows for {self.count} processes: start fewer, or make the batch larger "
                "(training.streams, acoustic.batch_seconds)"
            )
        return slice(rows * self.number // self.count, rows * (self.number + 1) // self.count)

    def join(self, own: Tensor, rows: int) -> Tensor:
        """Puts the rows of all processes together; gradients run through this one's."""
        if self.count == 1:
            return own
        place = self.share(rows)
        whole = own.new_zeros(rows, *own.shape[1:])
        whole[place] = own.detach()
        distributed.all_reduce(whole)
        return torch.cat([whole[: place.start], own, whole[place.stop :]])

    def join_state(self, own: NetworkState, rows: int) -> NetworkState:
        """Puts the states of all rows together, cut off their graphs."""
        if self.count == 1:
            return own
        return states.map_state(lambda leaf: self.join(leaf.detach(), rows), own)

    def sum_gradients(self, network: nn.Module) -> None:
        """Adds up the gradients of all processes."""
        if self.count == 1:
            return
        for weight in network.parameters():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)

    def told(self, value: Any) -> Any:
        """What the first process says, whatever the others think."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]
