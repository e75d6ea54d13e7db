"""The compact encoder's file: VGG-19's taps from a fraction of its channels (scripts/distill_encoder.py).

Each tap has a readout R, a square matrix over its few channels, made so that inner products of R·x approximate those of
VGG-19's own features. Losses that depend on inner products (Gram, content, nearest neighbours) therefore have VGG-19's
values and gradients, approximately and at VGG-19's common scale.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.style.pretrained import Stack, fingerprint, read

FILE = Path(__file__).with_name("compact.safetensors")
LICENCE = (
    "Distilled from VGG-19 by K. Simonyan and A. Zisserman, Visual Geometry Group, University of Oxford (CC BY 4.0, "
    "https://www.robots.ox.ac.uk/~vgg/research/very_deep/); changed: fewer channels, retrained. CC BY 4.0."
)


def stack(file: str | Path | None = None) -> Stack:
    """The compact network, from `file` or as it comes with arf.

    Raises:
        UserError: the file cannot be read, is not finite, or is not what `save` writes.
    """
    path = Path(file or FILE)
    state = {name: tensor.float() for name, tensor in read(path).items()}
    refusal = UserError(f"{path} is no compact encoder; for VGG's weights give --encoder vgg19 or vgg16")
    taps = sorted(name.removesuffix(".weight") for name in state if re.fullmatch(r"relu\d_\d\.weight", name))
    if taps[:1] != ["relu1_1"] or not all(after in _followers(tap) for tap, after in pairwise(taps)):
        raise refusal
    shapes, inputs = {"mean": (3,)}, 3
    for tap in taps:
        width = state[f"{tap}.weight"].shape[:1].numel()
        shapes |= {f"{tap}.weight": (width, inputs, 3, 3), f"{tap}.bias": (width,), f"{tap}.readout": (width, width)}
        inputs = width
    if any(name not in state or tuple(state[name].shape) != shape or 0 in shape for name, shape in shapes.items()):
        raise refusal
    convolutions = {tap: (state[f"{tap}.weight"], state[f"{tap}.bias"]) for tap in taps}
    readouts = {tap: state[f"{tap}.readout"] for tap in taps}
    pairs = {tap: (*convolutions[tap], readouts[tap]) for tap in taps}
    return Stack("compact", convolutions, tuple(state["mean"].tolist()), "arf", fingerprint(pairs), readouts)


def _followers(tap: str) -> tuple[str, str]:
    """The taps that may come after one: of its own block, or the first of the next."""
    block, number = map(int, tap.removeprefix("relu").split("_"))
    return f"relu{block}_{number + 1}", f"relu{block + 1}_1"


@torch.no_grad()
def save(
    path: Path,
    convolutions: Mapping[str, tuple[Tensor, Tensor]],
    lifts: Mapping[str, Tensor],
    mean: tuple[float, float, float],
    **notes: str,
) -> None:
    """Write the network as float16.

    Args:
        convolutions: weight and bias of every tap.
        lifts: H [C, c] of every tap, from its c channels to the C of VGG-19 at their common scale. Stored is
            R = √(HᵀH)·√(c/C), which has the same inner products as H per channel: ‖R x‖²/c = ‖H x‖²/C.
        mean: subtracted from RGB in [0, 1].
        notes: kept in the file beside the licence.
    """
    tensors = {"mean": torch.tensor(mean)}
    for tap, (weight, bias) in convolutions.items():
        lift = lifts[tap].double()
        values, vectors = torch.linalg.eigh(lift.T @ lift)
        root = vectors * values.clamp_min(0).sqrt() @ vectors.T
        tensors[f"{tap}.readout"] = root * math.sqrt(lift.shape[1] / lift.shape[0])
        tensors[f"{tap}.weight"], tensors[f"{tap}.bias"] = weight, bias
    tensors = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        about = json.dumps({"licence": LICENCE, **notes})  # one entry: safetensors does not keep the order of several
        save_file(tensors, temporary, metadata={"about": about})
        temporary.chmod(0o644)  # safetensors leaves it to the owner alone
