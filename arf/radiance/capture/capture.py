"""The door: photographs with known cameras in any format, validated, split, undistorted into pinhole views."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.media.signature import is_video
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.files import Finder, picture_files, picture_folders
from arf.radiance.capture.formats.colmap import LOOKED_FOR, find_models, read_colmap
from arf.radiance.capture.formats.llff import POSES, read_llff
from arf.radiance.capture.formats.transforms import read_blender, read_nerfstudio
from arf.radiance.capture.lens import Pinhole
from arf.radiance.capture.photographs import Source
from arf.radiance.capture.shots import Reading, Shot, settle
from arf.radiance.capture.views import Capture, Kind, Views

Format = Literal["nerfstudio", "blender", "colmap", "llff"]
LISTS = ("transforms.json", "transforms_train.json", POSES)
KNOWN = f"transforms.json, transforms_train.json, {POSES}, a COLMAP model in {LOOKED_FOR}"
FARTHEST = 1e4  # that a camera stands from a scene's box, in half sides of it
WAY_OUT = "arf cameras finds them and makes a capture (arf fit does so by itself)"


@dataclass(frozen=True)
class CaptureConfig:
    """How a capture is to be read."""

    data: Path
    """Folder of the capture, or its transforms.json."""
    format: Literal["auto", "nerfstudio", "blender", "colmap", "llff"] = "auto"
    """What the folder is; auto looks at the files in it."""
    model: int | None = None
    """Which of several COLMAP models, by the number of its folder; the one with the most photographs unless given."""
    downscale: float | None = None
    """How many times smaller than the original photographs to work; as little as leaves no side above 1,024 pixels
    unless given. Where only images_N exist, at least N."""
    held_out: float = 0.125
    """Share of the views kept for evaluation when the capture has no split of its own; at least one view."""
    seed: int = 0
    """Chooses the held-out views: one, at random, from each of equally long stretches."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour in [0, 1] behind transparent pictures."""
    scene: Literal["auto", "bounded", "unbounded", "forward"] = "auto"
    """How space is mapped; auto follows the format and the cameras."""
    allow_outside: bool = False
    """Whether the capture's files may name pictures outside of its folder."""


def load_capture(config: CaptureConfig, reading: Reading | None = None) -> Capture:
    """Read and validate a capture. Pictures are opened for their headers only.

    Args:
        reading: what the capture lists, where its frame and its split (there may be no held-out view) are to be others.

    Raises:
        UserError: no such capture, an unknown format, a damaged file, fewer than two photographs, a pose that is no
            rigid motion, cameras that are all in one place, a lens that no camera has, or a picture that is not of its
            camera's size or lies outside of the capture.
    """
    _check(config)
    data = config.data
    root = data if data.is_dir() else data.parent
    listed = reading or _read(config, root)
    settled = settle(listed.shots, config.downscale, data)
    if len(settled) < 2:
        raise UserError(f"{data} has one photograph; a radiance field needs at least two views")
    _check_places(settled, data)
    train, held_out = _split(settled, config, given=reading is not None)
    kind = listed.kind if config.scene == "auto" else config.scene
    _check_box(settled, listed, kind, data)
    views = _views([*train, *held_out], listed, config.background)
    first, last = views.select(range(len(train))), views.select(range(len(train), len(views)))
    transform, scale = listed.world
    return Capture(
        name=root.resolve().name,
        root=root,
        train=first,
        held_out=last,
        kind=kind,
        scene_box=listed.scene_box,
        space_box=_space_box(kind, first.cameras, listed),
        bounds=listed.bounds,
        transform=transform,
        scale=scale,
        fingerprint=_fingerprint([*train, *held_out], len(train), root),
        points=listed.points and listed.points.moved(listed.placement.motion),
    )


def detect(data: Path) -> Format:
    """The format of a capture folder or of a transforms.json.

    Raises:
        UserError: no such capture, or of no known format.
    """
    if found := known_format(data):
        return found
    if not data.is_dir():
        if os.path.isfile(data) and is_video(data):
            raise UserError(f"{data} is a video without cameras; {WAY_OUT}")
        raise UserError(f"{data} is no capture; name its folder or its transforms.json")
    if picture_files(data) or picture_folders(data):
        raise UserError(f"{data} holds photographs without cameras; {WAY_OUT} (looked for {KNOWN})")
    raise UserError(f"{data} is of no known format; looked for {KNOWN}")


def known_format(data: Path) -> Format | None:
    """The format of a capture, by the names of its files; None where it is none."""
    if not data.is_dir():
        named = {".json": "blender" if data.name == "transforms_train.json" else "nerfstudio"}
        return named.get(data.suffix)
    named = {"transforms.json": "nerfstudio", "transforms_train.json": "blender", POSES: "llff"}
    for name, fmt in named.items():
        if (data / name).exists():
            return fmt
    return "colmap" if find_models(data) else None


