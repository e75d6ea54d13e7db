"""Tensors in files: safetensors, written whole or not at all. Reading one executes nothing.

And the state of an optimiser as named tensors, so that a job that was stopped goes on with the same steps.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import free_memory
from arf.jobs.files import atomic_path, cannot_read, is_shallow, plain
from arf.jobs.leftovers import temporary_folder


def save_tensors(path: Path, tensors: Mapping[str, Tensor], **notes: Any) -> None:
    """Write a safetensors file; `notes` (JSON) travel in it.

    Raises:
        UserError: it cannot be written.
    """
    contiguous: dict[str, Tensor] = {}
    places = set()
    for key, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        contiguous[key] = value.clone() if value.data_ptr() in places else value  # nerfacto names some twice
        places.add(value.data_ptr())
    with atomic_path(path) as temporary, temporary_folder(path) as folder:  # safetensors makes a file of its own in it
        try:
            save_file(contiguous, folder / path.name, metadata={"notes": json.dumps(plain(notes))})
        except SafetensorError as error:  # an I/O error wears this coat, its number in the text
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(*([int(number[1]), os.strerror(int(number[1]))] if number else [str(error)])) from error
        (folder / path.name).chmod(0o644)  # safetensors leaves it to the owner alone
        os.replace(folder / path.name, temporary)


def load_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and notes of a file of `save_tensors`; `remedy` says what to do when it is broken.

    Raises:
        UserError: it cannot be read, is cut short or corrupt, or is larger than the memory that is free.
    """
    if refusal := cannot_read(path, "safetensors file"):
        raise UserError(f"{refusal}; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
            if not isinstance(notes, dict) or not is_shallow(notes):
                raise ValueError("its notes are no object")
            check_room(path, remedy)
            return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, RecursionError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).splitlines()[:1])  # torch's, of a shape that no tensor has, goes on for a page
        raise UserError(f"{path} is cut short or corrupt ({reason}); {remedy}") from error


def check_room(path: Path, remedy: str) -> None:
    """Raises UserError where a file of tensors is larger than the memory that is free."""
    size, free = path.stat().st_size, free_memory(torch.device("cpu"))
    if size > free:
        raise UserError(f"{path} holds {size / 1e9:.1f} GB and {free / 1e9:.1f} GB of memory are free; {remedy}")


def check_tensors(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], where: object, remedy: str) -> None:
    """Check tensors of a file before they are used.

    Args:
        like: tensors of the names and shapes that are needed; of floating-point numbers where those of the file are
            to be so.
        where: what holds them, for messages.

    Raises:
        UserError: names that are missing or unknown, other shapes, other kinds of numbers, or values not finite.
    """
    if odd := sorted(tensors.keys() ^ like.keys()):
        what = "lacks" if odd[0] in like else "has an unknown"
        raise UserError(f"{where} {what} tensor {odd[0]!r}; {remedy}")
    for name, wanted in like.items():
        tensor = tensors[name]
        if tensor.shape != wanted.shape:
            raise UserError(f"{where}: {name} has shape {list(tensor.shape)}, not {list(wanted.shape)}; {remedy}")
        kinds = [(t.is_floating_point(), t.is_complex(), t.dtype == torch.bool) for t in (tensor, wanted)]
        if kinds[0] != kinds[1]:
            raise UserError(f"{where}: {name} holds {_kind(tensor)}, not {_kind(wanted)}; {remedy}")
    check_finite(tensors, where, remedy)


def check_finite(tensors: Mapping[str, Tensor], where: object, remedy: str) -> None:
    """Raises UserError where a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and prod(tensor.shape) and not torch.isfinite(tensor).all():
            raise UserError(f"{where}: {name} holds numbers that are not finite; {remedy}")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """What an optimiser remembers of each of its parameters, as `<prefix>.<number>.<name>`."""
    found = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        found |= {f"{prefix}.{number}.{name}": value for name, value in optimizer.state.get(parameter, {}).items()}
    return found


def tensors_like(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """What `optimizer_tensors` will give after a step: names and shapes, without memory (for `check_tensors`)."""
    twins = [torch.empty_like(parameter, device="meta") for parameter in _parameters(optimizer)]
    for twin in twins:
        twin.grad = torch.empty_like(twin)
    plain = {name: value for name, value in optimizer.defaults.items() if name not in ("fused", "capturable")}
    imagined = type(optimizer)(twins, **plain)
    imagined.step()
    return optimizer_tensors(imagined, prefix)


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Give an optimiser what `optimizer_tensors` took from one over the same parameters."""
    everything = optimizer.param_groups[0].get("fused") or optimizer.param_groups[0].get("capturable")
    for number, parameter in enumerate(_parameters(optimizer)):
        start = f"{prefix}.{number}."
        moments = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        if moments:
            optimizer.state[parameter] = {
                name: value.to(parameter.device) if everything or name != "step" else value.cpu()  # as Adam begins it
                for name, value in moments.items()
            }


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
