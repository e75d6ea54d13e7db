"""A run as a coloured point cloud: the surfaces that its training views see, thinned to one point per small cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.files import atomic_path
from arf.jobs.runs import Run
from arf.media.image import to_bytes
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import to_square
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import NOWHERE, Field
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.grid import shape_at
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import check_painted, painting
from arf.radiance.opening import open_model
from arf.radiance.settings import ExportSettings

PIXELS_PER_POINT = 4  # traced for each point that is asked for: views overlap, and edges are left out
FEWEST_PIXELS = 4096  # traced for each view: in a coarser picture everything is an edge
SOLID = 0.6  # a ray's least share of weight within that: it meets one thing
OPAQUE = 0.2  # a ray's least weight: it meets something. A wall of the background's colour need not be denser
OPAQUE_CUT_OUT = 0.5  # the same where transparent photographs tell things from the background
EDGE = 0.04  # of the inverse depth: a larger kink from pixel to pixel is an edge
CELLS = 8  # of the thinning grid to one of the colour grid, at most
REACH = 10.0  # the cameras of an unbounded scene lie within 1; what is farther out than this is the horizon


@dataclass
class PointCloud:
    """N surface points.

    Attributes:
        points: float64 [N, 3].
        normals: float32 [N, 3] unit vectors, towards the cameras that see the point.
        colors: float32 [N, 3] RGB in [0, 1].
    """

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    colors: Float[Tensor, "n 3"]

    def __len__(self) -> int:
        return len(self.points)

    def select(self, chosen: Bool[Tensor, " n"]) -> PointCloud:
        """The points of a mask."""
        return PointCloud(*(part[chosen] for part in vars(self).values()))

    @classmethod
    def join(cls, clouds: list[PointCloud]) -> PointCloud:
        """All points of several clouds, one cloud after the other."""
        return cls(*(torch.cat(parts) for parts in zip(*(vars(cloud).values() for cloud in clouds), strict=True)))


def export_points(
    run: Run, settings: ExportSettings, output: Path, progress: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Write a run as a PLY file of points, painted where the run is, photoreal otherwise.

    Returns:
        The number of points.

    Raises:
        UserError: a strength on a photoreal run, nothing to be seen, or a file that cannot be written.
    """
    check_painted(run, settings.strength, settings.preserve_color)
    field, painted, capture = open_model(run, pick_device(settings.device), settings.allow_outside)
    look = painted.look if painted else None
    views = capture.train
    cameras = shrunk(views.cameras, max(PIXELS_PER_POINT * settings.points, FEWEST_PIXELS * len(views)))
    opaque = OPAQUE_CUT_OUT if views.transparent else OPAQUE
    found = []
    with atomic_path(output) as temporary:
        temporary.touch()  # a path that cannot be written fails before the work
        for i, camera in enumerate(cameras):
            surface = surface_of(field, camera, opaque, look, settings.strength, settings.preserve_color)
            found.append(surface.select(within(surface.points, capture)))
            progress(i + 1, len(cameras))
        cloud = PointCloud.join(found)
        if not len(cloud):
            raise UserError(f"{run.path} shows no surface that could become points; fit it for longer")
        space = Space(capture.kind, capture.space_box)
        cloud = thin(cloud, space, settings.points, finest=round(CELLS / field.detail))
        write_ply(temporary, to_capture(cloud, capture) if settings.frame != "scene" else cloud)
    return len(cloud)


def shrunk(cameras: Cameras, pixels: int) -> Cameras:
    """The cameras, their pictures made smaller so that they have about so many pixels together, if they have more."""
    sizes = torch.stack([cameras.width, cameras.height], 1)  # [n, 2]
    factor = (sizes.double().prod(1).sum() / pixels).sqrt().clamp_min(1)
    return cameras.resized((sizes / factor).round().long().clamp_min(3))


