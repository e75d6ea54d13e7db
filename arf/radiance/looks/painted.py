"""A painted scene: a field, a look, and how the two are written down together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import Field, Renders, Trace
from arf.radiance.looks.blend import blend
from arf.radiance.looks.look import Look

FIELD, LOOK = "field.", "look."  # prefixes of tensors in model.safetensors


@dataclass
class Painted:
    """A field under a look.

    Attributes:
        drop: share of each pixel's weight that may be left out when it is rendered.
    """

    field: Field
    look: Look
    drop: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a run keeps of it."""
        own = {FIELD + name: tensor for name, tensor in self.field.state_dict().items()}
        return {**own, **{LOOK + name: tensor for name, tensor in self.look.tensors().items()}}


def same_field(one: Field, other: Field) -> bool:
    """Whether two fields are one: then a look of one is a look of the other."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def check_painted(run: Run, strength: float, preserve_color: bool) -> None:
    """Raises UserError where a run is photoreal and a setting says how much of a style to show."""
    if run.kind != "stylize" and (strength != 1 or preserve_color):
        raise UserError(
            f"{run.path} is photoreal, it has no style; give --strength and --preserve-color a stylized run"
        )


def shade(trace: Trace, look: Look | None, strength: float = 1.0, preserve_color: bool = False) -> Float[Tensor, "p c"]:
    """Colours of traced pixels, unclamped: photoreal, then every look, three channels each.

    Args:
        strength: how much of a look shows, 0 (photoreal) to 1.
        preserve_color: looks keep the photoreal chroma.
    """
    if look is None:
        return trace.color
    painted = look.render(trace).unflatten(1, (-1, 3))  # [p, looks, 3]
    painted = blend(trace.color[:, None].expand_as(painted), painted, strength, preserve_color)
    return torch.cat([trace.color, painted.flatten(1)], 1)


@torch.no_grad()
def picture(
    field: Field,
    look: Look | None,
    camera: Camera,
    strength: float = 1.0,
    preserve_color: bool = False,
    drop: float = 0.0,
) -> Float[Tensor, "h w c"]:
    """A whole picture on the CPU, within [0, 1]: photoreal, then in every look, three channels each.

    Raises:
        UserError: it is not finite, as of a field of huge numbers, or seen from where no number reaches.
    """
    parts = _parts(field, look, camera, strength, preserve_color, drop)
    return _finite(torch.cat([part.clamp(0, 1).cpu() for part in parts]).view(*camera.size, -1))


@torch.no_grad()
def painting(
    field: Field, look: Look | None, camera: Camera, strength: float = 1.0, preserve_color: bool = False
) -> Float[Tensor, "h w 3"]:
    """The last of `picture`'s pictures alone, which may be quicker."""
    if isinstance(field, Renders):
        colors, background = shaded(field, look, camera, strength, preserve_color)
        return _finite(field.render(camera, colors[:, -3:].contiguous(), background[-3:]).clamp(0, 1).cpu())
    return picture(field, look, camera, strength, preserve_color)[..., -3:]


def shaded(
    field: Renders, look: Look | None, camera: Camera, strength: float, preserve_color: bool
) -> tuple[Float[Tensor, "V c"], Float[Tensor, " c"]]:
    """What `shade` does, to the columns' colours and the background instead: rendering commutes with it."""
    own, behind = field.own(camera), field.background
    if look is None:
        return own, behind
    colors, background = look.theta.unflatten(1, (-1, 3)), look.background.unflatten(0, (-1, 3))
    colors = blend(own[:, None].expand_as(colors), colors, strength, preserve_color)
    background = blend(behind[None].expand_as(background), background, strength, preserve_color)
    return torch.cat([own, colors.flatten(1)], 1), torch.cat([behind, background.flatten()])


def _parts(
    field: Field, look: Look | None, camera: Camera, strength: float, preserve_color: bool, drop: float
) -> Iterator[Float[Tensor, "*p c"]]:
    if isinstance(field, Renders):
        yield field.render(camera, *shaded(field, look, camera, strength, preserve_color))
        return
    for band in camera.bands(field.band):
        if look is None:
            yield field.shoot(band).color
        else:
            yield shade(field.trace(band, drop), look, strength, preserve_color)


def _finite(whole: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
    if not whole.isfinite().all():
        raise UserError("a picture of the field is not finite: the model, or a camera, is damaged; make the run again")
    return whole
