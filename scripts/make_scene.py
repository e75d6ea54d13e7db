"""Render an analytic capture: a still life on a round table in a painted room, with exact cameras.

    python scripts/make_scene.py OUT --size 128 --train 42 --test 8 --seed 0
    python scripts/make_scene.py OUT --cameras fan --size 1008 --height 756 --train 30 --test 3

The scene is a signed distance function that is sphere-traced. Every surface is Lambertian, so colour depends on
position alone and a view-independent radiance field can represent it. OUT receives `images/*.png` and a nerfstudio
`transforms.json` (OpenGL camera-to-world, +z up, unit ≈ a metre) with `train_filenames` and `test_filenames`, and

    "arf_scene_box": [[x0, y0, z0], [x1, y1, z1]]

in the world frame of the poses: everything visible lies inside, so a reader may treat the capture as bounded.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOM = 1.5  # half width of the room
FLOOR, CEILING = -0.4, 1.5
TABLE = 0.85  # radius; its top is the plane z = 0
SCENE_BOX = [[-1.6, -1.6, -0.5], [1.6, 1.6, 1.6]]  # the room and the thickness of its walls
LIGHT = (0.45, -0.55, 1.35)
TARGET = (0.0, 0.0, 0.16)
FIELD_OF_VIEW = 58.0  # degrees, horizontal
CHUNK = 1 << 13  # rays at a time: in cache, and too few for torch to share out, so that one thread renders one view

# Material numbers, in the order of `distances`.
WALLS, TABLETOP, SPHERE, BOX, TORUS, CONE, VASE = range(7)
OBJECTS = {"sphere": SPHERE, "box": BOX, "torus": TORUS, "cone": CONE, "vase": VASE}


def _length(*parts: Tensor) -> Tensor:
    return torch.sqrt(sum(p * p for p in parts))


def _smooth_min(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Polynomial smooth minimum: equal to min(a, b) where they differ by more than k."""
    h = (k - (a - b).abs()).clamp_min(0) / k
    return torch.minimum(a, b) - h * h * (0.25 * k)


def _capped_cylinder(radial: Tensor, z: Tensor, radius: float, low: float, high: float) -> Tensor:
    dr, dz = radial - radius, (z - 0.5 * (low + high)).abs() - 0.5 * (high - low)
    return torch.maximum(dr, dz).clamp_max(0) + _length(dr.clamp_min(0), dz.clamp_min(0))


