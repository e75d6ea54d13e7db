"""The scene in viser's world: camera poses there and back, where a visitor starts, and which way is up.

Our cameras look along −z with y up (OpenGL), viser's along +z with y down (OpenCV): turned by half a turn about x. The
axes of the world are the same, and lengths are stretched so that viser's walking speed suits every scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize
from viser import CameraHandle
from viser.transforms import SO3

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import focus_point
from arf.radiance.paths.files import FARTHEST

HALF_TURN = torch.tensor([1.0, -1.0, -1.0])  # of a camera about its x axis
WALK = 4.0  # viser units from the first camera to what it looks at: two seconds on foot
Quaternion = tuple[float, float, float, float]  # w, x, y, z
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Gaze:
    """A visitor's view, in the scene's frame; equal where the pictures are.

    Attributes:
        wxyz, position: of the camera, in viser's axes.
        fov: vertical, radians.
        aspect: width over height.
    """

    wxyz: Quaternion
    position: Point
    fov: float
    aspect: float

    @property
    def pose(self) -> Float[Tensor, "3 4"]:
        rotation = torch.from_numpy(SO3(np.array(self.wxyz)).as_matrix()).float() * HALF_TURN
        return torch.cat([rotation, torch.tensor(self.position)[:, None]], dim=1)

    @property
    def possible(self) -> bool:
        """Whether there is a picture of it: a browser's window may have no height, and a visitor fly away."""
        values = (*self.wxyz, *self.position, self.fov, self.aspect)
        near = all(abs(value) <= FARTHEST for value in self.position)
        return (
            all(map(math.isfinite, values)) and 0 < self.fov < math.pi and self.aspect > 0 and any(self.wxyz) and near
        )

    def side(self, pixels: float) -> int:
        """The longer side of a picture of so many pixels."""
        return int((pixels * max(self.aspect, 1 / self.aspect)) ** 0.5)

    def camera(self, side: int) -> Camera:
        """A camera whose picture fills the window, `side` pixels on its longer side."""
        width = max(1, round(side * min(1.0, self.aspect)))
        height = max(1, round(side * min(1.0, 1 / self.aspect)))
        y = math.tan(self.fov / 2)  # half the picture, at distance 1
        fx, fy = width / 2 / (y * self.aspect), height / 2 / y
        return Camera(self.pose, fx, fy, width / 2, height / 2, width, height)


@dataclass(frozen=True)
class World:
    """
    Attributes:
        start: pose of the first training camera.
        fov: of that camera, vertical, radians.
        up: unit vector, the mean of the training cameras' y axes.
        reach: from the first camera to what the cameras look at, in the scene's units.
        size: of the frustum that stands for a camera, in the scene's units.
    """

    start: Float[Tensor, "3 4"]
    fov: float
    up: Float[Tensor, " 3"]
    reach: float
    size: float

    @classmethod
    def of(cls, cameras: Cameras) -> World:
        poses, first = cameras.poses, cameras[0]
        up = poses[:, :, 1].mean(0)
        up = normalize(up, dim=0) if up.norm() > 1e-3 else poses[0, :, 1]
        spread = float((poses[:, :, 3] - poses[:, :, 3].mean(0)).square().sum(1).mean().sqrt())
        reach = float((focus_point(poses) - poses[0, :, 3]) @ -poses[0, :, 2])
        if not math.isfinite(reach) or reach < spread / 5 or reach < 1e-6:
            reach = spread or 1.0
        apart = torch.cdist(poses[:, :, 3], poses[:, :, 3]).fill_diagonal_(torch.inf).amin(1).median()
        size = float(apart.clamp(reach / 40, reach / 12))
        return cls(poses[0], 2 * math.atan(first.height / 2 / first.fy), up, reach, size)

    @property
    def scale(self) -> float:
        """viser units per unit of the scene."""
        return WALK / self.reach

    def look(self, camera: CameraHandle) -> Gaze:
        """What a visitor sees."""
        wxyz, position = camera.wxyz.tolist(), (camera.position / self.scale).tolist()
        try:
            aspect = float(camera.aspect)
        except ZeroDivisionError:
            aspect = 0.0
        return Gaze(tuple(wxyz), tuple(position), float(camera.fov), aspect)

    def place(self, pose: Float[Tensor, "3 4"]) -> tuple[Quaternion, Point]:
        """(wxyz, position) of a camera in viser's world."""
        wxyz = SO3.from_matrix((pose[:, :3] * HALF_TURN).double().numpy()).wxyz
        return tuple(wxyz.tolist()), tuple((pose[:, 3].double() * self.scale).tolist())

    def aim(self, camera: CameraHandle, pose: Float[Tensor, "3 4"], up: Float[Tensor, " 3"] | None = None) -> None:
        """Let a visitor look through a camera, and orbit about `up` as far as that agrees with the picture."""
        right, own, back = pose[:, :3].unbind(1)
        up = self.up if up is None else up
        up = up - (up @ right) * right  # any such vector makes the same picture
        if up @ own < 0.05:
            up = own
        target = pose[:, 3] - self.reach * back
        camera.position = (pose[:, 3] * self.scale).numpy()
        camera.look_at = (target * self.scale).numpy()
        camera.up_direction = up.numpy()