@torch.no_grad()
def surface_of(
    field: Field,
    camera: Camera,
    opaque: float = OPAQUE,
    look: Look | None = None,
    strength: float = 1.0,
    preserve_color: bool = False,
) -> PointCloud:
    """What a camera sees, one point per pixel, on the CPU.

    A pixel counts where its ray meets one opaque surface, and where the inverse depth has no kink: along a plane it is
    linear in the pixels but for their curvature, whatever the slant, so that a floor seen from aside stays and the
    mixed depths and colours of an outline go. Normals are those of the surface through the neighbouring pixels.

    Args:
        opaque: least weight of a ray that meets something.
    """
    surfaces = [field.surface(band) for band in camera.bands(field.band)]
    depth, opacity, solid = (
        torch.cat([getattr(part, name).cpu() for part in surfaces]) for name in ("depth", "opacity", "solid")
    )
    seen = painting(field, look, camera, strength, preserve_color).flatten(0, 1)  # [p, 3]
    depth = depth.where(opacity >= opaque, NOWHERE)
    origins, directions = camera.rays()
    points = origins + depth[:, None] * directions
    normals = normals_of(points.view(*camera.size, 3))
    facing = normals * -(normals * directions.view_as(normals)).sum(-1, keepdim=True).sign()
    kept = ((solid >= SOLID) & (depth < NOWHERE)).view(camera.size) & ~edges(depth.view(camera.size))
    kept &= normals.norm(dim=-1) > 0.5
    return PointCloud(points.double(), facing.view(-1, 3), seen).select(kept.flatten())


def edges(depth: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels at which the inverse depth has a kink, along a row or a column; the picture's border among them."""
    inverse = 1 / depth.double()
    kinked = torch.ones_like(depth, dtype=torch.bool)
    middle = inverse[1:-1, 1:-1]
    across = inverse[1:-1, :-2] - 2 * middle + inverse[1:-1, 2:]
    down = inverse[:-2, 1:-1] - 2 * middle + inverse[2:, 1:-1]
    kinked[1:-1, 1:-1] = torch.maximum(across.abs(), down.abs()) > EDGE * middle
    return kinked


def normals_of(points: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
    """Unit normals of the surface through each pixel's neighbours, of either sign; 0 on the border."""
    normals = torch.zeros_like(points)
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normals[1:-1, 1:-1] = normalize(torch.linalg.cross(across, down), dim=-1, eps=1e-30)
    return normals


def within(points: Float[Tensor, "n 3"], capture: Capture) -> Bool[Tensor, " n"]:
    """Which points lie in the scene's box, or, where it has none, nearer than the horizon."""
    if capture.kind == "unbounded":
        return points.abs().amax(1) <= REACH
    low, high = capture.scene_box
    return ((points >= low) & (points <= high)).all(1)


def thin(cloud: PointCloud, space: Space, limit: int, finest: int) -> PointCloud:
    """At most `limit` points: the means of those that share a cell of a grid over the mapped space.

    Args:
        finest: most cells along the longest side; there are as few as the limit asks for.
    """
    unit = space.warp(cloud.points).clamp(0, 1)  # [n, 3]
    count = finest
    while True:
        shape = torch.tensor(shape_at(space, count))
        x, y, z = torch.minimum((unit * shape).long(), shape - 1).unbind(1)
        keys, cell = ((x * shape[1] + y) * shape[2] + z).unique(return_inverse=True)
        if len(keys) <= limit:
            break
        count = max(1, min(count - 1, int(count * (limit / len(keys)) ** 0.4)))  # a surface's would ask for 0.5
    share = torch.zeros(len(keys), dtype=torch.float64).index_add_(0, cell, torch.ones(len(cell), dtype=torch.float64))

    def mean(values: Tensor) -> Tensor:
        return torch.zeros(len(keys), 3, dtype=torch.float64).index_add_(0, cell, values.double()) / share[:, None]

    normals = normalize(mean(cloud.normals), dim=1).float()
    return PointCloud(mean(cloud.points), normals, mean(cloud.colors).float())


def to_capture(cloud: PointCloud, capture: Capture) -> PointCloud:
    """From the parser's frame to that of the capture's own cameras, see `Capture`."""
    back = torch.linalg.inv(to_square(capture.transform).double())  # [4, 4]
    points = cloud.points / capture.scale @ back[:3, :3].T + back[:3, 3]
    return replace(cloud, points=points, normals=(cloud.normals.double() @ back[:3, :3].T).float())


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Binary PLY with positions, normals and colours."""
    from trimesh import Trimesh

    parts = {
        "vertices": cloud.points,
        "vertex_normals": cloud.normals,
        "vertex_colors": to_bytes(cloud.colors[None])[0],
    }
    mesh = Trimesh(**{name: part.numpy() for name, part in parts.items()}, process=False)  # points: it has no faces
    path.write_bytes(mesh.export(file_type="ply", vertex_normal=True))
