"""Smooth motion through camera poses: an order to visit them in, and a spline of positions and rotations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

Values = Float[Tensor, "n d"]
Mix = Callable[[Values, Values, Float[Tensor, "n 1"]], Values]

JUMPS = 0.7  # nearest-neighbour order is used where its way is shorter than this share of the file order's
OVERSAMPLING = 8  # points per frame for measuring the length of a spline


def nearest_neighbour_order(poses: Float[Tensor, "n 3 4"]) -> list[int]:
    """File order where it is a sensible walk, else greedily to the nearest view not yet visited.

    The greedy walk starts at the view farthest from the middle, which is an end of whatever the cameras lie on.
    """
    positions = poses[:, :, 3]
    separations = torch.cdist(positions, positions)  # [n, n]
    order = [int((positions - positions.mean(0)).norm(dim=1).argmax())]
    open_ = torch.ones(len(poses), dtype=torch.bool)
    for _ in range(len(poses) - 1):
        open_[order[-1]] = False
        order.append(int(separations[order[-1]].masked_fill(~open_, torch.inf).argmin()))
    filed = list(range(len(poses)))

    def way(stops: list[int]) -> float:
        return float(separations[stops[:-1], stops[1:]].sum())

    return order if way(order) < JUMPS * way(filed) else filed


def smooth_poses(poses: Float[Tensor, "n 3 4"], frames: int, closed: bool = False) -> Float[Tensor, "frames 3 4"]:
    """`frames` poses at constant speed, from the first to the last, on a smooth curve through all n ≥ 2.

    A closed curve goes on from the last to the first, as smoothly as elsewhere; its last frame comes one step before.

    Speed counts turning as well as moving: a radian weighs as much as the cameras' root mean square distance from their
    mean, so that a walk neither stalls nor whips round.
    """
    from scipy.spatial.transform import Rotation  # imports slowly

    if closed:  # once round, with the knot before and the one after that the curve is bent by
        poses = torch.cat([poses[-1:], poses, poses[:2]])
    positions = poses[:, :, 3].double()
    quaternions = _same_side(torch.from_numpy(Rotation.from_matrix(poses[:, :, :3].double().numpy()).as_quat()))
    unit = (positions - positions.mean(0)).square().sum(1).mean().sqrt().clamp_min(1e-9)

    def lengths(p: Values, q: Values) -> Float[Tensor, " m"]:
        turn = 2 * (q[1:] * q[:-1]).sum(1).abs().clamp_max(1).acos()
        return (p[1:] - p[:-1]).norm(dim=1) / unit + turn

    # Centripetal knots (Yuksel et al. 2011): no loops or overshoot, however uneven the spacing.
    knots = torch.cat([torch.zeros(1), lengths(positions, quaternions).clamp_min(1e-9).sqrt().cumsum(0)])
    begin, end = (knots[1], knots[-2]) if closed else (knots[0], knots[-1])
    fine = begin + torch.linspace(0, 1, OVERSAMPLING * frames + len(poses), dtype=torch.float64) * (end - begin)
    way = lengths(catmull_rom(positions, knots, fine, lerp), catmull_rom(quaternions, knots, fine, slerp)).cumsum(0)
    way = np.concatenate([[0.0], way.numpy()])
    stops = np.linspace(0, way[-1], frames, endpoint=not closed)
    at = torch.from_numpy(np.interp(stops, way, fine.numpy()))
    rotations = Rotation.from_quat(catmull_rom(quaternions, knots, at, slerp).numpy()).as_matrix()
    moved = catmull_rom(positions, knots, at, lerp)
    return torch.cat([torch.from_numpy(rotations), moved[:, :, None]], dim=2).to(poses.dtype)


def _same_side(quaternions: Values) -> Values:
    """Flip signs so that each is in the hemisphere of the one before, and the turn between them the shorter one."""
    flips = (quaternions[1:] * quaternions[:-1]).sum(1) < 0
    signs = 1 - 2 * (torch.cat([flips[:1] & False, flips]).int().cumsum(0) % 2)
    return quaternions * signs[:, None]


def catmull_rom(values: Values, knots: Float[Tensor, " n"], at: Float[Tensor, " m"], mix: Mix) -> Float[Tensor, "m d"]:
    """The C¹ curve through `values` at rising `knots`, by Barry and Goldman's pyramid (1988) of two-point mixes.

    With `lerp` it is the Catmull–Rom spline; with `slerp` its counterpart for unit quaternions. Beyond either end the
    curve is continued by the mirror image of the neighbouring value, so that it arrives straight.
    """
    two = values.new_tensor([[2.0]])
    values = torch.cat([mix(values[1:2], values[:1], two), values, mix(values[-2:-1], values[-1:], two)])
    knots = torch.cat([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    i = (torch.searchsorted(knots, at, right=True) - 1).clamp(1, len(knots) - 3)  # knots[i] ≤ at ≤ knots[i + 1]
    level = [values[i + k] for k in (-1, 0, 1, 2)]  # four of [m, d]
    for span, starts in ((1, (-1, 0, 1)), (2, (-1, 0)), (1, (0,))):
        shares = [_share(at, knots[i + start], knots[i + start + span]) for start in starts]
        level = [mix(a, b, share) for a, b, share in zip(level, level[1:], shares, strict=False)]
    return level[0]


def _share(at: Tensor, begin: Tensor, end: Tensor) -> Float[Tensor, "m 1"]:
    return ((at - begin) / (end - begin))[:, None]


def lerp(a: Values, b: Values, t: Float[Tensor, "n 1"]) -> Values:
    return a + t * (b - a)


def slerp(a: Values, b: Values, t: Float[Tensor, "n 1"]) -> Values:
    """Along the great circle from a to b, at constant speed; t may lie outside [0, 1]. Unit quaternions.

    q and −q are the same rotation; which of them comes in decides which way round it turns.
    """
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    near = sine < 1e-6  # there the two formulas agree to rounding, and only this one is safe
    safe = torch.where(near, torch.ones_like(sine), sine)
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / safe
    return normalize(torch.where(near, lerp(a, b, t), arc), dim=1)