def split_views(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and for evaluation: one view, at random, is held out of each of count · share stretches.

    Stretches of the file order, and no plain draw, so that evaluation covers the whole of a walk or an orbit.
    """
    groups = min(max(1, round(count * share)), count - 1)
    edges = np.linspace(0, count, groups + 1).round().astype(int)
    rng = np.random.default_rng(seed)
    held_out = [int(rng.integers(low, high)) for low, high in itertools.pairwise(edges)]
    return [i for i in range(count) if i not in held_out], held_out


Settled = tuple[Shot, Source, Pinhole]


def _read(config: CaptureConfig, root: Path) -> Reading:
    data, finder = config.data, Finder(root, config.allow_outside)
    fmt = detect(data) if config.format == "auto" else config.format
    if fmt == "nerfstudio":
        return read_nerfstudio(data if data.is_file() else root / "transforms.json", finder)
    if fmt == "blender":
        return read_blender(root, finder)
    return read_llff(root) if fmt == "llff" else read_colmap(root, finder, config.model)


def _check(config: CaptureConfig) -> None:
    if not os.path.exists(config.data):
        raise UserError(f"no capture at {config.data}: there is no such file or folder")
    if config.downscale is not None and not 1 <= config.downscale < math.inf:
        raise UserError(f"downscale is {config.downscale:g}; it must be 1 or more")
    if not 0 < config.held_out < 1:
        raise UserError(f"held_out is {config.held_out:g}; it is a share of the views, between 0 and 1")
    if config.seed < 0:
        raise UserError(f"seed is {config.seed}; it must be 0 or more")
    if not all(0 <= c <= 1 for c in config.background):
        raise UserError(f"background is {config.background}; its three numbers must lie in [0, 1]")


def _check_places(settled: list[Settled], data: Path) -> None:
    positions = np.stack([shot.pose[:, 3] for shot, *_ in settled])  # [n, 3]
    if np.ptp(positions, axis=0).max() <= 1e-12 * np.abs(positions).max():
        raise UserError(
            f"{data}: all {len(settled)} cameras are in one place, which shows no depth; photograph from several places"
        )


def _check_box(settled: list[Settled], listed: Reading, kind: Kind, data: Path) -> None:
    positions = listed.placement(torch.from_numpy(np.stack([shot.pose for shot, *_ in settled])))[:, :, 3]  # [n, 3]
    if kind == "bounded" and positions.abs().max() > FARTHEST * listed.scene_box.abs().max():
        raise UserError(f"{data}: its cameras stand {FARTHEST:g} scene boxes away or more; correct the box")


def _split(settled: list[Settled], config: CaptureConfig, given: bool) -> tuple[list[Settled], list[Settled]]:
    """Training and held-out photographs: as the capture says (`given`: surely), or else as `split_views` does."""
    train = [found for found in settled if not found[0].held_out]
    held_out = [found for found in settled if found[0].held_out]
    if not train:
        raise UserError(f"{config.data}: no training photograph exists; restore the pictures or the training split")
    if held_out or given:
        return train, held_out
    parts = split_views(len(settled), config.held_out, config.seed)
    return tuple([settled[i] for i in part] for part in parts)


def _views(settled: list[Settled], reading: Reading, background: Sequence[float]) -> Views:
    shots, sources, pinholes = zip(*settled, strict=True)
    poses = reading.placement(torch.from_numpy(np.stack([shot.pose for shot in shots])))  # float64 [n, 3, 4]
    return Views(Cameras.of(poses, *zip(*pinholes, strict=True)), list(sources), tuple(background))


def _space_box(kind: Kind, cameras: Cameras, reading: Reading) -> Float[Tensor, "2 3"]:
    """The box that the field's space is made of: the scene box, or the frustum of all views together."""
    if kind != "forward":
        return reading.scene_box
    if reading.bounds is None:
        raise UserError(
            "a forward-facing scene needs depth bounds, which only LLFF captures have; try --scene unbounded"
        )
    origins, directions = (torch.cat(parts) for parts in zip(*map(_corner_rays, cameras), strict=True))
    return forward_box(origins, directions, 0.9 * reading.bounds[0])


def forward_box(origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], near: float) -> Float[Tensor, "2 3"]:
    """The box of a forward-facing scene's space (`arf.radiance.fields.rays.space.Space`) that holds these rays, the
    corner rays of all views, from `near` to infinity: [[-a, -b, near], [a, b, inf]]."""
    along = (-directions[:, 2:]).clamp_min(1e-3)  # [r, 1]
    slope = (directions[:, :2] / along).abs()  # at infinity
    first = ((near + origins[:, 2:]) / along).clamp_min(0)
    at_near = ((origins + first * directions)[:, :2] / near).abs()
    reach = torch.maximum(slope, at_near).amax(0).clamp_max(4.0)  # [2]
    inf = float("inf")
    return torch.tensor([[-reach[0], -reach[1], near], [reach[0], reach[1], inf]])


def _corner_rays(camera: Camera) -> tuple[Float[Tensor, "4 3"], Float[Tensor, "4 3"]]:
    rows = [camera.band(first, 1).rays() for first in (0, camera.height - 1)]
    return tuple(torch.cat([part[[0, -1]] for part in parts]) for parts in zip(*rows, strict=True))


def _fingerprint(settled: list[Settled], train: int, root: Path) -> str:
    """Sixteen hexadecimal digits of the split, names, sizes in bytes, poses and lenses: the same on every machine,
    since the numbers are rounded to float32."""
    digest = hashlib.sha256(f"{train} of {len(settled)}".encode())
    for shot, source, pinhole in settled:
        for path in filter(None, (source.file, source.mask)):
            digest.update(f"{os.path.relpath(path, root)} {path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        digest.update(np.asarray(shot.pose, dtype="<f4").tobytes() + np.asarray(pinhole, dtype="<f4").tobytes())
        if source.lens:
            digest.update(source.lens.model.encode() + np.asarray(source.lens.params, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]
