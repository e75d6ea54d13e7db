"""Captures of arf as nerfstudio reads them: a dataparser and a dataset over `load_capture`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from arf.nerfstudio.models.places import metadata_of
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.views import Capture, Views


@dataclass
class CaptureDataParserConfig(DataParserConfig):
    """A capture in any format that arf knows, recognised from its folder."""

    _target: type = field(default_factory=lambda: CaptureDataParser)
    data: Path = Path()
    """Folder of the capture, or its transforms.json."""
    format: Literal["auto", "nerfstudio", "blender", "colmap", "llff"] = "auto"
    """What the folder is; auto looks at the files in it."""
    model: int | None = None
    """Which of several COLMAP models; the largest when left out."""
    downscale: float | None = None
    """How many times smaller than the original photographs to work; when left out, as little as brings every long side
    to at most 1024 pixels."""
    held_out: float = 0.125
    """Share of the views kept for evaluation when the capture has no split of its own; at least one view."""
    seed: int = 0
    """Chooses the held-out views: one, at random, from each of equally long stretches."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour in [0, 1] behind transparent pictures."""
    scene: Literal["auto", "bounded", "unbounded", "forward"] = "auto"
    """How space is mapped; auto follows the format and the cameras."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""

    @classmethod
    def of(cls, config: CaptureConfig) -> CaptureDataParserConfig:
        return cls(**vars(config))

    def capture_config(self) -> CaptureConfig:
        """The same for our own reader."""
        return CaptureConfig(**{name: getattr(self, name) for name in CaptureConfig.__dataclass_fields__})


class CaptureDataParser(DataParser):
    """Reads once; `train` is one set of views, `val` and `test` are both the held-out one.

    `DataparserOutputs.metadata`, which nerfstudio hands to the model, is that of `metadata_of`, and the views.
    """

    config: CaptureDataParserConfig

    def __init__(self, config: CaptureDataParserConfig) -> None:
        super().__init__(config)
        self._capture: Capture | None = None

    def _generate_dataparser_outputs(self, split: str = "train", **_: object) -> DataparserOutputs:
        if split not in ("train", "val", "test"):
            raise ValueError(f"a split is train, val or test, not {split!r}")
        if self._capture is None:
            self._capture = load_capture(self.config.capture_config())
        capture = self._capture
        views = capture.train if split == "train" else capture.held_out
        return DataparserOutputs(
            image_filenames=views.files,
            cameras=to_nerfstudio(views.cameras),
            alpha_color=torch.tensor(views.background),
            scene_box=SceneBox(aabb=capture.scene_box),
            dataparser_transform=capture.transform.float(),
            dataparser_scale=capture.scale,
            metadata={**metadata_of(capture), "views": views},
        )


class CaptureDataset(InputDataset):
    """nerfstudio's dataset over `Views.photograph`: the same pixels, undistorted, at the cameras' size, and masks where
    some view has one. For `VanillaDataManager[CaptureDataset]`; with another dataparser it is nerfstudio's own."""

    @property
    def views(self) -> Views | None:
        return self._dataparser_outputs.metadata.get("views")

    def get_numpy_image(self, image_idx: int) -> npt.NDArray[np.uint8]:
        """uint8 [H, W, 3], with H and W those of camera `image_idx`."""
        if self.views is None:
            return super().get_numpy_image(image_idx)
        return (self.views.image(image_idx) * 255).round().to(torch.uint8).numpy()

    def get_data(self, image_idx: int, image_type: Literal["uint8", "float32"] = "float32") -> dict[str, Tensor]:
        data = super().get_data(image_idx, image_type)
        if self.views is not None and any(source.mask or source.lens for source in self.views.sources):
            mask = self.views.photograph(image_idx).mask
            everywhere = torch.ones(data["image"].shape[:2], dtype=torch.bool)
            data["mask"] = (everywhere if mask is None else mask)[..., None]
        return data


def to_nerfstudio(cameras: Cameras) -> NerfstudioCameras:
    """Our pinhole cameras as nerfstudio's."""
    return NerfstudioCameras(
        camera_to_worlds=cameras.poses, fx=cameras.fx, fy=cameras.fy, cx=cameras.cx, cy=cameras.cy,
        width=cameras.width, height=cameras.height,
    )  # fmt: skip
