"""The style objective: pictures pulled towards one or more style pictures, in an encoder's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import computes_bfloat16, multiplies_halves
from arf.style.encoder import Encoder, block_of
from arf.style.losses import gram, gram_loss, knn_loss
from arf.style.neighbours import FeatureBank

StyleLoss = Literal["nnfm", "gram", "knn"]
Features = list[Float[Tensor, "1 c h w"]]
Weights = Sequence[Float[Tensor, "1 1 h w"] | Float[Tensor, "h w"] | None]  # of positions, one for each block


class StyleObjective:
    """Distance of a picture's features from several styles, as the weighted mean over styles and blocks.

    Taps of one block have one size; their channels are concatenated, as in ARF, so that a position's neighbour is
    chosen by all of them together. With "gram" the styles' Gram matrices are averaged instead (Gatys et al., 2016).

    Args:
        taps: layers to match.
        styles: pictures [H, W, 3], at the size at which they are to be looked at.
        weights: one per style; they are normalised to sum 1.
        neighbours: k of "knn".
        exact: see `arf.style.neighbours.FeatureBank`.

    Raises:
        UserError: another number of weights than styles, a weight below 0, or an unknown layer.
    """

    def __init__(
        self,
        encoder: Encoder,
        taps: Sequence[str],
        styles: Sequence[Float[Tensor, "h w 3"]],
        weights: Sequence[float] = (),
        loss: StyleLoss = "nnfm",
        neighbours: int = 5,
        exact: bool = False,
    ) -> None:
        if not taps or (unknown := [tap for tap in taps if tap not in encoder.taps]):
            raise UserError(f"no layer {', '.join(unknown) if taps else 'given'}; there are {', '.join(encoder.taps)}")
        weights = list(weights) or [1.0] * len(styles)
        if len(weights) != len(styles) or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(f"{len(styles)} style pictures need as many weights >= 0, not {weights}")
        self.encoder, self.loss = encoder, loss
        device = encoder.mean.device
        self.half = computes_bfloat16(device)
        self.neighbours = neighbours if loss == "knn" else 1
        self.blocks = [[t for t in taps if block_of(t) == b] for b in sorted({block_of(t) for t in taps})]
        self.taps = [tap for block in self.blocks for tap in block]
        self.weights = [w / sum(weights) for w in weights]
        with torch.no_grad():
            encoded = [self.features(style) for style in styles]
        if loss == "gram":
            matrices = [[gram(f, "positions") * w for f in e] for e, w in zip(encoded, self.weights, strict=True)]
            self.targets = [sum(parts) for parts in zip(*matrices, strict=True)]
        else:
            self.banks = [[FeatureBank(f, multiplies_halves(f.device), exact) for f in e] for e in encoded]
            if self.neighbours > min(len(bank) for banks in self.banks for bank in banks):
                raise UserError(f"--neighbours {neighbours} is more than a style picture has features; use fewer")

    def features(self, picture: Float[Tensor, "h w 3"]) -> Features:
        """One tensor per block: its taps, concatenated along the channels.

        Where it is quicker the encoder computes in bfloat16, whose range needs no scaling of gradients. Features are
        float32 everywhere: what is summed over them, Gram matrices above all, is summed in full."""
        planes = picture.permute(2, 0, 1)[None]  # [1, 3, h, w]
        with torch.autocast(planes.device.type, torch.bfloat16, enabled=self.half):
            found = self.encoder(planes, self.taps)
        return [torch.cat([found[tap].float() for tap in block], 1) for block in self.blocks]

    def __call__(self, features: Features, weights: Weights | None = None) -> Float[Tensor, ""]:
        """The style loss of a picture's `features`.

        Args:
            weights: how much each position of a block counts, >= 0 (see `arf.style.losses.shrink_weight`).
        """
        weights = weights if weights is not None else [None] * len(features)
        if self.loss == "gram":
            parts = [gram_loss(f, t, "positions", w) for f, t, w in zip(features, self.targets, weights, strict=True)]
            return sum(parts) / len(parts)
        total = features[0].new_zeros(())
        for share, banks in zip(self.weights, self.banks, strict=True):
            if share > 0:
                blocks = zip(features, banks, weights, strict=True)
                parts = [knn_loss(f, bank, self.neighbours, w) for f, bank, w in blocks]
                total = total + share * sum(parts) / len(parts)
        return total
