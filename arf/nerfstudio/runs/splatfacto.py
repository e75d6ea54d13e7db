"""Runs of splatfacto: what its configuration and the tensors of its checkpoint say of splats."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from arf.errors import UserError
from arf.nerfstudio.runs.plain import checked
from arf.radiance.fields.splats.files.values import DEGREES, activated, check_count, sound
from arf.radiance.fields.splats.harmonics import C0

SPLATFACTO = "nerfstudio.models.splatfacto.SplatfactoModelConfig"  # of splatfacto-big too
PARAMETERS = "gauss_params."  # before a tensor's name; old checkpoints have nothing there
SHAPES = {
    "means": 3,
    "scales": 3,
    "quats": 4,
    "opacities": 1,
    "features_dc": 3,
}  # [N, this]; features_rest is [N, K, 3]
BACKGROUNDS = {"random": (0.0, 0.0, 0.0), "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


@dataclass
class _Config:
    """What counts of splatfacto's configuration once it is trained, and its defaults."""

    rasterize_mode: Literal["classic", "antialiased"] = "classic"
    background_color: Literal["random", "black", "white"] = "random"


def model_values(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The field of splats that a configuration asks for.

    Args:
        values: of the model's configuration.
        where: begins an error.

    Raises:
        UserError: a value that splatfacto has not.
    """
    return {"backbone": "splat", "antialiased": _config(values, where).rasterize_mode == "antialiased"}


def splats_of(state: dict[str, Tensor], values: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of `Splats`, and `background` [3], in the frame of the run.

    Args:
        state: splatfacto's: logarithms of scales, quaternions of any length, logits of opacities.
        values: of the model's configuration.
        path: of the run.

    Raises:
        UserError: tensors are missing, or of other shapes.
    """
    held = {name.removeprefix(PARAMETERS): tensor for name, tensor in state.items()}
    if missing := [name for name in (*SHAPES, "features_rest") if name not in held]:
        raise UserError(
            f"{path}: its checkpoint has no {', '.join(missing)}, so splatfacto did not make it; train again"
        )
    means, rest = held["means"], held["features_rest"]
    count, coefficients = len(means) if means.ndim else 0, rest.shape[1] if rest.ndim == 3 else -1
    shapes = {**{name: (count, width) for name, width in SHAPES.items()}, "features_rest": (count, coefficients, 3)}
    if wrong := [name for name, shape in shapes.items() if held[name].shape != shape or held[name].is_complex()]:
        raise UserError(f"{path}: {', '.join(wrong)} of its checkpoint have other shapes than splats; train again")
    if coefficients not in DEGREES:
        raise UserError(
            f"{path}: its harmonics have {coefficients} coefficients; arf reads degrees 0 to 3: train again"
        )
    check_count(path, count, coefficients)
    parts = [held[name].detach().float() for name in ("means", "scales", "quats", "opacities", "features_dc")]
    if not coefficients:  # its degree 0 holds logits of colours instead
        parts[4] = (parts[4].sigmoid() - 0.5) / C0
    splats = sound(activated(*parts[:3], parts[3][:, 0], parts[4], rest.detach().float()), path)
    background = BACKGROUNDS[_config(values, str(path)).background_color]
    return {**splats.tensors(), "background": torch.tensor(background)}


def _config(values: dict[str, Any], where: str) -> _Config:
    own = {field.name: values[field.name] for field in fields(_Config) if field.name in values}
    return _Config(**checked(_Config, own, where))
