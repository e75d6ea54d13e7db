"""What plays `gsplat.rasterization` where there is no GPU: its arguments, and the pictures of our own kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.kernels.backward import backward
from arf.radiance.fields.splats.kernels.projection import project
from arf.radiance.fields.splats.kernels.raster import rasterise
from arf.radiance.fields.splats.kernels.tiles import tiles_of
from arf.radiance.fields.splats.splats import Splats


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    eps2d: float = 0.3,
    packed: bool = True,
    backgrounds: Tensor | None = None,
    rasterize_mode: str = "classic",
) -> tuple[Tensor, Tensor, dict]:
    """Of what both 1.4.0 and 1.5.3 take, the part that arf uses; no other values than the kernels'."""
    n = len(means)
    tensors = (means, quats, scales, opacities, colors, viewmats, Ks, backgrounds)
    shapes = ((n, 3), (n, 4), (n, 3), (n,), (n, 3), (1, 4, 4), (1, 3, 3), (1, 3))
    assert [tuple(t.shape) for t in tensors] == [*shapes]
    assert {t.dtype for t in tensors} == {torch.float32}
    assert len({t.device for t in tensors}) == 1
    assert (near_plane, eps2d, packed) == (0.01, 0.3, False)
    assert rasterize_mode in ("classic", "antialiased")
    camera = camera_of(viewmats[0], Ks[0], width, height)
    picture, left = _Blend.apply(
        means, quats, scales, opacities, colors, camera, backgrounds[0], rasterize_mode == "antialiased"
    )
    return picture[None], 1 - left[None, ..., None], {}


def camera_of(view: Tensor, lens: Tensor, width: int, height: int) -> Camera:
    """From world to camera, with x right, y down and z forward, and intrinsics."""
    assert view[3].tolist() == [0, 0, 0, 1]
    assert lens[2].tolist() == [0, 0, 1]
    assert lens[0, 1] == lens[1, 0] == 0
    turn, shift = view[:3, :3].double(), view[:3, 3].double()
    pose = torch.cat([turn.T * torch.tensor([1, -1, -1]), -(turn.T @ shift)[:, None]], 1)
    (fx, _, cx), (_, fy, cy) = lens[:2].tolist()
    return Camera(pose, fx, fy, cx, cy, width, height)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, camera, background, antialiased):
        held = Splats(means, scales, normalize(quats, dim=1), opacities, colors, means.new_zeros(len(means), 0, 3))
        held = Splats(**{name: tensor.detach() for name, tensor in held.tensors().items()})
        with ready():
            projected = project(held, camera, antialiased)
            tiles = tiles_of(projected)
            picture, left, _ = rasterise(projected, tiles, held.colors.numpy(), background.numpy())
        ctx.held = held, camera, projected, tiles, picture, antialiased
        return torch.from_numpy(picture), torch.from_numpy(left)

    @staticmethod
    def backward(ctx, gradient, _):
        held, camera, projected, tiles, picture, antialiased = ctx.held
        with ready():
            found = backward(
                held, camera, projected, tiles, held.colors.numpy(), picture, gradient.numpy(), antialiased
            )
        parts = (found.means, found.quats, found.scales, found.opacities, found.colors)
        return *map(torch.from_numpy, parts), None, None, None


def rendered(splats: Splats, camera: Camera, background: Tensor, antialiased: bool) -> Tensor:
    """The kernels' picture."""
    with ready():
        projected = project(splats, camera, antialiased)
        return torch.from_numpy(rasterise(projected, tiles_of(projected), splats.colors.numpy(), background.numpy())[0])
