"""Encoder weights: where they are found, how they are read, and which input they were made for."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.jobs.tensors import check_finite, check_room
from arf.style import natural

log = logging.getLogger(__name__)

# Channels of every convolution, block by block.
LAYOUTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
SUFFIXES = (".safetensors", ".pth", ".pt")
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")  # where a training's checkpoint has them
PARALLEL = "module."  # what DataParallel puts before every name

Convention = Literal["torchvision", "caffe-rgb", "caffe-bgr", "arf"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68 / 255, 116.78 / 255, 103.94 / 255)


@dataclass
class Stack:
    """Convolutions for input `RGB in [0, 1] - mean`, keyed by tap, whatever convention their file had.

    A tap with a readout R [C, C] gives R·x in place of x to whoever asks for it; the next layer still gets x.
    """

    name: str
    convolutions: dict[str, tuple[Tensor, Tensor]]  # tap: weight [C_out, C_in, 3, 3], bias [C_out]
    mean: tuple[float, float, float]
    convention: Convention
    fingerprint: str
    readouts: dict[str, Tensor] = field(default_factory=dict)


def find(name: str, file: str | Path | None = None, progress: bool = False) -> Stack:
    """Weights of an architecture, from `file`, else from the folder ARF_WEIGHTS, else from torchvision's download.

    Raises:
        UserError: they cannot be found, read or used.
        ValueError: an unknown name.
    """
    if name not in LAYOUTS:
        raise ValueError(f"no architecture {name!r}; there are {', '.join(LAYOUTS)}")
    file = Path(file) if file is not None else _in_folder(name)
    if file is not None:
        return to_stack(name, read(file), str(file))
    return to_stack(name, _download(name, progress), f"torchvision's {name} weights", "torchvision")


def read(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is executed.

    They may lie in an entry of their own, beside what else was saved of a training, and have the prefix that
    DataParallel gives them.

    Raises:
        UserError: no such file, damaged, more than plain tensors, or not finite.
    """
    if refusal := cannot_read(path, "weights file"):
        raise refusal
    check_room(path, "give another weights file")
    try:
        if zipfile.is_zipfile(path) and any(part.compress_type for part in zipfile.ZipFile(path).infolist()):
            raise UserError(
                f"{path} is compressed, as torch writes none; save a model's state_dict()"
            )  # may be endless
        with warnings.catch_warnings():  # about pickle protocols, of what is refused anyway
            warnings.simplefilter("ignore")
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # unpicklers fail in many ways, all of them of no use to the reader
        raise UserError(
            f"{path} is no weights file: it is damaged or holds more than plain tensors; download it again"
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(f"{path} holds a {type(state).__name__}, not named tensors; save a model's state_dict()")
    state = next((state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping)), state)
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if odd := next((name for name, value in tensors.items() if not _is_plain(value)), None):
        raise UserError(f"{path}: {odd} is no plain tensor of numbers; save a model's state_dict()")
    check_finite(tensors, path, "download it again")
    parallel = tensors and all(name.startswith(PARALLEL) for name in tensors)
    return {name.removeprefix(PARALLEL): t for name, t in tensors.items()} if parallel else tensors


def _is_plain(tensor: Tensor) -> bool:
    tiny = tensor.is_floating_point() and tensor.itemsize < 2  # kinds of eight bits, of which torch can do little
    real = not (tensor.is_complex() or tensor.is_quantized or tiny)
    return real and tensor.layout == torch.strided and tensor.device.type == "cpu"


def to_stack(name: str, state: Mapping[str, Tensor], origin: str, convention: Convention | None = None) -> Stack:
    """Name the convolutions of a torchvision state dict by their taps and fold in the input that they expect.

    Args:
        name: architecture.
        state: `features.N.weight` and `.bias`, with or without the prefix; classifiers are ignored.
        origin: where the state came from, for error messages.
        convention: the input that the weights expect; detected if None.

    Raises:
        UserError: the state is not of this architecture.
    """
    convolutions = {}
    inputs = 3
    for tap, index, width in _positions(name):
        pair = []
        for part, shape in (("weight", (width, inputs, 3, 3)), ("bias", (width,))):
            tensor = state.get(f"features.{index}.{part}", state.get(f"{index}.{part}"))
            if tensor is None or tuple(tensor.shape) != shape:
                found = "is missing" if tensor is None else f"is {list(tensor.shape)}, not {list(shape)}"
                raise UserError(f"{origin} is not {name}: features.{index}.{part} {found}; give {name} weights")
            pair.append(tensor.detach().float())
        convolutions[tap] = tuple(pair)
        inputs = width
    identity = fingerprint(convolutions)
    convention = convention or detect(convolutions)
    log.info("%s: %s, made for %s input", origin, name, convention)
    weight, bias = convolutions["relu1_1"]  # [C, 3, 3, 3]
    if convention == "torchvision":  # u = (x - mean) / std
        mean, gain = IMAGENET_MEAN, 1 / torch.tensor(IMAGENET_STD)
    else:  # u = 255 x - caffe mean = 255 (x - caffe mean / 255)
        mean, gain = CAFFE_MEAN, torch.full((3,), 255.0)
        weight = weight.flip(1) if convention == "caffe-bgr" else weight
    convolutions["relu1_1"] = (weight * gain.view(1, 3, 1, 1), bias)
    return Stack(name, convolutions, mean, convention, identity)


