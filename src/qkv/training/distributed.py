"""Several processes under torchrun: who we are, and what we share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of a run."""

    rank: int
    count: int
    device: torch.device
    patient: dist.ProcessGroup | None = None
    """The same processes, who wait for each other as long as it takes; None: there is one."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, rows: list[int]) -> list[int]:
        """Return this process's rows of a batch; together the processes have each row once."""
        return rows[self.rank :: self.count]

    def total(self, *values: float) -> list[float]:
        """Sum numbers over the processes."""
        if self.count == 1:
            return list(values)
        summed: Tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def wait(self) -> None:
        """Wait for every process, however long one works alone.

        Anything else that they do together gives up after some minutes, so what the leader does by
        itself (measuring the dev set, learning a tokeniser) is followed by this. Who has died is
        torchrun's business: it ends the others.
        """
        if self.count > 1:
            dist.barrier(self.patient)


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun, be the only one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if count == 1:
        yield Processes(0, 1, device)
        return
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        patient = dist.new_group(backend="gloo", timeout=timedelta(days=365))
        yield Processes(dist.get_rank(), count, device, patient)
    finally:
        dist.destroy_process_group()
