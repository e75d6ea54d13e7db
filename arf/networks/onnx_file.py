"""Networks as ONNX files, for other programs than this one.

Sides of pictures are dynamic, but multiples of the network's stride: what makes other sizes fit stays in Python.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.networks.adain import AdainNetwork, Style, stylized
from arf.networks.fast import STRIDE, FastNetwork
from arf.networks.layers import Pictures

OPSET = 17


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        inputs: names, in the order of the network's arguments.
        multiple: what sides of pictures must be multiples of.
        difference: largest difference of a value from PyTorch's, in units of RGB in 0..1, on pictures of another size
            and number than the network was traced with; None where onnxruntime is not installed.
    """

    path: Path
    inputs: list[str]
    multiple: int
    difference: float | None


class FastGraph(nn.Module):
    """(picture [B, 3, H, W], mix [B, S]) to pictures in [0, 1]; a network of one style takes the picture alone."""

    def __init__(self, network: FastNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Pictures, mix: Tensor | None = None) -> Pictures:
        mix = mix if mix is not None else torch.ones_like(picture[:, :1, 0, 0])
        return self.network.paint(picture, mix).clamp(0, 1)


class AdainGraph(nn.Module):
    """(picture [B, 3, H, W], style [B or 1, 3, h, w], alpha []) to pictures in [0, 1]."""

    def __init__(self, network: AdainNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Pictures, style: Pictures, alpha: Tensor) -> Pictures:
        content, known = self.network.encode(picture), Style.of(self.network.encode(style))
        return self.network.decoder(stylized(content, [known], alpha=alpha)).clamp(0, 1)


@torch.no_grad()
def export(network: AdainNetwork | FastNetwork, path: Path) -> Exported:
    """Write a network, and compare what onnxruntime makes of it with PyTorch.

    Raises:
        UserError: another suffix, the onnx package is missing, or the two do not agree.
    """
    if path.suffix.lower() != ".onnx":
        raise UserError(f"cannot write {path}: the name must end in .onnx")
    if find_spec("onnx") is None:
        raise UserError("ONNX files need the onnx package: pip install onnx onnxruntime")
    if isinstance(network, AdainNetwork):
        multiple = network.encoder.stride(network.tap)
        graph, names = AdainGraph(network), ["picture", "style", "alpha"]
    else:
        multiple = STRIDE
        graph, names = FastGraph(network), ["picture", "mix"] if len(network.names) > 1 else ["picture"]
    axes = {name: {0: f"{name}s", 2: f"{name}_height", 3: f"{name}_width"} for name in ("picture", "style")}
    dynamic = {**axes, "mix": {0: "pictures"}, "painted": axes["picture"]}
    with warnings.catch_warnings():  # about steps of slices, and that newer exporters exist
        warnings.simplefilter("ignore")
        with atomic_path(path) as temporary:
            torch.onnx.export(
                graph.eval(),
                _inputs(network, names, 1, 8 * multiple),
                str(temporary),
                dynamo=False,  # the newer one fixes sizes that at trace time are 1
                opset_version=OPSET,
                input_names=names,
                output_names=["painted"],
                dynamic_axes={name: dynamic[name] for name in (*names, "painted") if name in dynamic},
            )
            difference = _difference(graph, temporary, names, _inputs(network, names, 2, 11 * multiple))
            if difference is not None and difference > 1e-2:
                raise UserError(
                    f"{path} was not written: onnxruntime is {difference:.2g} off; update onnx and onnxruntime"
                )
    return Exported(path, names, multiple, difference)


def _inputs(network: nn.Module, names: list[str], count: int, side: int) -> tuple[Tensor, ...]:
    """Seeded pictures, the second style being another than the first."""
    generator = torch.Generator().manual_seed(count)
    rows = len(getattr(network, "names", [0]))
    made = {
        "picture": torch.rand(count, 3, side, side + 3 * side // 8 // 8 * 8, generator=generator),
        "style": torch.rand(1, 3, side, side, generator=generator),
        "mix": torch.rand(count, rows, generator=generator).softmax(1),
        "alpha": torch.tensor(0.75),
    }
    return tuple(made[name] for name in names)


def _difference(graph: nn.Module, path: Path, names: list[str], inputs: tuple[Tensor, ...]) -> float | None:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    return float((torch.from_numpy(found) - graph(*inputs)).abs().max())
