"""The capture's cameras in viser's world: small frustums with the photographs in them."""

from __future__ import annotations

import logging
import math
import threading

import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import interpolate
from viser import CameraFrustumHandle

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views
from arf.radiance.viewer.guide import Guide
from arf.radiance.viewer.server import Server

MOST = 100  # that are shown, evenly spread; more hide the scene and each other
THUMBNAIL = 128  # pixels on the longer side
BLUE = (40, 110, 200)

log = logging.getLogger(__name__)


class Frustums:
    """Photographs are read when they are first wanted. A camera in which some visitor stands is hidden, since its
    photograph would cover that visitor's picture."""

    def __init__(self, server: Server, views: Views, guide: Guide) -> None:
        self.server, self.views, self.guide, self.world = server, views, guide, guide.world
        every = max(1, math.ceil(len(views) / MOST))
        self.chosen = range(0, len(views), every)
        self.positions = views.cameras.poses[list(self.chosen), :, 3].cpu()  # [n, 3]
        self._handles: dict[int, CameraFrustumHandle] = {}  # by place in `chosen`
        self._shown = self._closed = False
        self._occupied = torch.zeros(len(self.chosen), dtype=torch.bool)
        self._making = threading.Lock()

    def show(self, shown: bool) -> None:
        """Show or hide them; the first time it takes as long as it takes to read the photographs."""
        self._shown = shown
        if shown and self._making.acquire(blocking=False):  # and never released: they are made once
            for place, index in enumerate(self.chosen):
                if self._closed:
                    return
                self._handles[place] = self._make(place, index)
        self._update()

    def keep_clear(self, visitors: list[tuple[float, float, float]]) -> None:
        """Hide those at some positions, in the scene's frame."""
        at = torch.tensor(visitors).reshape(-1, 3)
        self._occupied = (torch.cdist(self.positions, at) < self.world.size).any(1)
        self._update()

    def close(self) -> None:
        """Make no more."""
        self._closed = True

    def _update(self) -> None:
        for place, handle in list(self._handles.items()):
            handle.visible = self._visible(place)

    def _visible(self, place: int) -> bool:
        return self._shown and not bool(self._occupied[place])

    def _make(self, place: int, index: int) -> CameraFrustumHandle:
        camera = self.views.cameras[index]
        handle = add_frustum(self.server, f"/cameras/{index}", camera, self.guide, BLUE, self._thumbnail(index))
        handle.visible = self._visible(place)
        return handle

    def _thumbnail(self, index: int) -> UInt8[ndarray, "h w 3"] | None:
        try:
            image = self.views.image(index)
        except UserError as error:
            log.warning("%s", error)
            return None
        return _small(image)


def add_frustum(
    server: Server,
    name: str,
    camera: Camera,
    guide: Guide,
    color: tuple[int, int, int],
    image: UInt8[ndarray, "h w 3"] | None = None,
) -> CameraFrustumHandle:
    """A camera as viser draws it, which takes whoever clicks on it there."""
    world, pose = guide.world, camera.pose.cpu()
    wxyz, position = world.place(pose)
    fov = 2 * math.atan(camera.height / 2 / camera.fy)
    aspect = (camera.width / camera.fx) / (camera.height / camera.fy)
    handle = server.scene.add_camera_frustum(
        name, fov, aspect, scale=world.size * world.scale, color=color, image=image, wxyz=wxyz, position=position
    )
    handle.on_click(lambda event: guide.go(event.client, pose))
    return handle


def _small(image: Tensor) -> UInt8[ndarray, "h w 3"]:
    height, width = image.shape[:2]
    share = min(1.0, THUMBNAIL / max(height, width))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    image = interpolate(image.cpu().permute(2, 0, 1)[None].float(), size, mode="bilinear", antialias=True)[
        0
    ]  # [3, h, w]
    return (image.permute(1, 2, 0).clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
