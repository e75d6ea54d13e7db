"""Tensors that are needed once per view and step: in memory up to a budget, in memory-mapped files beyond it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from arf.files import cannot_write


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


class ViewCache:
    """Named groups of tensors. What does not fit the budget goes to disk and is mapped, never dropped.

    Args:
        budget: bytes that may stay in memory, on `device`.
        folder: where the rest goes; removed by `close`.
    """

    def __init__(self, budget: int, folder: Path, device: torch.device) -> None:
        self.budget, self.folder, self.device = budget, folder, device
        self.in_memory = self.on_disk = 0
        self._groups: dict[str, dict[str, Tensor]] = {}
        self._sizes: dict[str, int] = {}

    def put(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Store a group, in place of an earlier one of that name.

        Raises:
            UserError: the disk is full.
        """
        self._drop(name)
        size = sum(t.nbytes for t in tensors.values())
        self._sizes[name] = size
        if self.in_memory + size <= self.budget:
            self.in_memory += size
            self._groups[name] = {k: t.to(self.device) for k, t in tensors.items()}
            return
        self.on_disk += size
        group = self.folder / name
        try:
            group.mkdir(parents=True, exist_ok=True)
            for key, tensor in tensors.items():
                np.save(group / f"{key}.npy", tensor.cpu().numpy())
        except OSError as error:
            raise cannot_write(group, error) from error

    def get(self, name: str) -> dict[str, Tensor]:
        """A group on the device; from disk, it is read as it is used."""
        if name in self._groups:
            return self._groups[name]
        files = (self.folder / name).glob("*.npy")
        return {f.stem: torch.from_numpy(np.load(f, mmap_mode="c")).to(self.device) for f in files}

    def _drop(self, name: str) -> None:
        size = self._sizes.pop(name, 0)
        if self._groups.pop(name, None) is not None:
            self.in_memory -= size
        elif size:
            self.on_disk -= size
            shutil.rmtree(self.folder / name)

    def close(self) -> None:
        """Remove the files."""
        self._groups.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
