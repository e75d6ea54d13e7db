"""A field's tensors from a file, which may hold anything."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from arf.errors import UserError
from arf.radiance.fields.field import Field

LARGEST = 1e18  # more than any fit reaches, and what can still be multiplied in float32


def restore(field: Field, tensors: Mapping[str, Tensor], where: object, remedy: str) -> None:
    """Give a field what `state_dict` took from one of the same configuration.

    Raises:
        UserError: they are another field's, or no field's.
    """
    try:
        field.load_state_dict(tensors)
    except RuntimeError as error:  # all of torch's objections, and those of `faults`
        said = str(error)
        reason = " ".join((said.partition(":")[2] or said).split())[:200]
        raise UserError(f"{where}: its weights do not fit its configuration ({reason}); {remedy}") from error


def faults(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Tensors of a state_dict that are of other kinds of numbers than the module's own, or hold numbers that are not
    finite where the module's own are: torch looks at names and shapes alone."""
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
