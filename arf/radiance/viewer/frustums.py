"""Cameras in viser's world: small frustums, with the photographs in those of the capture."""

from __future__ import annotations

import logging
import math
import threading

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import interpolate
from viser import CameraFrustumHandle, SceneNodeHandle

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views
from arf.radiance.viewer.guide import Guide
from arf.radiance.viewer.server import Server

MOST = 100  # that are shown, evenly spread; more hide the scene and each other
THUMBNAIL = 128  # pixels on the longer side
BLUE = (40, 110, 200)

log = logging.getLogger(__name__)


class Nodes:
    """Things in viser's world, each of which is hidden while somebody stands in it and would see nothing else.

    Attributes:
        shown: whether the others are visible.
    """

    def __init__(self, near: float, shown: bool) -> None:
        """
        Args:
            near: distance at which one stands in a thing, in the scene's units.
        """
        self.near, self.shown = near, shown
        self._nodes: list[tuple[SceneNodeHandle, Float[Tensor, "n 3"]]] = []
        self._visitors = torch.empty(0, 3)
        self._lock = threading.RLock()  # visitors come and go in threads of their own

    def add(self, node: SceneNodeHandle, points: Float[Tensor, "n 3"]) -> None:
        """Something with points, in the scene's frame, at which one would stand in it."""
        with self._lock:
            self._nodes.append((node, points))
            self._update()

    def show(self, shown: bool) -> None:
        with self._lock:
            self.shown = shown
            self._update()

    def keep_clear(self, visitors: Float[Tensor, "m 3"]) -> None:
        """Of visitors at some positions, in the scene's frame."""
        with self._lock:
            self._visitors = visitors
            self._update()

    def remove(self) -> None:
        """All of them."""
        with self._lock:
            for node, _ in self._nodes:
                node.remove()
            self._nodes = []

    def _update(self) -> None:
        for node, points in self._nodes:
            node.visible = self.shown and not bool((torch.cdist(points, self._visitors) < self.near).any())


class Frustums:
    """The capture's cameras. Their photographs are read when they are first wanted.

    Attributes:
        nodes: the frustums made so far.
    """

    def __init__(self, server: Server, views: Views, guide: Guide) -> None:
        self.server, self.views, self.guide = server, views, guide
        self.nodes = Nodes(guide.world.size, shown=False)
        self._closed = False
        self._making = threading.Lock()

    def show(self, shown: bool) -> None:
        """Show or hide them; the first time it takes as long as it takes to read the photographs."""
        self.nodes.show(shown)
        if shown and self._making.acquire(blocking=False):  # and never released: they are made once
            for index in range(0, len(self.views), math.ceil(len(self.views) / MOST)):
                if self._closed:
                    return
                camera, image = self.views.cameras[index], self._thumbnail(index)
                node = add_frustum(self.server, f"/cameras/{index}", camera, self.guide, BLUE, image)
                self.nodes.add(node, camera.pose[None, :, 3])

    def close(self) -> None:
        """Make no more."""
        self._closed = True

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
    world, pose = guide.world, camera.pose
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
