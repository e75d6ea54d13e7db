"""VGG, or our compact copy of it, as a feature extractor: named taps on one common scale, frozen, differentiable in its
input.

`relu3_1` names the output after the ReLU of the first convolution of block 3, `pool3` what the pooling behind block 3
makes of it. Nothing here or elsewhere may assume how many channels a tap has: ask `Encoder.width`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from arf.style import compact, natural, pretrained
from arf.style.pretrained import block_of

Pooling = Literal["max", "average"]
Padding = Literal["zeros", "circular", "reflect"]
POOLS = {"max": functional.max_pool2d, "average": functional.avg_pool2d}


class Encoder(nn.Module):
    """A stack of 3×3 convolutions in blocks with 2×2 pooling between them.

    Whatever the weights file expects is folded into the first convolution, so that the input is always RGB in [0, 1].
    The common scale is folded in as well: ReLU and pooling are positively homogeneous, so dividing the weights that
    enter a tap by its mean activation, and multiplying those that leave it, gives every tap mean activation 1 at no
    cost and leaves the function otherwise the same. It also keeps activations within half precision.

    Args:
        padding: what lies beyond the borders: zeros, as in training; "reflect", the picture mirrored, which leaves no
            mark along the borders of what is decoded from features; or "circular", the opposite border: a picture whose
            sides are multiples of the deepest stride is then seen as one that tiles the plane

    Attributes:
        taps: names of all taps behind a convolution, shallow to deep.
        pools: names of the taps behind a pooling, each with the tap that it pools.
        convention: the input that the weights file was made for ("torchvision", "caffe-rgb", "caffe-bgr").
        fingerprint: identifies the weights.
    """

    def __init__(self, stack: pretrained.Stack, pooling: Pooling = "max", padding: Padding = "zeros") -> None:
        super().__init__()
        if pooling not in POOLS:
            raise ValueError(f"pooling is one of {', '.join(POOLS)}, not {pooling!r}")
        self.name = stack.name
        self.pooling, self.padding = pooling, padding
        self.convention = stack.convention
        self.fingerprint = stack.fingerprint
        self.convolutions = nn.ModuleDict()
        for tap, (weight, bias) in stack.convolutions.items():
            shape = weight.shape[1], weight.shape[0]
            convolution = nn.Conv2d(*shape, 3, padding=1, padding_mode=padding, device="meta")
            convolution.weight = nn.Parameter(weight.clone(), requires_grad=False)
            convolution.bias = nn.Parameter(bias.clone(), requires_grad=False)
            self.convolutions[tap] = convolution
        self.readouts = nn.ParameterDict(
            {tap: nn.Parameter(matrix.clone(), requires_grad=False) for tap, matrix in stack.readouts.items()}
        )
        self.taps = tuple(self.convolutions)
        self.pools = {
            f"pool{block_of(tap)}": tap for tap, after in pairwise(self.taps) if block_of(after) != block_of(tap)
        }
        self.register_buffer("mean", torch.tensor(stack.mean).view(1, 3, 1, 1))
        self.register_buffer("scales", torch.ones(len(self.taps)))
        self.to(memory_format=torch.channels_last)  # forward + backward is 1.3–1.5× faster on a CPU
        self.eval()

    def forward(
        self, pictures: Float[Tensor, "b 3 h w"], taps: Sequence[str], scaled: bool = True
    ) -> dict[str, Float[Tensor, "b c ht wt"]]:
        """Features of RGB pictures in [0, 1], computed no deeper than the deepest tap asked for.

        Args:
            pictures: the input; gradients flow to it.
            taps: names such as "relu3_1".
            scaled: False gives the activations of the weights file, for reproducing a paper.

        Returns:
            Tap name to features, in the order asked for, laid out channels-last (so that the view as [positions,
            channels] costs nothing).

        Raises:
            ValueError: an unknown tap, not [B, 3, H, W], or a picture too small to reach the tap.
        """
        self._check(pictures, taps)
        deepest = max(self.taps.index(self.pools.get(tap, tap)) for tap in taps)
        pool_after = {tap: pool for pool, tap in self.pools.items() if pool in taps}
        x = (pictures - self.mean).contiguous(memory_format=torch.channels_last)  # [B, 3, H, W]
        found = {}
        block = 1
        for index, tap in enumerate(self.taps[: deepest + 1]):
            if block_of(tap) != block:
                x = POOLS[self.pooling](x, 2)  # [B, C, H/2, W/2]
                block += 1
            # In place is safe: the backward of a convolution reads its input, that of ReLU its output.
            x = functional.relu(self.convolutions[tap](x), inplace=True)  # [B, C, H, W]
            if tap in taps or tap in pool_after:
                out = self._read_out(tap, x)
                found[tap] = out if scaled else out * self.scales[index]
            if tap in pool_after:
                found[pool_after[tap]] = POOLS[self.pooling](found[tap], 2)  # [B, C, H/2, W/2]
        return {tap: found[tap] for tap in taps}

    def width(self, tap: str) -> int:
        """Channels of a tap.

        Raises:
            ValueError: an unknown tap.
        """
        self._check_taps([tap])
        return self.convolutions[self.pools.get(tap, tap)].out_channels

    def stride(self, tap: str) -> int:
        """Pixels between neighbouring positions of a tap; also the smallest side of a picture that reaches it."""
        self._check_taps([tap])
        return 2 ** (block_of(self.pools[tap]) if tap in self.pools else block_of(tap) - 1)

    def smallest(self, taps: Sequence[str]) -> int:
        """Pixels that a picture's shorter side needs to reach these taps."""
        return max(self.stride(tap) for tap in taps) * (2 if self.padding == "reflect" else 1)

    def reach(self, tap: str) -> int:
        """How many pixels beyond its own stride × stride pixels a position of a tap sees, in each direction."""
        self._check_taps([tap])
        below = self.taps[: self.taps.index(self.pools.get(tap, tap)) + 1]
        return sum(self.stride(t) for t in below)  # a 3×3 convolution reaches one position further

    @torch.no_grad()
    def rescale(self, scales: Mapping[str, float]) -> None:
        """Fold `scales`, the mean activation of each tap in the weights file's own units, into the convolutions."""
        wanted = torch.tensor([scales[tap] for tap in self.taps])
        if not (torch.isfinite(wanted).all() and (wanted > 0).all()):
            raise ValueError(f"scales must be positive and finite, got {wanted.tolist()}")
        change = self.scales.cpu() / wanted  # of each tap's activation
        for index, convolution in enumerate(self.convolutions.values()):
            incoming = change[index - 1] if index else 1.0
            convolution.weight.mul_(change[index] / incoming)
            convolution.bias.mul_(change[index])
        self.scales.copy_(wanted)

    @torch.no_grad()
    def mean_activations(self, pictures: Float[Tensor, "b 3 h w"]) -> dict[str, float]:
        """Mean activation of every tap over pictures, in the weights file's own units."""
        return {tap: float(x.double().mean()) for tap, x in self(pictures, self.taps, scaled=False).items()}

    def _read_out(self, tap: str, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if tap not in self.readouts:
            return x
        return functional.linear(x.permute(0, 2, 3, 1), self.readouts[tap]).permute(0, 3, 1, 2)  # stays channels-last

    def _check(self, pictures: Tensor, taps: Sequence[str]) -> None:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"the encoder takes [B, 3, H, W], got {list(pictures.shape)}")
        self._check_taps(taps)
        smallest = self.smallest(taps)
        if min(pictures.shape[2:]) < smallest:
            raise ValueError(f"{list(pictures.shape)} is too small: {', '.join(taps)} need {smallest} pixels a side")

    def _check_taps(self, taps: Sequence[str]) -> None:
        if isinstance(taps, str) or not taps:
            raise ValueError(f"taps is a list of names such as ['relu3_1'], got {taps!r}")
        for tap in taps:
            if tap not in self.convolutions and tap not in self.pools:
                raise ValueError(f"{self.name} has no tap {tap!r}; it has {', '.join([*self.taps, *self.pools])}")


