"""Published models in their authors' layouts, as PyTorch state dictionaries; nothing in them is executed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from arf.errors import UserError
from arf.networks.adain import TAP, AdainNetwork, Decoder
from arf.networks.fast import Architecture, FastNetwork
from arf.networks.filling import filled
from arf.style.encoder import Encoder
from arf.style.pretrained import LAYOUTS, Stack, fingerprint, read

LAYERS = {  # ours: convolution and norm in PyTorch's example (fast_neural_style), both in the ports from TensorFlow
    "down.0": ("conv1", "in1", "conv1"),
    "down.1": ("conv2", "in2", "conv2"),
    "down.2": ("conv3", "in3", "conv3"),
    **{f"residuals.{i}.first": (f"res{i + 1}.conv1", f"res{i + 1}.in1", f"res{i + 1}.conv1") for i in range(5)},
    **{f"residuals.{i}": (f"res{i + 1}.conv2", f"res{i + 1}.in2", f"res{i + 1}.conv2") for i in range(5)},
    "up.0": ("deconv1", "in4", "up1"),
    "up.1": ("deconv2", "in5", "up2"),
}

NEITHER = "fast networks have the layers of PyTorch's example, or of a port from TensorFlow"


def fast_network(path: Path) -> FastNetwork:
    """A published fast network of one style: that of PyTorch's example, or one ported from TensorFlow.

    Both take colours from 0 to 255; that is folded into the first layer.

    Raises:
        UserError: it cannot be read, or has another layout.
    """
    state = {name: tensor.float() for name, tensor in read(path).items()}
    try:
        ours, shape = _from_example(state) if "conv1.conv2d.weight" in state else _from_tensorflow(state)
    except (KeyError, TypeError, IndexError) as error:  # a layer is missing, or has no dimensions
        raise UserError(f"{path} is no fast network that arf knows: {NEITHER}") from error
    ours["down.0.convolution.conv.weight"] = 255 * ours["down.0.convolution.conv.weight"]
    return filled(lambda: FastNetwork(shape, [path.stem]), ours, path, NEITHER)


def _from_example(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Architecture]:
    """PyTorch's example: reflection padding, and nothing but the range of colours at the end. Its biases before
    instance norms have no effect, and have no place here."""
    ours = {
        "last.conv.weight": state["deconv3.conv2d.weight"] / 255,
        "last.conv.bias": state["deconv3.conv2d.bias"] / 255,
    }
    for layer, (convolution, norm, _) in LAYERS.items():
        ours[f"{_convolution(layer)}.conv.weight"] = state[f"{convolution}.conv2d.weight"]
        ours[f"{layer}.norm.scale"] = state[f"{norm}.weight"][None]
        ours[f"{layer}.norm.shift"] = state[f"{norm}.bias"][None]
    return ours, Architecture(width=len(state["in1.weight"]), output="linear")


def _from_tensorflow(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Architecture]:
    """Zero padding, transposed convolutions, and 150 tanh + 127.5 behind a last layer that is normalised as well."""
    ours = {
        "last.conv.weight": state["out.weight"],
        "last_norm.scale": state["out.scale"][None],
        "last_norm.shift": state["out.shift"][None],
    }
    for layer, (_, _, convolution) in LAYERS.items():
        padded = "" if layer.startswith("up") else ".conv"  # a transposed convolution needs no padding before it
        ours[f"{_convolution(layer)}{padded}.weight"] = state[f"{convolution}.weight"]
        ours[f"{layer}.norm.scale"] = state[f"{convolution}.scale"][None]
        ours[f"{layer}.norm.shift"] = state[f"{convolution}.shift"][None]
    shape = {"padding": "zeros", "upsampling": "transposed", "output": "tanh", "eps": 1e-3}
    return ours, Architecture(width=len(state["conv1.scale"]), **shape)


def _convolution(layer: str) -> str:
    """Where our layer keeps its convolution."""
    ends_a_residual = layer.startswith("residuals") and not layer.endswith("first")
    return f"{layer}.second" if ends_a_residual else f"{layer}.convolution"


def adain_network(decoder: Path, encoder: Path) -> AdainNetwork:
    """AdaIN's published network: a decoder, and the normalised VGG-19 with a 1×1 convolution before it, both as
    `nn.Sequential` with reflection padding.

    Raises:
        UserError: a file that cannot be read, or of another layout.
    """
    layers = _sequence(encoder)
    widths = [width for block in LAYOUTS["vgg19"] for width in block]
    taps = [f"relu{b}_{n}" for b, block in enumerate(LAYOUTS["vgg19"], 1) for n in range(1, len(block) + 1)]
    taps = taps[: taps.index(TAP) + 1]
    if len(layers) <= len(taps) or layers[0][0].shape != (3, 3, 1, 1) or layers[0][1].shape != (3,):
        raise UserError(f"{encoder} is no normalised VGG-19 of AdaIN: it begins with a 1×1 convolution")
    (mixing, offset), *layers = layers
    convolutions, inputs = {}, 3
    for tap, (weight, bias), width in zip(taps, layers, widths, strict=False):
        if weight.shape != (width, inputs, 3, 3) or bias.shape != (width,):
            raise UserError(f"{encoder} is no normalised VGG-19 of AdaIN: {tap} has the shape {list(weight.shape)}")
        convolutions[tap], inputs = (weight, bias), width
    weight, bias = convolutions["relu1_1"]
    folded = torch.einsum("oikl,ic->ockl", weight, mixing[:, :, 0, 0])
    convolutions["relu1_1"] = folded, bias + torch.einsum("oikl,i->o", weight, offset)
    stack = Stack("vgg19", convolutions, (0.0, 0.0, 0.0), "torchvision", fingerprint(convolutions))
    widths_of = dict(zip(taps, widths, strict=False))
    names = [f"convolutions.{tap}.conv" for tap in reversed(taps)]
    found = _sequence(decoder)
    remedy = f"{decoder.name} is to be AdaIN's decoder for VGG-19's {TAP}"
    if len(found) != len(names):
        raise UserError(f"{decoder} has {len(found)} layers, not {len(names)}; {remedy}")
    state = {f"{name}.weight": weight for name, (weight, _) in zip(names, found, strict=True)}
    state |= {f"{name}.bias": bias for name, (_, bias) in zip(names, found, strict=True)}
    network = filled(lambda: Decoder(widths_of), state, decoder, remedy)
    return AdainNetwork(Encoder(stack, padding="reflect"), network, scaled=False).eval().requires_grad_(False)


def _sequence(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every layer of a Sequential, in its order."""
    state = read(path)
    numbers = sorted(int(m[1]) for name in state if (m := re.fullmatch(r"(\d+)\.weight", name)))
    pairs = [(state[f"{n}.weight"].float(), state.get(f"{n}.bias")) for n in numbers]
    if not pairs or any(bias is None for _, bias in pairs):
        raise UserError(f"{path} holds no sequence of convolutions; AdaIN's published files are such")
    return [(weight, bias.float()) for weight, bias in pairs]
