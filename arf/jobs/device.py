"""Where to compute."""

from __future__ import annotations

from functools import cache

import torch

from arf.errors import UserError
from arf.jobs.machine import free_ram


def pick_device(name: str) -> torch.device:
    """The device of a setting: auto takes CUDA where there is some.

    Raises:
        UserError: CUDA was asked for and is not there, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UserError(f"device is {name!r}; it is cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but PyTorch finds no CUDA GPU here; use --device cpu")
    return torch.device(name)


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a device; torch's own unused blocks on a GPU are among them."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return free_ram()


@cache
def multiplies_halves(device: torch.device) -> bool:
    """Whether a device multiplies matrices of half-precision numbers faster than of whole ones: a GPU, and processors
    with instructions for bfloat16, where torch can tell."""
    if device.type != "cpu":
        return True
    told = getattr(torch.cpu, "get_capabilities", dict)()
    return any(told.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16: GPUs from Ampere on, and some processors."""
    return multiplies_halves(device) if device.type == "cpu" else torch.cuda.get_device_capability(device) >= (8, 0)


def check_room(needed: float, device: torch.device, what: str, remedy: str) -> None:
    """Raises UserError where `what` takes more bytes than are free on a device: before they are asked for."""
    free = free_memory(device)
    if needed > free:
        raise UserError(f"{what} takes {needed / 2**30:.3g} GiB, and {free / 2**30:.3g} are free on {device}; {remedy}")