def load(
    name: str = "vgg19",
    weights: str | Path | None = None,
    pooling: Pooling = "max",
    progress: bool = False,
    padding: Padding = "zeros",
) -> Encoder:
    """Load a frozen encoder whose taps have mean activation 1 over natural images.

    "compact" comes with arf, on VGG-19's common scale. VGG's weights come from the file `weights`; else from the folder
    that the environment variable ARF_WEIGHTS names; else from torchvision, which downloads them once. Their scales were
    measured over photographs where we know the weights, and are measured over `natural.pictures` otherwise.

    Args:
        name: "compact", or a key of `pretrained.LAYOUTS`.
        weights: torchvision or Caffe-style weights of VGG, .pth or .safetensors; or a file of `compact.save`.
        pooling: "max" as trained, or "average" (Gatys et al.; smoother gradients).
        progress: show the download's progress bar.
        padding: see `Encoder`.

    Raises:
        UserError: weights that cannot be found, read or used.
        ValueError: an unknown name or pooling.
    """
    if name == "compact":
        return Encoder(compact.stack(weights), pooling, padding)
    encoder = Encoder(pretrained.find(name, weights, progress), pooling, padding)
    known = known_scales().get(f"{name}/{encoder.fingerprint}/{pooling}")
    encoder.rescale(known or encoder.mean_activations(natural.pictures()))
    return encoder


@lru_cache
def known_scales() -> dict[str, dict[str, float]]:
    """Mean activations over photographs, by "name/fingerprint/pooling" (scripts/measure_encoder_scales.py)."""
    return json.loads(resources.files("arf.style").joinpath("encoder_scales.json").read_text(encoding="utf-8"))
