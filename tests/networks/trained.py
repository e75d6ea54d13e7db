"""Small networks and published files, as if they had been trained."""

from __future__ import annotations

from pathlib import Path

import torch

from arf.networks import modelfile
from arf.networks.adain import AdainNetwork, Decoder
from arf.networks.cast import CastNetwork
from arf.networks.fast import Architecture, FastNetwork
from arf.networks.layers import InstanceNorm
from arf.style import encoder as encoders


def adain_file(folder: Path) -> Path:
    """A decoder of the compact encoder that nobody trained."""
    torch.manual_seed(0)
    encoder = encoders.load("compact", padding="reflect")
    path = folder / "decoder.safetensors"
    decoder = Decoder.mirroring(encoder)
    for layer in decoder.convolutions.values():  # so that something is left of the features at the end
        torch.nn.init.kaiming_normal_(layer.conv.weight)
    decoder.convolutions["relu1_1"].conv.weight.data.mul_(0.1)
    decoder.convolutions["relu1_1"].conv.bias.data.fill_(0.5)
    modelfile.save_adain(path, AdainNetwork(encoder, decoder))
    return path


def cast_file(folder: Path) -> Path:
    """Decoders of the compact encoder that differ."""
    begun = modelfile.open_adain(adain_file(folder))
    network = CastNetwork(begun.encoder, begun.decoder)
    network.decoders["photograph"].convolutions["relu1_1"].conv.bias.data.fill_(0.25)
    path = folder / "decoders.safetensors"
    modelfile.save_cast(path, network)
    return path


def fast_file(folder: Path, names: tuple[str, ...] = ("night", "wave", "glass")) -> Path:
    """A fast network whose styles differ."""
    torch.manual_seed(0)
    network = FastNetwork(Architecture(styles=len(names), width=4, residuals=1), names)
    for norm in network.modules():
        if isinstance(norm, InstanceNorm):
            norm.shift.data.normal_()
    path = folder / f"{'-'.join(names)}.safetensors"
    modelfile.save_fast(path, network)
    return path
