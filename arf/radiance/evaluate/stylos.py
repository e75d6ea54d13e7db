"""The protocol of Stylos and AnyStyle, for figures to stand beside theirs: optical flow of the styled frames, a frame
moved forwards onto its neighbour, and every pixel counted, holes too.

RAFT (Teed & Deng, ECCV 2020) sees no depth: what is hidden counts as an error, and so does flow that a strong style
leads astray. LPIPS is VGG's, and is fed 0 to 255 as they feed it, though it was made for -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from arf.errors import UserError
from arf.metrics import look_up, splat
from arf.metrics.classes import Mean
from arf.metrics.perceptual import missing, network, torchvision_file
from arf.radiance.evaluate.consistency import Laid, Lay
from arf.style import pretrained

STEP, LEAST = 8, 128  # the sides that RAFT takes are multiples of so many pixels, and at least so long
RAFT = "optical_flow.Raft_Large_Weights"
SHARPNESS = 20  # of the softmax: how much a pixel that fits its flow outweighs one that does not
Picture = Float[Tensor, "h w 3"]
Flow = Float[Tensor, "h w 2"]


def lacking() -> str | None:
    """What the protocol lacks here and how to get it, None where it lacks nothing. Nothing is downloaded."""
    file = torchvision_file(RAFT)
    if not file.is_file():
        get = "import torchvision; torchvision.models.optical_flow.raft_large(weights='DEFAULT')"
        return f'--protocol stylos needs {file.name} of torchvision: python -c "{get}"; or measure by --protocol depth'
    if lacks := missing("vgg"):
        return f"--protocol stylos: {lacks}; or measure by --protocol depth"
    return None


@cache
def raft(device: torch.device) -> Callable[[Picture, Picture], Flow]:
    """Optical flow from one picture to another, in pixels.

    Raises:
        UserError: something is missing (see `lacking`), or the weights are damaged.
    """
    from torchvision.models.optical_flow import raft_large

    if lacks := lacking():
        raise UserError(lacks)
    model = raft_large()
    model.load_state_dict(pretrained.read(torchvision_file(RAFT)))
    model.eval().to(device)

    @torch.no_grad()
    def flow(first: Picture, second: Picture) -> Flow:
        planes = [_padded((2 * p.clamp(0, 1) - 1).permute(2, 0, 1)[None].to(device)) for p in (first, second)]
        height, width = first.shape[:2]
        return model(*planes)[-1][0, :, :height, :width].permute(1, 2, 0).cpu()

    return flow


def _padded(planes: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h2 w2"]:
    """The last row and column repeated to sides that RAFT takes."""
    height, width = (max(LEAST, -(-side // STEP) * STEP) - side for side in planes.shape[-2:])
    return pad(planes, (0, width, 0, height), "replicate")


def by_flow(flow: Callable[[Picture, Picture], Flow]) -> Lay:
    """The later frame, and the earlier one splatted onto it; every pixel counts."""

    def together(frame: Picture, later: Picture) -> Laid:
        moved = flow(frame, later)
        rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 for side in frame.shape[:2]), indexing="ij")
        fits = (frame - look_up(later, torch.stack([columns, rows], -1) + moved)[0]).abs().mean(-1)
        return later, splat(frame, moved, -SHARPNESS * fits), torch.ones(frame.shape[:2], dtype=torch.bool)

    return lambda first, second: ((second, first), together)


class Lpips255(Mean):
    """LPIPS of VGG, fed as they feed it."""

    @torch.no_grad()
    def measure(self, picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return float(network("vgg")(*(255 * p.permute(2, 0, 1)[None] for p in (picture, truth))))
