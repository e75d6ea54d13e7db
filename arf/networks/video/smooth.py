"""Less flicker: every frame is mixed with the one before it, moved along with the picture; and how much there is of it.

A network paints each frame on its own, and paints the same thing a little differently every time. Where the film itself
shows the same surface in two frames, as its optical flow tells, the painted ones ought to agree too (Ruder et al.,
"Artistic Style Transfer for Videos", GCPR 2016; Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

FLOW_SIDE = 480  # pixels; longer frames are scaled down to find their flow, which is as smooth as it is slow
BRIGHTNESS = 0.03  # squared RGB distance above which two pixels do not show the same surface
STEEPNESS = 50.0  # α of Lai et al., eq. 4: how fast the trust in the frame before falls with that distance
CUT = 0.25  # share of pixels below which two frames have nothing to do with each other

Frame = UInt8[Tensor, "h w 3"]
Painted = Float[Tensor, "h w 3"]


@dataclass(frozen=True)
class Motion:
    """From one frame of a film to the next.

    Attributes:
        flow: [H, W, 2] pixels (x, y): a pixel of the later frame lies at its own place plus this in the earlier one.
        valid: whether the earlier frame shows that surface at all.
        trust: in [0, 1], how much alike they are; 0 where not valid.
    """

    flow: Float[Tensor, "h w 2"]
    valid: Bool[Tensor, "h w"]
    trust: Float[Tensor, "h w"]

    def move(self, earlier: Painted) -> Painted:
        """The earlier picture as it would look from the later frame."""
        return _warp(earlier, self.flow)


def motion(earlier: Frame, later: Frame) -> Motion:
    """Optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) and where it holds.

    A pixel is valid when it lies inside the earlier frame, when the flow back leads home again,

        |w + ŵ|² < 0.01 (|w|² + |ŵ|²) + 0.5,    ŵ: the flow back, read at the pixel's place in the earlier frame

    (Sundaram et al., ECCV 2010, as Ruder et al., eq. 5, have it), and when both places look alike:
    |I_t - warp(I_t-1)|² < 0.03. Trust is exp(-50 |I_t - warp(I_t-1)|²) (Lai et al., eq. 4). When fewer than a quarter
    of all pixels are valid, it is a cut, and none is. Ruder et al. leave out motion boundaries as well; the test of
    likeness does that here, without losing what is on either side of them.

    Args:
        earlier, later: uint8 [H, W, 3].

    Raises:
        ValueError: not two frames of one size.
    """
    if earlier.ndim != 3 or earlier.shape[2] != 3 or earlier.shape != later.shape:
        raise ValueError(f"motion is between two frames [H, W, 3], got {list(earlier.shape)} and {list(later.shape)}")
    back, forth = _flow(later, earlier), _flow(earlier, later)  # [H, W, 2]
    height, width = back.shape[:2]
    home = _warp(forth, back)  # ŵ [H, W, 2]
    parts = (back**2).sum(2) + (home**2).sum(2)  # [H, W]
    consistent = ((back + home) ** 2).sum(2) < 0.01 * parts + 0.5
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = x + back[..., 0], y + back[..., 1]  # [H, W], in the earlier frame
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    apart = ((later.float() - _warp(earlier.float(), back)) / 255).square().sum(2)  # [H, W]
    valid = consistent & inside & (apart < BRIGHTNESS)
    valid &= valid.float().mean() > CUT
    return Motion(back, valid, torch.exp(-STEEPNESS * apart) * valid)


def blend(painted: Painted, before: Painted, along: Motion, strength: float) -> Painted:
    """A painted frame mixed with the smoothed one before it, `strength` of which is kept where the motion is trusted.

    In a scene that stands still this is an exponential average: of noise, (1 - s)/√(1 + s) of the change from frame to
    frame remains.
    """
    kept = (strength * along.trust)[..., None]  # [H, W, 1]
    return torch.lerp(painted, along.move(before).clamp(0, 1), kept)


@dataclass
class TemporalError:
    """How much a film changes where it ought not to: the warping error of Lai et al. (eq. 8), over all its frames.

        E = √( Σ_t Σ_valid |O_t - warp(O_t-1)|² / (3 Σ_t Σ_valid 1) )

    in units of RGB in [0, 1]. Lai et al. average over frames, and leave out the root.
    """

    squares: float = 0.0
    values: float = 0.0

    def add(self, earlier: Painted, later: Painted, along: Motion) -> None:
        """Take note of two frames that follow each other."""
        change = (later - along.move(earlier)).square().sum(2)  # [H, W]
        self.squares += float(change[along.valid].double().sum())
        self.values += 3 * int(along.valid.sum())

    @property
    def value(self) -> float | None:
        """None where no two frames show the same."""
        return sqrt(self.squares / self.values) if self.values else None


@dataclass
class Smoother:
    """Frame after frame: measures the flicker of a film, of its painting, and, with a strength, of that smoothed.

    All it remembers is in `errors` and `last`, and can be set again.

    Args:
        strength: of the frame before; 0 only measures.
    """

    strength: float = 0.0
    errors: dict[str, TemporalError] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, frame: Frame, painted: Painted) -> Painted:
        """The painted frame, smoothed.

        Args:
            frame: the film's own, uint8 [H, W, 3].
            painted: [H, W, 3] in [0, 1], on the CPU.
        """
        now = {"input": frame, "painted": painted}
        along = motion(self.last["input"], frame) if self.last else None
        if self.strength:
            now["smoothed"] = blend(painted, self.last["smoothed"], along, self.strength) if along else painted
        for name, picture in now.items() if along else ():
            error = self.errors.setdefault(name, TemporalError())
            error.add(_unit(self.last[name]), _unit(picture), along)
        self.last = now
        return now["smoothed"] if self.strength else painted

    def like(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """What `last` is for frames of a height and width: names, shapes and kinds, without memory."""
        kinds = {"input": torch.uint8, "painted": torch.float32} | (
            {"smoothed": torch.float32} if self.strength else {}
        )
        return {name: torch.empty(*size, 3, dtype=kind, device="meta") for name, kind in kinds.items()}

    @property
    def figures(self) -> dict[str, float]:
        """Temporal errors so far, by name: input, painted, smoothed."""
        return {name: error.value for name, error in self.errors.items() if error.value is not None}


def _unit(picture: Frame | Painted) -> Painted:
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture


def _flow(of: Frame, to: Frame) -> Float[Tensor, "h w 2"]:
    """Where each pixel of one frame lies in the other, relative to its place."""
    height, width = of.shape[:2]
    scale = min(1.0, FLOW_SIDE / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    greys = [cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY) for frame in (of, to)]
    if scale < 1:
        greys = [cv2.resize(grey, small, interpolation=cv2.INTER_AREA) for grey in greys]
    edge = max(0, 32 - small[0]), max(0, 32 - small[1])  # the coarsest level needs some pixels
    greys = [cv2.copyMakeBorder(grey, 0, edge[1], 0, edge[0], cv2.BORDER_REPLICATE) for grey in greys]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*greys, None)  # [H', W', 2]
    flow = flow[: small[1], : small[0]]
    if scale < 1:
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
        flow *= np.float32([width / small[0], height / small[1]])
    return torch.from_numpy(np.ascontiguousarray(flow))


def _warp(values: Float[Tensor, "h w c"], flow: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w c"]:
    """`values` read at every pixel's place plus `flow`; bicubic, since linear blurs more with each frame."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = flow.numpy()
    moved = cv2.remap(
        values.numpy(), x + places[..., 0], y + places[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return torch.from_numpy(moved)
