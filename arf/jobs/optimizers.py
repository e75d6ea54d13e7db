"""The state of an optimiser as named tensors, so that a job that was stopped goes on with the same steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


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
