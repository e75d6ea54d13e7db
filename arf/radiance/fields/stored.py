"""What a field's tensors in a file must be beyond their names and shapes, which torch checks as it loads them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

LARGEST = 1e18  # more than any fit reaches, and what can still be multiplied in float32


def faults(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Tensors of a state_dict that are of other kinds of numbers than the module's own, or hold numbers that are not
    finite where the module's own are: torch would convert the ones and take the others."""
    found = []
    for name, own in module.state_dict(prefix=prefix).items():
        given = state.get(name)
        if given is None:
            continue
        if given.is_floating_point() != own.is_floating_point() or given.dtype.is_complex or given.is_quantized:
            found.append(f"{name} holds {given.dtype} in place of {own.dtype}")
        elif given.is_floating_point():
            beyond = ~(given.abs() <= LARGEST)  # NaN as well
            if given.shape == own.shape:
                beyond &= own.isfinite().to(beyond.device)
            if beyond.any():
                found.append(f"{name} holds numbers that are not finite")
    return found
