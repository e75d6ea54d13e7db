"""Training on one device or, started by torchrun, on several: one process for each (DistributedDataParallel)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from arf.jobs.device import pick_device


@dataclass(frozen=True)
class Team:
    """The processes that train one network.

    Attributes:
        rank: the number of this process; 0 writes the files and talks.
        ranks: how many there are.
        device: of this one.
    """

    rank: int
    ranks: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, objective: nn.Module) -> nn.Module:
        """The objective with gradients that are the mean over all processes. Running statistics stay each process's
        own, and those of rank 0 are kept."""
        if self.ranks == 1 or not any(p.requires_grad for p in objective.parameters()):
            return objective
        return DistributedDataParallel(objective, broadcast_buffers=False)

    def stack(self, value: Tensor) -> Tensor:
        """Rows of all processes, in the order in which one process would have had them (see `data.stream`)."""
        if self.ranks == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.ranks)]
        distributed.all_gather(parts, value.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    def any(self, flag: bool) -> bool:
        """Whether it is so in at least one process; all get the same answer."""
        if self.ranks == 1:
            return flag
        count = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(count)
        return bool(count > 0)

    def gather(self, value: Any) -> list[Any]:
        """What every process has."""
        if self.ranks == 1:
            return [value]
        values = [None] * self.ranks
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def team(device: str) -> Iterator[Team]:
    """The team that torchrun's environment describes, or this process alone.

    Args:
        device: cpu, cuda or auto; of several GPUs each process takes one.

    Raises:
        UserError: no such device.
    """
    chosen = pick_device(device)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield Team(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Team(distributed.get_rank(), ranks, chosen)
        distributed.barrier()  # waits without Python's lock, which gloo's thread needs to let go of the last tensors:
        # one that still waits for it where Python ends would abort the process
    finally:
        distributed.destroy_process_group()
