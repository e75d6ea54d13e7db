"""Gradients of the kernels against autograd through dense sums."""

from __future__ import annotations

from dataclasses import replace

import dense
import pytest
import torch
from gaussians import camera, random_splats

from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.kernels.backward import backward
from arf.radiance.fields.splats.kernels.projection import project
from arf.radiance.fields.splats.kernels.raster import rasterise
from arf.radiance.fields.splats.kernels.tiles import tiles_of
from arf.radiance.fields.splats.splats import Splats

GREY = torch.tensor([0.2, 0.5, 0.7])


def ours(splats, view, cotangent, antialiased):
    with ready():
        projected = project(splats, view, antialiased)
        tiles, colors = tiles_of(projected), splats.colors.numpy()
        picture, *_ = rasterise(projected, tiles, colors, GREY.numpy())
        return backward(splats, view, projected, tiles, colors, picture, cotangent.numpy(), antialiased)


def theirs(splats, view, cotangent, antialiased):
    leaves = {name: t.double().requires_grad_() for name, t in splats.tensors().items()}
    unit = {**leaves, "quats": leaves["quats"] / leaves["quats"].norm(dim=1, keepdim=True)}
    picture = dense.render(Splats(**unit), view, GREY, antialiased=antialiased)
    (picture * cotangent.double()).sum().backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_are_those_of_autograd(seed, antialiased):
    splats = random_splats(300, seed=seed, size=0.08)
    view = replace(camera(48, 40), cx=24.0, cy=20.0)  # the oracle clamps slopes by the field of view alone
    cotangent = torch.randn(40, 48, 3, generator=torch.Generator().manual_seed(seed))
    found, wanted = ours(splats, view, cotangent, antialiased), theirs(splats, view, cotangent, antialiased)
    for name in ("means", "scales", "quats", "opacities", "colors"):
        a, b = torch.from_numpy(getattr(found, name)).double(), wanted[name]
        error = (a - b).norm() / b.norm()
        assert error < 1e-3, (name, float(error))
