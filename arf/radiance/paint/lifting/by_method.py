"""The 2D methods as painters of single views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from arf.errors import UserError
from arf.jobs.checks import check_unused, check_weights
from arf.media.image import Picture
from arf.networks.paint import AdainPainter, FastPainter
from arf.networks.settings import ANY_STYLE, FastSettings
from arf.radiance.settings import LiftSettings
from arf.transfer.gatys import gatys
from arf.transfer.settings import GatysSettings

USES = {  # settings of its own
    **{name: {"model", "encoder_weights"} for name in ANY_STYLE},
    "fast": {"model"},
    "gatys": {"steps"},
}

Paint = Callable[[Picture], Picture]


def painter_by(method: str, styles: Sequence[Picture] | Sequence[str], settings: LiftSettings) -> Paint:
    """What paints a picture [H, W, 3] in the style of pictures, or by the names of a network's styles.

    Args:
        method: adain, cast, fast, or gatys.
        styles: pictures [H, W, 3] of any size, or for fast names.

    Raises:
        UserError: no style, one that the network does not have, weights that are not theirs, a model that cannot be
            had, or a setting that the method has no use for.
    """
    check_unused(settings, {"model", "encoder_weights", "steps"} - USES[method], f"with {method}")
    given = {name: getattr(settings, name) for name in ("model", "encoder_weights") if getattr(settings, name)}
    weights, device = settings.style_weights, settings.device
    if method == "fast":
        return FastPainter.open(styles, weights, replace(FastSettings(device=device), **given))
    if not styles:
        raise UserError("no style picture: give at least one with --style PICTURE")
    check_weights("style_weights", tuple(weights), "styles", tuple(styles))
    if method in ANY_STYLE:
        return AdainPainter.open(styles, weights, ANY_STYLE[method](device=device, **given))
    own = GatysSettings(device=device, seed=settings.seed)
    own = replace(own, steps=settings.steps or own.steps)
    return lambda picture: gatys(picture, styles, weights, settings=own).cpu()
