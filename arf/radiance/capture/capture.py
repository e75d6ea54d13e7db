"""Captures: photographs with known cameras, validated and split, the same for our commands and for nerfstudio's.

`CaptureDataParserConfig` is a nerfstudio dataparser; `load_capture` returns what it parses as two sets of `Views`.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.formats import Kind, Reading, detect, read
from arf.radiance.capture.pictures import match_pictures, read_picture, resize_cameras
from arf.radiance.fields.voxel.space import forward_box

log = logging.getLogger(__name__)
RAYS = 1 << 15  # of a view that are cast at once: nerfstudio takes 340 bytes for each


@dataclass
class CaptureDataParserConfig(DataParserConfig):
    """A capture in any format that arf knows, recognised from its folder."""

    _target: type = field(default_factory=lambda: CaptureDataParser)
    data: Path = Path()
    """Folder of the capture, or its transforms.json."""
    format: Literal["auto", "nerfstudio", "blender", "colmap", "llff"] = "auto"
    """What the folder is; auto looks at the files in it."""
    downscale: float = 1.0
    """How many times smaller than the original photographs to work. Where only images_N exist, at least N."""
    held_out: float = 0.125
    """Share of the views kept for evaluation when the capture has no split of its own; at least one view."""
    seed: int = 0
    """Chooses the held-out views: one, at random, from each of equally long stretches."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour in [0, 1] behind transparent pictures."""
    scene: Literal["auto", "bounded", "unbounded", "forward"] = "auto"
    """How space is mapped; auto follows the format and the cameras."""


class CaptureDataParser(DataParser):
    """Parses once; `train` is one set of views, `val` and `test` are both the held-out one.

    `DataparserOutputs.metadata`, which nerfstudio hands to the model, holds `kind` ("bounded", "unbounded", "forward"),
    `bounds` ((near, far) or None) and `space_box`, the box of the `Space` that the kind asks for.
    """

    config: CaptureDataParserConfig

    def __init__(self, config: CaptureDataParserConfig) -> None:
        super().__init__(config)
        self._parsed: tuple[DataparserOutputs, DataparserOutputs] | None = None

    def _generate_dataparser_outputs(self, split: str = "train", **_: object) -> DataparserOutputs:
        if split not in ("train", "val", "test"):
            raise ValueError(f"a split is train, val or test, not {split!r}")
        if self._parsed is None:
            self._parsed = _parse(self.config)
        return self._parsed[0 if split == "train" else 1]


@dataclass
class Views:
    """Photographs with their cameras, in one order. Nothing is held in memory: `image` reads the file each time."""

    cameras: Cameras
    filenames: list[Path]
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __len__(self) -> int:
        return len(self.filenames)

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of view i in pixels."""
        return int(self.cameras.height[i]), int(self.cameras.width[i])

    def image(self, i: int) -> Float[Tensor, "h w 3"]:
        """The photograph of view i at its camera's size, RGB in [0, 1], lens distortion untouched.

        Raises:
            UserError: the file has gone, or is corrupt or cut short.
        """
        height, width = self.size(i)
        return torch.from_numpy(read_picture(self.filenames[i], width, height, self.background)).float() / 255

    def rays(self, i: int, rows: slice = slice(None)) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
        """Origins and unit directions through the pixel centres of view i, row by row, lens distortion undone.

        `rows` chooses some rows of the picture; only their rays are cast.
        """
        camera, (height, width) = self.cameras[i : i + 1], self.size(i)
        pixels = (torch.arange(height)[rows, None] * width + torch.arange(width)).flatten()  # [r]
        parts = []
        with warnings.catch_warnings():  # nerfstudio 1.1.5 indexes with lists, which recent torch deprecates
            warnings.filterwarnings("ignore", message="Using a non-tuple sequence")
            for pixel in pixels.split(RAYS):
                coords = torch.stack([pixel // width, pixel % width], 1) + 0.5  # [r, 2] centres
                bundle = camera.generate_rays(camera_indices=0, coords=coords)
                parts.append((bundle.origins.clone(), bundle.directions.clone()))  # parts of much larger tensors
        origins, directions = zip(*parts, strict=True)
        return torch.cat(origins), torch.cat(directions)


@dataclass
class Capture:
    """A capture in its parser frame: x_parser = scale · (transform[:, :3] x_world + transform[:, 3]).

    `scene_box` bounds what a bounded capture shows, and what the frusta of a forward one cover between `bounds`; for an
    unbounded capture it is the cube around the cameras, and the scene goes on outside. `bounds` are the nearest and
    farthest depth of a forward-facing capture in parser units.
    """

    name: str
    root: Path
    train: Views
    held_out: Views
    kind: Kind
    scene_box: Float[Tensor, "2 3"]
    bounds: tuple[float, float] | None
    transform: Float[Tensor, "3 4"]
    scale: float
    metadata: dict[str, object]


def load_capture(config: DataParserConfig) -> Capture:
    """Read and validate a capture. Pictures are opened for their headers only.

    Args:
        config: ours, or another of nerfstudio's dataparsers, whose captures count as unbounded.

    Raises:
        UserError: no such capture, an unknown format, a damaged file, fewer than two photographs, a pose that is no
            rigid motion, or a picture that is not of its camera's size.
    """
    parser = config.setup()
    train, held_out = parser.get_dataparser_outputs("train"), parser.get_dataparser_outputs("test")
    root = config.data if config.data.is_dir() else config.data.parent
    background = (1.0, 1.0, 1.0) if train.alpha_color is None else tuple(train.alpha_color.tolist())
    return Capture(
        name=root.resolve().name,
        root=root,
        train=Views(train.cameras, train.image_filenames, background),
        held_out=Views(held_out.cameras, held_out.image_filenames, background),
        kind=train.metadata.get("kind", "unbounded"),
        scene_box=train.scene_box.aabb,
        bounds=train.metadata.get("bounds"),
        transform=train.dataparser_transform,
        scale=train.dataparser_scale,
        metadata=train.metadata,
    )


def split_views(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and for evaluation: one view, at random, is held out of each of count · share stretches.

    Stretches of the file order, and no plain draw, so that evaluation covers the whole of a walk or an orbit.
    """
    groups = min(max(1, round(count * share)), count - 1)
    edges = np.linspace(0, count, groups + 1).round().astype(int)
    rng = np.random.default_rng(seed)
    held_out = [int(rng.integers(low, high)) for low, high in itertools.pairwise(edges)]
    return [i for i in range(count) if i not in held_out], held_out


