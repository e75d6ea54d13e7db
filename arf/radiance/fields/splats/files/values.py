"""The numbers of splats as files keep them, made into those that act; and which of them are none."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import check_room
from arf.radiance.fields.splats.harmonics import C0
from arf.radiance.fields.splats.splats import Splats

MOST = 50_000_000  # splats of a file
FARTHEST = 1e10  # units of the file: a number beyond it, of whatever kind, is damage
DEGREES = (0, 3, 8, 15)  # coefficients per channel above degree 0
PART = 2**16  # splats looked at together
SMALLEST, SMALLEST_OPACITY = 1e-30, 1e-7  # written of a scale; of an opacity, and of what it lacks to 1

log = logging.getLogger(__name__)


def check_count(path: Path, count: int, rest: int, times: int = 1) -> None:
    """Whether so many splats may be had, before memory is asked for.

    Args:
        rest: coefficients per channel above degree 0.
        times: that they are held at once.

    Raises:
        UserError: there are none, more than any file holds, or more than memory does.
    """
    if not count:
        raise UserError(f"{path} holds no splats; export it again")
    if count > MOST:
        raise UserError(f"{path} says that it holds {count} splats; arf reads {MOST // 10**6} million at most")
    needed = times * 4 * count * (14 + 3 * rest)
    check_room(needed, torch.device("cpu"), f"{path} with {count} splats", "export fewer, or close other programs")


def empty(count: int, rest: int) -> Splats:
    """So many splats, with room for so many coefficients per channel above degree 0, to be filled."""
    shapes = ((count, 3), (count, 3), (count, 4), (count,), (count, 3), (count, rest, 3))
    return Splats(*map(torch.empty, shapes))


def activated(
    means: Float[Tensor, "n 3"],
    scales: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    opacities: Float[Tensor, " n"],
    f_dc: Float[Tensor, "n 3"],
    rest: Float[Tensor, "n k 3"],
) -> Splats:
    """Splats of the numbers that are optimised: logarithms of scales, quaternions w, x, y, z of any length, logits of
    opacities, coefficients of harmonics."""
    quats = normalized(quats)
    return Splats(means, scales.exp(), quats, opacities.sigmoid(), 0.5 + C0 * f_dc, rest)


def normalized(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
    """Unit quaternions, also of very short and very long ones; NaN of one that is zero."""
    longer = quats.double()
    return (longer / longer.norm(dim=1, keepdim=True)).float()


def sound(splats: Splats, where: object) -> Splats:
    """Those whose numbers are finite and not beyond all measure; the others are counted in a warning. Colours of splats
    that have degree 0 alone are clamped below at 0, as they are shown.

    Raises:
        UserError: none is left.
    """
    tensors = splats.tensors()
    parts = [_good({name: t[at : at + PART] for name, t in tensors.items()}) for at in range(0, len(splats), PART)]
    good = torch.cat(parts)
    if not good.any():
        raise UserError(f"{where} holds no splat whose numbers are finite; export it again")
    if not good.all():
        log.warning("%s: %d of %d splats are not finite: left out", where, len(splats) - int(good.sum()), len(splats))
        splats = splats.select(good)
    if not splats.rest.shape[1]:
        splats.colors.clamp_min_(0)
    return splats


def _good(tensors: dict[str, Tensor]) -> Bool[Tensor, " n"]:
    numbers = torch.cat([tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None] for tensor in tensors.values()], 1)
    return (numbers.abs().amax(1) <= FARTHEST) & (tensors["scales"].amin(1) >= 0)


def logs(scales: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Natural logarithms of scales, finite ones."""
    return scales.clamp_min(SMALLEST).log()


def logits(opacities: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Logits of opacities, finite ones."""
    return torch.logit(opacities.double(), eps=SMALLEST_OPACITY).float()
