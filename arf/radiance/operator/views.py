"""The training views of a frozen scene as render operators over one shared list of visible vertices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.capture.capture import Views
from arf.radiance.fields.trace import trace
from arf.radiance.fields.voxel.grid import CORNERS, grid_coords, linear_index
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import RenderOperator, build, compact


def vertices_of(cells: Int[Tensor, " n"], shape: tuple[int, int, int]) -> Int[Tensor, " V"]:
    """Sorted row-major indices of the vertices of cells, which need be neither sorted nor unique."""
    points = tuple(n + 1 for n in shape)
    base = linear_index(grid_coords(cells.unique(), shape), points)  # [c] each cell's first vertex
    return (base[:, None] + linear_index(CORNERS.to(cells.device), points)).unique()


class OperatorSet:
    """One operator per view. Traces every view at construction.

    Attributes:
        keys: int64 [V] sorted row-major indices of the vertices that some view sees, in the colour grid.
        shape: cells of the colour grid per axis.
        nbytes, entries, pixels: totals over the views.
    """

    def __init__(
        self, model, views: Views, cache: ViewCache, drop_weight: float, progress: Callable[[int, int], None]
    ) -> None:
        self.cache, self.shape, self.count = cache, model.color_shape, len(views)
        self.sizes = [views.size(i) for i in range(len(views))]
        self.nbytes = self.entries = self.pixels = 0
        vertices = (self.shape[0] + 1) * (self.shape[1] + 1) * (self.shape[2] + 1)
        cells = []
        for i, (height, width) in enumerate(self.sizes):
            traced = trace(model, *views.rays(i), drop_weight)
            cells.append(traced.cell.unique())
            operator = build(traced, height, width, self.shape)
            cache.put(self._name(i), operator.tensors())
            self.nbytes += operator.nbytes
            self.entries += len(operator.values)
            self.pixels += height * width
            progress(i + 1, self.count)
        self.keys: Int[Tensor, " V"] = vertices_of(torch.cat(cells), self.shape)
        for i in range(self.count):
            cache.put(self._name(i), compact(self._load(i, vertices), self.keys.to(cache.device)).tensors())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> RenderOperator:
        return self._load(i, len(self.keys))

    def prefetch(self, i: int) -> None:
        """Begin to bring a view's operator to the device, if it is elsewhere."""
        self.cache.prefetch(self._name(i))

    def _name(self, i: int) -> str:
        return f"operator-{i:04d}"

    def _load(self, i: int, vertices: int) -> RenderOperator:
        return RenderOperator(*self.sizes[i], vertices, **self.cache.get(self._name(i)))


@torch.no_grad()
def refit(
    operators: OperatorSet,
    theta: Float[Tensor, "V 3"],
    background: Float[Tensor, " 3"],
    targets: Callable[[int], Float[Tensor, "h w 3"]],
    iterations: int = 8,
    damping: float = 0.05,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Float[Tensor, "V 3"]:
    """Vertex colours that render nearest to the targets: damped linear least squares.

        min over δ of  sum_v ||A_v (θ + δ) + t_v ⊗ background - target_v||² + damping ||δ||²

    by conjugate gradients on the normal equations (CGLS), a pass over the views per iteration. ARF descends on rays for
    one or two epochs instead; the problem is linear, so a few of these iterations do.
    """
    residual, count = {}, len(operators)
    gradient = torch.zeros_like(theta)
    for i in range(count):
        residual[i] = targets(i).to(theta.device) - operators[i].apply(theta, background)
        gradient += operators[i].transpose(residual[i])
    delta = torch.zeros_like(theta)
    direction, norm = gradient.clone(), gradient.square().sum()
    for step in range(iterations):
        if norm < 1e-12:
            break
        pictures = {i: operators[i].apply(direction, torch.zeros_like(background)) for i in range(count)}
        energy = sum(p.square().sum() for p in pictures.values()) + damping * direction.square().sum()
        alpha = norm / energy
        delta += alpha * direction
        gradient = -damping * delta
        for i in range(count):
            residual[i] -= alpha * pictures[i]
            gradient += operators[i].transpose(residual[i])
        fresh = gradient.square().sum()
        direction = gradient + (fresh / norm) * direction
        norm = fresh
        progress(step + 1, iterations)
    return theta + delta
