"""Telling styles apart: codes of pictures' styles, a queue of codes seen, and a contrastive loss (CAST, sec. 3.2)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.07
MOMENTUM = 0.99  # share of itself that a follower keeps in a step
Codes = Float[Tensor, "b d"]


class StyleProjector(nn.Module):
    """Features at several taps to a unit vector for each: mean and maximum over all positions, a 1×1 convolution, and
    a perceptron of two layers.

    Args:
        widths: channels of every tap.
        size: D, of the codes.
    """

    def __init__(self, widths: dict[str, int], size: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({tap: self._layer(width, size) for tap, width in widths.items()})

    @staticmethod
    def _layer(width: int, size: int) -> nn.Module:
        """The 1×1 convolution comes first; on pooled features it is a linear layer."""
        return nn.Sequential(
            nn.Linear(2 * width, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size)
        )

    def forward(self, features: dict[str, Float[Tensor, "b c h w"]]) -> dict[str, Codes]:
        codes = {}
        for tap, layer in self.layers.items():
            pooled = torch.cat([features[tap].mean((2, 3)), features[tap].amax((2, 3))], 1)  # [B, 2C]
            codes[tap] = functional.normalize(layer(pooled).float())
        return codes


@torch.no_grad()
def follow(follower: nn.Module, leader: nn.Module) -> None:
    """Move a module's parameters slowly after another's (momentum contrast; He et al., CVPR 2020)."""
    for mine, other in zip(follower.parameters(), leader.parameters(), strict=True):
        mine.lerp_(other, 1 - MOMENTUM)


class Queue(nn.Module):
    """The latest codes at one tap, empty at first, each with the number of the painting that it is of.

    Attributes:
        codes: [K, D]; those that have not been filled yet belong to no painting.
        owners: [K], -1 where there is none.
    """

    def __init__(self, length: int = 4096, size: int = 256) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(length, size))
        self.register_buffer("owners", torch.full((length,), -1))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def add(self, codes: Codes, owners: Int[Tensor, " b"]) -> None:
        """Put codes in place of the oldest ones. The tensors are new ones: a loss may still need the old for its
        gradient."""
        places = (self.next + torch.arange(len(codes), device=codes.device)) % len(self.codes)
        self.codes = self.codes.index_copy(0, places, codes.to(self.codes))
        self.owners = self.owners.index_copy(0, places, owners)
        self.next = self.next + len(codes)

    def others(self, owners: Int[Tensor, " b"]) -> Bool[Tensor, "b k"]:
        """Which of the codes are of another painting than each of `owners`."""
        return (self.owners[None] >= 0) & (self.owners[None] != owners[:, None])


def info_nce(query: Codes, key: Codes, queue: Queue, owners: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """−log of the share of exp(query · key / τ) in its sum with that of all codes of other paintings (InfoNCE, eq. 3).

    The query itself must not be in the queue yet as another's; codes of its own painting do not count against it.

    Args:
        query, key: unit vectors of the same style.
        owners: numbers of the paintings of that style.
    """
    with torch.autocast(query.device.type, enabled=False):  # a hundredth more or less is much at this temperature
        own = (query * key).sum(1, keepdim=True)  # [B, 1]
        others = (query @ queue.codes.T).masked_fill(~queue.others(owners), -torch.inf)  # [B, K]
        scores = torch.cat([own, others], 1) / TEMPERATURE
    return functional.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long, device=query.device))


def contrast(
    queries: dict[str, Codes], keys: dict[str, Codes], queues: nn.ModuleDict, owners: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """The mean of the contrastive loss over taps."""
    return sum(info_nce(queries[tap], keys[tap], queues[tap], owners) for tap in queues) / len(queues)


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al., CVPR 2017): a score for every patch of 70 × 70 pixels, high where it looks real."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor, stride in ((1, 2), (2, 2), (4, 1)):
            inputs, outputs = factor * width, 2 * factor * width
            layers += [nn.Conv2d(inputs, outputs, 4, stride, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 hs ws"]:
        return self.layers(2 * pictures - 1).float()


def told_apart(real: Tensor, painted: Tensor) -> Float[Tensor, ""]:
    """The hinge loss of a discriminator's scores."""
    return functional.relu(1 - real).mean() + functional.relu(1 + painted).mean()
