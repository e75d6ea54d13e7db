"""Splats from tensors that a file holds, which may be anything."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.splats.splats import Splats
from arf.radiance.fields.stored import LARGEST

SHAPES = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "colors": (3,)}
HARMONICS = (0, 3, 8, 15)  # coefficients of spherical harmonics above degree 0


def checked(state: Mapping[str, Tensor]) -> tuple[Splats, Float[Tensor, " 3"]]:
    """Splats and their background.

    Raises:
        RuntimeError: something is missing, or is no splats': the message says what.
    """
    found = _found(state)
    if found:
        raise RuntimeError("splats: " + "; ".join(found[:3]))
    parts = {name: state[name].cpu().float().contiguous() for name in (*SHAPES, "rest")}
    return Splats(**parts), state["background"].cpu().float()


def _found(state: Mapping[str, Tensor]) -> list[str]:
    """What is wrong."""
    names = {*SHAPES, "rest", "background"}
    if names != set(state):
        return [f"{name} is missing" for name in sorted(names - set(state))] + [
            f"{name} is unknown" for name in sorted(set(state) - names)
        ]
    wrong = [f"{name} holds {tensor.dtype}" for name, tensor in state.items() if tensor.dtype != torch.float32]
    if wrong:
        return wrong
    count = len(state["means"]) if state["means"].ndim else 0
    shapes = {name: (count, *tail) for name, tail in SHAPES.items()} | {"background": (3,)}
    shapes["rest"] = (count, state["rest"].shape[1] if state["rest"].ndim == 3 else -1, 3)
    wrong = [f"{name} is of shape {list(state[name].shape)}" for name in names if state[name].shape != shapes[name]]
    if wrong or not count or shapes["rest"][1] not in HARMONICS:
        return wrong or ["there are none" if not count else f"rest has {shapes['rest'][1]} coefficients"]
    wrong = [f"{name} holds numbers that are not finite" for name in names if not _finite(state[name])]
    if not wrong and not (state["scales"] >= 0).all():
        wrong.append("scales are below 0")
    if not wrong and not ((state["opacities"] >= 0) & (state["opacities"] <= 1)).all():
        wrong.append("opacities are not between 0 and 1")
    if not wrong and not ((state["quats"].norm(dim=1) - 1).abs() < 1e-3).all():
        wrong.append("quats are not of length 1")
    return wrong


def _finite(tensor: Tensor) -> bool:
    return bool((tensor.abs() <= LARGEST).all())
