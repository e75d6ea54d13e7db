"""Tensors that are needed once per view and step: on the device up to a budget, nearby or on disk beyond it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arf.jobs.device import free_memory
from arf.jobs.files import cannot_write

Group = dict[str, Tensor]


class ViewCache:
    """Named groups of tensors, each in the first of three places that has room for it: on the device; beside a GPU, in
    pinned memory of the host; in files, which are mapped. Nothing is dropped.

    Args:
        budget: bytes that may stay on `device`. One or two groups that are on their way to a GPU come on top.
        folder: where the files go; removed by `close`.
        host_budget: bytes that may stay in pinned memory; half of what is free when left out. A CPU has none.

    Attributes:
        in_memory, on_host, on_disk: bytes in each place.
    """

    def __init__(self, budget: int, folder: Path, device: torch.device, host_budget: int | None = None) -> None:
        self.budget, self.folder, self.device = budget, folder, device
        self.in_memory = self.on_host = self.on_disk = 0
        self.host_budget, self._side = 0, None
        if device.type == "cuda":
            self.host_budget = free_memory(torch.device("cpu")) // 2 if host_budget is None else host_budget
            self._side = torch.cuda.Stream(device)
        self._groups: dict[str, Group] = {}
        self._pinned: dict[str, Group] = {}
        self._coming: dict[str, tuple[Group, torch.cuda.Event]] = {}  # on their way, and what says that they are there
        self._sizes: dict[str, int] = {}

    def put(self, name: str, tensors: Group) -> None:
        """Store a group, in place of an earlier one of that name.

        Raises:
            UserError: the disk is full.
        """
        self.drop(name)
        size = sum(t.nbytes for t in tensors.values())
        self._sizes[name] = size
        if self.in_memory + size <= self.budget:
            self.in_memory += size
            self._groups[name] = {k: t.to(self.device) for k, t in tensors.items()}
        elif self.on_host + _pinned_bytes(tensors) <= self.host_budget:
            self.on_host += _pinned_bytes(tensors)
            self._pinned[name] = _pin(tensors)
        else:
            self.on_disk += size
            self._write(self.folder / name, tensors)

    def has(self, name: str) -> bool:
        """Whether there is a group of that name."""
        return name in self._sizes

    def has_room(self, size: int) -> bool:
        """Whether a group of so many bytes would stay on the device or in pinned memory."""
        return self.in_memory + size <= self.budget or self.on_host + 2 * size <= self.host_budget

    def get(self, name: str) -> Group:
        """A group on the device; from disk, it is read as it is used."""
        if name in self._groups:
            return self._groups[name]
        if self._side is None:
            return self._mapped(name)
        self.prefetch(name)
        tensors, ready = self._coming.pop(name)
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(ready)  # the stream waits, the host does not
        for tensor in tensors.values():
            tensor.record_stream(stream)  # was allocated for the other one: not to be reused while this one works
        return tensors

    def prefetch(self, name: str) -> None:
        """Begin to copy a group to the GPU, beside the work that is under way there, for `get` to find it.

        Without a GPU there is nothing to do."""
        if self._side is None or name in self._groups or name in self._coming:
            return
        source = self._pinned.get(name) or _pin(self._mapped(name))
        with torch.cuda.stream(self._side):
            tensors = {k: t.to(self.device, non_blocking=True) for k, t in source.items()}
            self._coming[name] = tensors, self._side.record_event()

    def drop(self, name: str) -> None:
        """Let go of a group, if there is one of that name."""
        size = self._sizes.pop(name, 0)
        self._coming.pop(name, None)
        if self._groups.pop(name, None) is not None:
            self.in_memory -= size
        elif pinned := self._pinned.pop(name, None):
            self.on_host -= _pinned_bytes(pinned)
        elif size:
            self.on_disk -= size
            shutil.rmtree(self.folder / name)

    def close(self) -> None:
        """Let go of everything and remove the files."""
        for groups in (self._groups, self._pinned, self._coming):
            groups.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, folder: Path, tensors: Group) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for key, tensor in tensors.items():
                np.save(folder / f"{key}.npy", tensor.cpu().numpy())
        except OSError as error:
            raise cannot_write(folder, error) from error

    def _mapped(self, name: str) -> Group:
        files = (self.folder / name).glob("*.npy")
        return {f.stem: torch.from_numpy(np.load(f, mmap_mode="c")) for f in files}


def _pin(tensors: Group) -> Group:
    """Copies in memory from which a GPU fetches by itself."""
    return {k: torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t) for k, t in tensors.items()}


def _pinned_bytes(tensors: Group) -> int:
    """What pinned copies take: torch rounds each up to a power of two."""
    return sum(1 << max(t.nbytes - 1, 0).bit_length() for t in tensors.values())