def _parse(config: CaptureDataParserConfig) -> tuple[DataparserOutputs, DataparserOutputs]:
    """Training and held-out outputs: pictures present, sizes checked, cameras at the working size."""
    _check(config)
    reading = read(config.data, detect(config.data) if config.format == "auto" else config.format, config.downscale)
    train, held_out = _drop_missing(reading, config.data)
    if reading.train.mask_filenames:
        log.warning("%s: its masks are ignored; every pixel of every photograph is used", config.data)
    total = len(train.image_filenames) + (len(held_out.image_filenames) if held_out else 0)
    if total < 2:
        raise UserError(f"{config.data} has one photograph; a radiance field needs at least two views")
    if held_out is None or not held_out.image_filenames:
        train_indices, held_out_indices = split_views(total, config.held_out, config.seed)
        train, held_out = _select(train, train_indices), _select(train, held_out_indices)
    if not train.image_filenames:
        raise UserError(f"{config.data}: no training photograph exists; restore the pictures or the training split")
    for part in (train, held_out):
        _finish(part, reading, config)
    kind = reading.kind if config.scene == "auto" else config.scene
    box = _space_box(kind, train, reading.bounds)
    for part in (train, held_out):
        part.metadata = {"kind": kind, "bounds": reading.bounds, "space_box": box}
    return train, held_out


def _space_box(kind: Kind, outputs: DataparserOutputs, bounds: tuple[float, float] | None) -> Tensor:
    """The box that the field's space is made of: the scene box, or the frustum of all views together."""
    if kind != "forward":
        return outputs.scene_box.aabb
    if bounds is None:
        raise UserError(
            "a forward-facing scene needs depth bounds, which only LLFF captures have; try --scene unbounded"
        )
    views = Views(outputs.cameras, outputs.image_filenames)
    corners = [[r[[0, views.size(i)[1] - 1, -views.size(i)[1], -1]] for r in views.rays(i)] for i in range(len(views))]
    origins, directions = (torch.cat(part) for part in zip(*corners, strict=True))
    return forward_box(origins, directions, 0.9 * bounds[0])


def _check(config: CaptureDataParserConfig) -> None:
    if not config.data.exists():
        raise UserError(f"no capture at {config.data}: there is no such file or folder")
    if not 1 <= config.downscale < float("inf"):
        raise UserError(f"downscale is {config.downscale:g}; it must be 1 or more")
    if not 0 < config.held_out < 1:
        raise UserError(f"held_out is {config.held_out:g}; it is a share of the views, between 0 and 1")
    if not all(0 <= c <= 1 for c in config.background):
        raise UserError(f"background is {config.background}; its three numbers must lie in [0, 1]")


def _drop_missing(reading: Reading, data: Path) -> tuple[DataparserOutputs, DataparserOutputs | None]:
    """The reading without the frames whose picture does not exist; one warning counts them."""
    parts = [reading.train, reading.held_out] if reading.held_out else [reading.train]
    files = [path for part in parts for path in part.image_filenames]
    missing = [path for path in files if not path.is_file()]
    if len(missing) == len(files):
        raise UserError(f"{data}: none of its {len(files)} photographs exists (first {files[0]}); restore them")
    if missing:
        message = "%s: skipping %d of %d frames without a picture, first %s"
        log.warning(message, data, len(missing), len(files), missing[0])
    kept = [_select(p, [i for i, path in enumerate(p.image_filenames) if path.is_file()]) for p in parts]
    return kept[0], kept[1] if reading.held_out else None


def _select(outputs: DataparserOutputs, indices: list[int]) -> DataparserOutputs:
    """The views of the given indices. Masks and depths, which arf does not use, are left behind with the metadata."""
    return replace(
        outputs,
        image_filenames=[outputs.image_filenames[i] for i in indices],
        cameras=outputs.cameras[torch.tensor(indices, dtype=torch.long)],
        mask_filenames=None,
        metadata={},
    )


def _finish(outputs: DataparserOutputs, reading: Reading, config: CaptureDataParserConfig) -> None:
    """Check every picture against its camera, then bring the cameras to the working size, in place."""
    cameras = outputs.cameras
    match_pictures(cameras, outputs.image_filenames)
    shrink = max(1.0, config.downscale / reading.factor)
    sizes = torch.cat([cameras.width, cameras.height], dim=1)
    resize_cameras(cameras, (sizes / shrink).round().long().clamp_min(1))
    outputs.alpha_color = torch.tensor(config.background)
    outputs.scene_box = SceneBox(aabb=outputs.scene_box.aabb.float())