def detect(convolutions: Mapping[str, tuple[Tensor, Tensor]]) -> Convention:
    """Which input the weights expect.

    The first convolution's scale decides only where it is plain: Oxford's weights for 0..255 input and torchvision's
    own for unit variance are both about 0.2, because the two training runs differ. So Oxford's first layer is
    recognised by its colour filters, which also tell RGB from BGR; and any other weights are Caffe-style if input of
    unit variance leaves them blind, the biases of the last block outweighing the picture.
    """
    weight = convolutions["relu1_1"][0]  # [C, 3, 3, 3]
    if weight.square().mean().sqrt() > 2:  # Oxford's weights with a factor of 255 / std ≈ 58 folded in: 11
        return "torchvision"
    redness = _oxford_redness(weight)
    if abs(redness) > 1.5:
        return "caffe-rgb" if redness > 0 else "caffe-bgr"
    if _contrast(convolutions) > 1:
        return "torchvision"
    log.warning("Caffe-style encoder weights of unknown origin: taking them to expect BGR, as Caffe does")
    return "caffe-bgr"


def _oxford_redness(weight: Float[Tensor, "c 3 3 3"]) -> float:
    """How far the filters that are red in Oxford's VGG are red, and the blue ones blue: 3.2 there, near 0 elsewhere."""
    red, blue = [16, 19, 27, 29, 59], [1, 5, 9, 22, 25, 36, 39]
    if len(weight) <= max(red + blue):
        return 0.0
    total = weight.sum(dim=(2, 3))  # [C, 3]
    redness = (total[:, 0] - total[:, 2]) / weight.flatten(1).norm(dim=1).clamp_min(1e-12)  # [C]
    return float(torch.cat([redness[red], -redness[blue]]).mean())


@torch.no_grad()
def _contrast(convolutions: Mapping[str, tuple[Tensor, Tensor]]) -> float:
    """Difference that a picture makes to the last tap, relative to the tap of plain grey, for input of unit variance.
    Oxford's weights: 10 with the input they expect, 0.6 with one that is 58 times too small."""
    picture = natural.pictures(count=1, size=128)
    x = torch.cat([picture - picture.mean(), torch.zeros_like(picture)]) / picture.std()  # [2, 3, 128, 128]
    block = 1
    for tap, (weight, bias) in convolutions.items():
        if block_of(tap) != block:
            x = functional.max_pool2d(x, 2)
            block += 1
        x = functional.conv2d(x, weight, bias, padding=1).relu_()  # [2, C, H, W]
    seen, grey = x
    return float((seen - grey).norm() / grey.norm().clamp_min(1e-12))


def block_of(tap: str) -> int:
    """The block of a tap's name: 3 for "relu3_1"."""
    return int(tap.removeprefix("relu").split("_")[0])


def _positions(name: str) -> list[tuple[str, int, int]]:
    """Every convolution of an architecture: tap, index in torchvision's `features`, channels."""
    positions = []
    index = 0
    for block, widths in enumerate(LAYOUTS[name], start=1):
        for number, width in enumerate(widths, start=1):
            positions.append((f"relu{block}_{number}", index, width))
            index += 2  # the convolution and its ReLU
        index += 1  # pooling
    return positions


def _in_folder(name: str) -> Path | None:
    """The weights of an architecture in the folder that ARF_WEIGHTS names; None where it is unset or has none."""
    folder = os.environ.get("ARF_WEIGHTS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise UserError(f"ARF_WEIGHTS names {folder}, which is no folder; name one, or unset it")
    files = sorted(Path(folder).glob(f"{name}*"))
    files = [file for file in files if file.suffix in SUFFIXES and not file.name.startswith(f"{name}_bn")]
    return files[0] if files else None


def _download(name: str, progress: bool) -> Mapping[str, Tensor]:
    """Torchvision's own weights, from torch hub's cache or the network. The network itself is never built."""
    from torchvision import models  # imports slowly

    try:
        choice = models.get_model_weights(name).IMAGENET1K_V1
        return choice.get_state_dict(progress=progress, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # URLError, a hash that does not match, a full disk, a damaged cache
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"no {name} weights, and torchvision's download failed ({reason}); take --encoder compact, which comes "
            f"with arf, or give --encoder-weights FILE, or set ARF_WEIGHTS to a folder that holds {name}*.pth or "
            f"{name}*.safetensors, or connect to the network once"
        ) from error


def fingerprint(tensors: Mapping[str, tuple[Tensor, ...]]) -> str:
    """Sixteen hexadecimal digits that identify tensors on the CPU."""
    digest = hashlib.sha256()
    for group in tensors.values():
        for tensor in group:
            digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()[:16]
