"""Maps of the world into the unit cube, and how rays are stepped through them."""

from __future__ import annotations

import pytest
import torch
from captures import row
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.capture import forward_box
from arf.radiance.fields.rays.space import NEAR, Space

BOX = torch.tensor([[-1.0, -2.0, 0.0], [3.0, 1.0, 2.0]])
FORWARD = torch.tensor([[-0.9, -0.6, 1.5], [0.9, 0.6, float("inf")]])


def random(count: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Points in [-scale, scale]^3."""
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1) * scale


def inside_rays(count: int, scale: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    return random(count, scale, seed), normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=1)


def test_a_bounded_space_is_an_affine_map_of_its_box():
    space = Space("bounded", BOX)
    corners = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]).float()
    torch.testing.assert_close(space.warp(BOX[0] + corners * (BOX[1] - BOX[0])), corners)
    assert space.extent.tolist() == [4, 3, 2]


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 1e3])
def test_unbounded_is_nerfstudios_contraction_into_the_cube(scale):
    points = random(500, scale)
    radius = points.abs().amax(1, keepdim=True)  # the L-infinity norm
    contracted = torch.where(radius <= 1, points, (2 - 1 / radius) * points / radius)  # Mip-NeRF 360, eq. 10
    wanted = contracted / 4 + 0.5
    torch.testing.assert_close(Space("unbounded").warp(points), wanted, rtol=0, atol=1e-9)
    assert ((wanted >= 0) & (wanted <= 1)).all()


def test_forward_is_normalised_device_coordinates():
    space = Space("forward", FORWARD)
    near = torch.tensor([[-0.9 * 1.5, 0.6 * 1.5, -1.5]])  # a corner of the near plane
    torch.testing.assert_close(space.warp(near), torch.tensor([[0.0, 1.0, 0.0]]))
    far = torch.tensor([[0.9e6, -0.6e6, -1e6]])
    torch.testing.assert_close(space.warp(far), torch.tensor([[1.0, 0.0, 1.0]]), rtol=0, atol=1e-5)
    depths = torch.tensor([1.5, 2.0, 3.0, 6.0])
    middle = space.warp(torch.stack([torch.zeros(4), torch.zeros(4), -depths], 1))
    torch.testing.assert_close(middle[:, 2], 1 - 1.5 / depths)  # linear in disparity


def arcs(space: Space, step: float) -> Tensor:
    return torch.arange(int(space.length() / step), dtype=torch.float64) * step


def test_bounded_steps_are_exactly_even_and_cover_the_box():
    space = Space("bounded", BOX).double()
    origins, directions = inside_rays(300, 5.0)
    entry = space.entry(origins, directions)
    step = 0.02
    depth = space.depth(arcs(space, step)[None], entry, origins, directions)
    torch.testing.assert_close(depth.diff(dim=1), torch.full_like(depth[:, 1:], step))
    points = origins[:, None] + depth[..., None] * directions[:, None]
    outside = ((points < BOX[0]) | (points > BOX[1])).any(-1)
    assert outside[:, -1].all()  # the march ends behind the box
    far = torch.linspace(0, 30, 5001, dtype=torch.float64)
    walk = origins[:, None] + far[None, :, None] * directions[:, None]
    within = ((walk >= BOX[0]) & (walk <= BOX[1])).all(-1)
    assert within.any(1).float().mean() > 0.05
    assert (torch.where(within, far, torch.inf).amin(1) >= entry[:, 0] - 1e-9).all()  # nothing lies before the entry
    assert (torch.where(within, far, -torch.inf).amax(1) <= depth[:, -1]).all()


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0])
def test_unbounded_depth_grows_from_near_to_the_horizon(scale):
    space = Space("unbounded").double()
    origins, directions = inside_rays(500, scale)
    depth = space.depth(arcs(space, 0.02)[None], space.entry(origins, directions), origins, directions)
    assert (depth.diff(dim=1) >= 0).all()
    torch.testing.assert_close(depth[:, 0], torch.full((500,), NEAR, dtype=torch.float64))
    warped = space.warp(origins[:, None] + depth[..., None] * directions[:, None])
    assert ((warped >= 0) & (warped <= 1)).all()
    assert (4 * (warped[:, -1] - 0.5).abs().amax(1) > 1.98).all()


@pytest.mark.parametrize(("scale", "longest"), [(0.0, 1.01), (0.3, 1.55), (1.0, 3.5)])
def test_unbounded_steps_are_bounded_in_the_cube(scale, longest):
    """The longest step, per axis, in units of the step: how far samples can be apart, for cameras within `scale`."""
    space = Space("unbounded").double()
    origins, directions = inside_rays(3000, scale)
    step = 0.01
    depth = space.depth(arcs(space, step)[None], space.entry(origins, directions), origins, directions)
    warped = 4 * space.warp(origins[:, None] + depth[..., None] * directions[:, None])
    assert warped.diff(dim=1).abs().max() <= longest * step
    within = (origins[:, None] + depth[..., None] * directions[:, None]).abs().amax(-1) < 1
    both = within[:, 1:] & within[:, :-1] & (depth[:, 1:] < 1)
    even = warped.diff(dim=1).norm(dim=-1)[both]
    torch.testing.assert_close(even, torch.full_like(even, step))


def test_forward_steps_are_even_in_disparity():
    space = Space("forward", FORWARD).double()
    origins = random(200, 0.1)
    directions = normalize(torch.cat([random(200, 0.4)[:, :2], -torch.ones(200, 1, dtype=torch.float64)], 1), dim=1)
    step = 0.01
    depth = space.depth(arcs(space, step)[None], space.entry(origins, directions), origins, directions)
    assert (depth.diff(dim=1) > 0).all()
    warped = space.warp(origins[:, None] + depth[..., None] * directions[:, None])
    even = warped[..., 2].diff(dim=1) * space.extent[2]
    torch.testing.assert_close(even, torch.full_like(even, step), rtol=0, atol=1e-6)
    torch.testing.assert_close(warped[:, 0, 2], torch.zeros(200, dtype=torch.float64), rtol=0, atol=1e-9)


def test_forward_box_holds_every_ray_of_every_view():
    poses = row(5, 0.2)
    poses[:, 0, 3] -= 0.4
    poses[:, 1, 3] = torch.linspace(-0.1, 0.1, 5)
    rays = [camera.rays() for camera in Cameras.of(poses, 20.0, 22.0, 12.0, 8.0, 24, 16)]
    origins, directions = (torch.cat(part) for part in zip(*rays, strict=True))
    space = Space("forward", forward_box(origins, directions, near=2.0))
    depth = space.depth(arcs(space, 0.02).float()[None], space.entry(origins, directions), origins, directions)
    warped = space.warp(origins[:, None] + depth[..., None] * directions[:, None])
    assert warped.min() >= -1e-4
    assert warped.max() <= 1 + 1e-4
    assert warped[..., 0].min() < 0.02  # and it is no larger than it must be
    assert warped[..., 0].max() > 0.98


def test_extent_and_box_travel_with_the_module():
    space, other = Space("bounded", BOX), Space("bounded", BOX + 1)
    other.load_state_dict(space.state_dict())
    assert torch.equal(other.box, BOX)


@pytest.mark.parametrize(("kind", "box"), [("bounded", None), ("forward", None), ("bounded", torch.zeros(3, 2))])
def test_a_space_without_its_box_is_refused(kind, box):
    with pytest.raises(ValueError, match=r"needs a box \[2, 3\]"):
        Space(kind, box)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="spherical"):
        Space("spherical", BOX)


@pytest.mark.parametrize("kind", ["bounded", "unbounded"])
def test_unwarp_undoes_warp(kind):
    space = Space(kind, torch.tensor([[-1.0, -2.0, 0.0], [1.0, 1.0, 0.5]]))
    world = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.3, 2.0, 30.0])
    torch.testing.assert_close(space.unwarp(space.warp(world)), world, rtol=1e-3, atol=1e-5)
    assert space.unwarp(torch.tensor([[0.0, 0.5, 1.0]])).isfinite().all()  # the end of the world


def outside_rays(count: int, reach: float) -> tuple[Tensor, Tensor]:
    """Rays from outside of the unit cube, half of them towards it."""
    origins, directions = inside_rays(count, reach)
    origins = origins * (1.01 + random(count)[:, :1].abs() * (reach - 1)) / origins.abs().amax(1, keepdim=True)
    towards = normalize(random(count, 0.9, seed=5) - origins, dim=1)
    return origins, torch.where(torch.arange(count)[:, None] % 2 == 0, towards, directions)


@pytest.mark.parametrize("reach", [1.5, 10.0, 1000.0])
def test_from_outside_marching_begins_where_a_ray_is_nearest_to_the_unit_cube(reach):
    """C18: the scene is seen from anywhere, also by a camera that has left the cube in which the capture's stood."""
    origins, directions = outside_rays(400, reach)
    start = Space("unbounded").start(origins, directions)
    assert (start >= 0).all()
    walk = torch.linspace(0, 3 * reach, 20001, dtype=torch.float64)
    for origin, direction, begin in zip(origins, directions, start[:, 0], strict=True):
        size = (origin + walk[:, None] * direction).abs().amax(1)
        here = float((origin + begin * direction).abs().amax())
        if size.min() < 0.999:  # it enters the cube, here
            assert here == pytest.approx(1, abs=1e-9)
            assert size[walk < begin - 1e-9].min() >= 1 - 1e-9
        else:
            assert here <= size.min() + 1e-9


def test_from_inside_and_in_other_spaces_marching_begins_at_the_camera():
    origins, directions = inside_rays(50, 1.0)
    assert not Space("unbounded").start(origins, directions).any()
    for kind, box in (("bounded", BOX), ("forward", FORWARD)):
        assert not Space(kind, box).start(*outside_rays(50, 9.0)).any()