def _box_frame(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """World to the box's own axes: turned by 25 degrees on the table."""
    c, s = math.cos(math.radians(25)), math.sin(math.radians(25))
    x, y = x - 0.36, y - 0.28
    return c * x + s * y, c * y - s * x, z - 0.19


def distances(p: Tensor) -> list[Tensor]:
    """Signed distance from points [N, 3] to each material: a list of [N], ordered as the material numbers."""
    x, y, z = p.unbind(-1)
    walls = torch.minimum(ROOM - torch.maximum(x.abs(), y.abs()), torch.minimum(z - FLOOR, CEILING - z))
    table = _capped_cylinder(_length(x, y), z, TABLE, FLOOR - 0.1, 0.0)
    sphere = _length(x + 0.40, y - 0.30, z - 0.24) - 0.24
    bx, by, bz = (v.abs() - 0.165 for v in _box_frame(x, y, z))
    inside = torch.maximum(bx, torch.maximum(by, bz)).clamp_max(0)
    box = inside + _length(bx.clamp_min(0), by.clamp_min(0), bz.clamp_min(0)) - 0.025
    torus = _length(_length(x - 0.30, y + 0.36) - 0.19, z - 0.085) - 0.085
    # Cone: the half plane through its slanted side, cut by the table; 0.19 wide, 0.48 high.
    r = _length(x + 0.38, y + 0.38)
    side = (r * 0.48 + z * 0.19 - 0.19 * 0.48) / math.hypot(0.48, 0.19)
    cone = torch.maximum(side, -z) - 0.015
    r = _length(x - 0.02, y - 0.02)
    body = _length(r, (z - 0.20) * 0.9) - 0.19
    vase = _smooth_min(body, _capped_cylinder(r, z, 0.062, 0.2, 0.58), 0.14)
    vase = _smooth_min(vase, _length(r - 0.075, z - 0.57) - 0.028, 0.05)
    return [walls, table, sphere, box, torus, cone, vase]


def distance(p: Tensor) -> Tensor:
    """Signed distance from points [N, 3] to the nearest surface: [N]."""
    nearest, *others = distances(p)
    for other in others:
        nearest = torch.minimum(nearest, other)
    return nearest


def _mix(a: tuple[float, ...], b: tuple[float, ...], t: Tensor) -> Tensor:
    """Two colours blended by t [N] in [0, 1]: [N, 3]."""
    first, second = torch.tensor(a), torch.tensor(b)
    return first + (second - first) * t[:, None]


def _step(t: Tensor, width: float) -> Tensor:
    """0 below, 1 above zero, with an edge `width` wide, so that no texture is sharper than a voxel."""
    t = (t / width + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _wall_colors(p: Tensor) -> Tensor:
    """Four painted walls, a tiled floor, a plain ceiling: [N, 3]."""
    x, y, z = p.unbind(-1)
    # +x: hills under an evening sky with a sun.
    color = _mix((0.96, 0.70, 0.46), (0.32, 0.45, 0.72), ((z - 0.2) / 1.2).clamp(0, 1))
    sun = _step(0.22 - _length(y - 0.35, z - 0.72), 0.06)[:, None]
    color = color * (1 - sun) + torch.tensor((0.99, 0.86, 0.45)) * sun
    for height, ripple, shade in ((0.42, 3.1, (0.42, 0.42, 0.58)), (0.12, 4.3, (0.25, 0.42, 0.36))):
        hill = _step(height + 0.13 * torch.sin(ripple * y + 8 * height) - z, 0.05)[:, None]
        color = color * (1 - hill) + torch.tensor(shade) * hill
    # -x: broad upright stripes. +y: large dots on green. -y: slanted waves.
    stripes = _mix((0.86, 0.78, 0.64), (0.70, 0.36, 0.30), _step(torch.sin(y * 2 * math.pi / 0.6), 0.5))
    u, v = torch.remainder(x + 0.25, 0.5) - 0.25, torch.remainder(z + 0.1, 0.5) - 0.25
    dots = _mix((0.36, 0.56, 0.50), (0.92, 0.84, 0.58), _step(0.14 - _length(u, v), 0.05))
    waves = _mix((0.30, 0.36, 0.55), (0.62, 0.72, 0.82), _step(torch.sin(7 * z + 1.2 * torch.sin(3 * x)), 0.6))
    tiles = torch.sin(math.pi * x / 0.5) * torch.sin(math.pi * y / 0.5)
    floor = _mix((0.40, 0.33, 0.36), (0.66, 0.60, 0.56), _step(tiles, 0.25))
    ceiling = torch.tensor((0.85, 0.84, 0.80)).expand_as(p)
    sides = torch.stack([ROOM - x, ROOM + x, ROOM - y, ROOM + y, z - FLOOR, CEILING - z], -1).argmin(-1)
    paints = torch.stack([color, stripes, dots, waves, floor, ceiling])  # [6, N, 3]
    return paints[sides, torch.arange(len(p))]


def _table_colors(p: Tensor) -> Tensor:
    """Planks with a soft grain, and a darker rim: [N, 3]."""
    x, y, _ = p.unbind(-1)
    plank = torch.floor((y + 5) / 0.24)
    grain = 0.5 + 0.5 * torch.sin(34 * y + 2.2 * torch.sin(2.3 * x + 1.7 * plank) + 1.3 * plank)
    wood = _mix((0.50, 0.31, 0.18), (0.74, 0.52, 0.32), 0.65 * grain + 0.35 * torch.remainder(plank * 0.618, 1))
    seam = _step(0.012 - (torch.remainder(y + 5, 0.24) - 0.12).abs().sub(0.12).abs(), 0.02)[:, None]
    rim = _step(_length(x, y) - (TABLE - 0.07), 0.04)[:, None]
    return wood * (1 - 0.45 * seam) * (1 - 0.45 * rim)


def colors(p: Tensor, material: Tensor) -> Tensor:
    """Linear-light albedo of surface points [N, 3] of the given material numbers [N]: [N, 3]."""
    x, y, z = p.unbind(-1)
    albedo = _wall_colors(p)

    def paint(number: int, value: Tensor) -> None:
        albedo[material == number] = value[material == number]

    paint(TABLETOP, _table_colors(p))
    tilted = 0.8 * (z - 0.24) + 0.5 * (x + 0.40) + 0.33 * (y - 0.30)
    paint(SPHERE, _mix((0.94, 0.88, 0.76), (0.80, 0.14, 0.13), _step(torch.sin(tilted * 2 * math.pi / 0.16), 0.5)))
    bx, by, bz = _box_frame(x, y, z)
    checks = torch.stack([torch.cos(math.pi * v / 0.15) for v in (bx, by, bz)]).mul(2).clamp(-1, 1)
    # On a face the third cosine saturates at −1: the product is a chessboard of three by three.
    paint(BOX, _mix((0.10, 0.46, 0.50), (0.97, 0.80, 0.26), _step(checks.prod(0), 1.0)))
    angle = torch.atan2(y + 0.36, x - 0.30)
    paint(TORUS, _mix((0.93, 0.52, 0.16), (0.46, 0.20, 0.52), _step(torch.sin(8 * angle), 0.7)))
    swirl = torch.sin(2 * torch.atan2(y + 0.38, x + 0.38) + 20 * z)
    paint(CONE, _mix((0.20, 0.52, 0.22), (0.80, 0.88, 0.42), _step(swirl, 0.5)))
    around = torch.atan2(y - 0.02, x - 0.02)
    band = _step(0.035 - (z - 0.22 - 0.045 * torch.sin(6 * around)).abs(), 0.025) + _step(z - 0.45, 0.03)
    paint(VASE, _mix((0.88, 0.91, 0.94), (0.13, 0.26, 0.62), band.clamp(0, 1)))
    return albedo**2.2


def trace(origins: Tensor, directions: Tensor, steps: int = 96) -> Tensor:
    """Sphere-trace unit rays [N, 3]: the distance to the first surface [N]. The room is closed: every ray hits."""
    t = torch.full((len(origins),), 0.02)
    active = torch.arange(len(origins))
    for _ in range(steps):
        gap = distance(origins[active] + t[active, None] * directions[active])
        t[active] += 0.95 * gap
        active = active[gap > 5e-4]
        if not len(active):
            break
    return t


def _normals(p: Tensor) -> Tensor:
    """Central differences on four corners of a tetrahedron: unit [N, 3]."""
    corners = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    return torch.nn.functional.normalize(sum(k * distance(p + 1e-3 * k)[:, None] for k in corners), dim=-1)


def _shadow(p: Tensor, directions: Tensor, reach: Tensor, softness: float = 9.0, steps: int = 28) -> Tensor:
    """Share of a soft light that surface points see, by the closest miss along the shadow ray: [N] in [0, 1]."""
    light, t = torch.ones(len(p)), torch.full((len(p),), 0.02)
    active = torch.arange(len(p))
    for _ in range(steps):
        gap = distance(p[active] + t[active, None] * directions[active])
        light[active] = torch.minimum(light[active], (softness * gap / t[active]).clamp(0, 1))
        t[active] += gap.clamp(0.015, 0.2)
        active = active[(light[active] > 0.01) & (t[active] < reach[active])]
        if not len(active):
            break
    return light * light * (3 - 2 * light)


def shade(p: Tensor) -> Tensor:
    """Display colour in [0, 1] of surface points [N, 3]; it does not depend on the viewer: [N, 3]."""
    material = torch.stack(distances(p)).argmin(0)
    normals = _normals(p)
    p = p + 2e-3 * normals
    to_light = torch.tensor(LIGHT) - p
    reach = to_light.norm(dim=-1)
    to_light = to_light / reach[:, None]
    lambert = (normals * to_light).sum(-1).clamp_min(0)
    # The walls themselves hang beside the light: shadow rays stop before them.
    key = lambert * _shadow(p, to_light, reach - 0.15) * 1.7 / (0.6 + reach * reach)
    open_sky = sum((distance(p + h * normals) / h).clamp(0, 1) for h in (0.03, 0.09, 0.2)) / 3
    ambient = open_sky * (0.42 + 0.10 * normals[:, 2] + 0.05 * normals[:, 0])
    warm, cool = torch.tensor((1.0, 0.95, 0.86)), torch.tensor((0.94, 0.98, 1.06))
    linear = colors(p, material) * (key[:, None] * warm + ambient[:, None] * cool)
    return linear.clamp(0, 1) ** (1 / 2.2)


def look_at(position: Tensor, target: Tensor) -> Tensor:
    """OpenGL camera-to-world [3, 4]: x right, y up, −z towards the target; world +z up."""
    back = torch.nn.functional.normalize(position - target, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor((0.0, 0.0, 1.0)), back), dim=0)
    return torch.stack([right, torch.linalg.cross(back, right), back, position], dim=1)


def make_cameras(count: int, seed: int) -> Tensor:
    """Inward cameras on an orbit at three heights inside the room: camera-to-world [count, 3, 4]."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 2 * math.pi)
    poses = []
    for i in range(count):
        angle = start + 2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / count
        height = (0.45, 0.74, 1.03)[i % 3] + rng.uniform(-0.05, 0.05)
        radius = rng.uniform(1.3, 1.38) - 0.06 * (i % 3)
        target = torch.tensor(TARGET) + torch.from_numpy(rng.uniform(-0.05, 0.05, 3)).float()
        poses.append(look_at(torch.tensor([radius * math.cos(angle), radius * math.sin(angle), height]), target))
    return torch.stack(poses)


def fan(count: int, seed: int) -> Tensor:
    """Forward-facing cameras: an arc of 50 degrees before the table, in three rows: camera-to-world [count, 3, 4]."""
    rng = np.random.default_rng(seed)
    poses = []
    for i in range(count):
        angle = math.radians(-90 - 25 + 50 * (i + rng.uniform(0, 1)) / count)
        height = (0.4, 0.6, 0.8)[i % 3] + rng.uniform(-0.05, 0.05)
        radius = 1.35 + rng.uniform(-0.03, 0.03)
        position = torch.tensor([radius * math.cos(angle), radius * math.sin(angle), height])
        poses.append(look_at(position, torch.tensor(TARGET)))
    return torch.stack(poses)


CAMERAS = {"orbit": make_cameras, "fan": fan}


def focal_length(size: int) -> float:
    return 0.5 * size / math.tan(math.radians(FIELD_OF_VIEW) / 2)


def _of_rays(
    what: Callable[[Tensor], Tensor], camera_to_world: Tensor, size: int, supersample: int, height: int | None
) -> Tensor:
    """What surface points [N, 3] show, [N, c], as a picture [height, size, c], every pixel the mean of supersample²
    rays."""
    height = height or size
    across, down = ((torch.arange(n * supersample) + 0.5) / supersample for n in (size, height))  # half-pixel centres
    v, u = torch.meshgrid(down, across, indexing="ij")  # of the fine grid, in pixels
    focal = focal_length(size)
    local = torch.stack([(u - size / 2) / focal, (height / 2 - v) / focal, -torch.ones_like(u)], -1).reshape(-1, 3)
    directions = torch.nn.functional.normalize(local @ camera_to_world[:, :3].T, dim=-1)
    origin = camera_to_world[:, 3]
    shown = [what(origin + trace(origin.expand_as(d), d)[:, None] * d) for d in directions.split(CHUNK)]
    fine_image = torch.cat(shown).reshape(height, supersample, size, supersample, -1)
    return fine_image.mean(dim=(1, 3))


@torch.no_grad()
def render_view(camera_to_world: Tensor, size: int, supersample: int = 2, height: int | None = None) -> Tensor:
    """One picture [height, size, 3] in [0, 1], square by default."""
    return _of_rays(shade, camera_to_world, size, supersample, height)


@torch.no_grad()
def render_mask(
    camera_to_world: Tensor, material: int, size: int, supersample: int = 2, height: int | None = None
) -> Tensor:
    """How much of each pixel shows a material, such as VASE: [height, size] in [0, 1]."""
    return _of_rays(partial(_shows, materials=[material]), camera_to_world, size, supersample, height)[..., 0]


@torch.no_grad()
def _render_with_masks(camera_to_world: Tensor, materials: Sequence[int], size: int, height: int | None) -> Tensor:
    """The picture and, in further channels, masks of materials: what takes long, to trace the rays, is done once."""

    def what(points: Tensor) -> Tensor:
        return torch.cat([shade(points), _shows(points, materials)], 1)

    return _of_rays(what, camera_to_world, size, 2, height)


def _shows(points: Tensor, materials: Sequence[int]) -> Tensor:
    """Which of the materials surface points [N, 3] are of: [N, materials], 0 or 1."""
    own = torch.stack(distances(points)).argmin(0)
    return torch.stack([own == material for material in materials], 1).float()


def make_scene(
    out: Path,
    size: int = 128,
    train: int = 42,
    test: int = 8,
    seed: int = 0,
    height: int | None = None,
    cameras: str = "orbit",
    objects: Sequence[str] = (),
) -> Path:
    """Write the capture to folder `out` and return the path of its transforms.json. Same arguments, same bytes.

    Args:
        objects: of `OBJECTS`; where each is in every picture goes to objects/<name>/, white on black.
    """
    height = height or size
    for folder in ("images", *(f"objects/{name}" for name in objects)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    count = train + test
    poses = CAMERAS[cameras](count, seed)
    held_out = {round((i + 0.5) * count / test) for i in range(test)} if test else set()
    frames, names = [], {"train": [], "test": []}

    def draw(i: int) -> None:
        if objects:
            whole = _render_with_masks(poses[i], [OBJECTS[name] for name in objects], size, height)
        else:
            whole = render_view(poses[i], size, height=height)
        masks = {f"objects/{name}": whole[..., 3 + k] for k, name in enumerate(objects)}
        for folder, picture in {"images": whole[..., :3], **masks}.items():
            Image.fromarray((picture * 255).round().byte().numpy()).save(out / folder / f"frame_{i:04d}.png")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, range(count)))
    for i, pose in enumerate(poses):
        name = f"images/frame_{i:04d}.png"
        names["test" if i in held_out else "train"].append(name)
        frames.append({"file_path": name, "transform_matrix": [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]})
    focal = focal_length(size)
    meta = {
        "camera_model": "OPENCV",
        **{"fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": height / 2, "w": size, "h": height},
        **{"k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0},
        "arf_scene_box": SCENE_BOX,
        "train_filenames": names["train"],
        "val_filenames": names["test"],
        "test_filenames": names["test"],
        "frames": frames,
    }
    path = out / "transforms.json"
    temporary = path.with_name(".transforms.json.tmp")
    temporary.write_text(json.dumps(meta, indent=1))
    os.replace(temporary, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--size", type=int, default=128, help="width of the pictures, pixels")
    parser.add_argument("--height", type=int, help="and their height; as wide when left out")
    parser.add_argument("--cameras", choices=CAMERAS, default="orbit", help="all round, or a fan before the table")
    parser.add_argument("--train", type=int, default=42, help="training views")
    parser.add_argument("--test", type=int, default=8, help="held-out views")
    parser.add_argument("--seed", type=int, default=0, help="camera jitter")
    parser.add_argument("--objects", nargs="+", choices=OBJECTS, default=(), help="whose places are written, too")
    make_scene(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
