"""Any style, learned by contrast: CAST (Zhang et al., "Domain Enhanced Arbitrary Image Style Transfer via Contrastive
Learning", SIGGRAPH 2022).

What paints is AdaIN's network. It is trained otherwise (`arf.training.cast`): with one decoder for each direction, from
photographs to paintings and back.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

from torch import nn

from arf.networks.adain import AdainNetwork, Decoder
from arf.style.encoder import Encoder

Domain = Literal["painting", "photograph"]


class CastNetwork(nn.Module):
    """An encoder and a decoder for each domain.

    Args:
        painting: decodes to paintings; the one that decodes to photographs begins as its copy.
    """

    def __init__(self, encoder: Encoder, painting: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict({"painting": painting, "photograph": deepcopy(painting)})

    def to_domain(self, domain: Domain) -> AdainNetwork:
        """What makes paintings of photographs, or photographs of paintings."""
        return AdainNetwork(self.encoder, self.decoders[domain])
