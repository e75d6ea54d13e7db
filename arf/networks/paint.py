"""Pictures through a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.checks import check_weights
from arf.jobs.device import free_memory, pick_device
from arf.media import image
from arf.media.image import Picture
from arf.networks import modelfile
from arf.networks.adain import AdainNetwork, Style
from arf.networks.fast import FastNetwork
from arf.networks.layers import Pictures, Stylizer
from arf.networks.settings import AdainSettings, CastSettings, FastSettings
from arf.style import color

Mask = Float[Tensor, "h w"]
SHARE = 0.8  # of the free memory that a picture may take


@dataclass(frozen=True)
class AdainPainter:
    """AdaIN, trained as in its paper or as in CAST, with the styles that it is to paint in.

    Args:
        styles: pictures [H, W, 3] of any size.
        weights: one for each style; equal when left out.
    """

    network: AdainNetwork
    styles: Sequence[Picture]
    weights: Sequence[float]
    settings: AdainSettings

    @classmethod
    def open(
        cls, styles: Sequence[Picture], weights: Sequence[float] = (), settings: AdainSettings | None = None
    ) -> AdainPainter:
        """Load the network.

        Raises:
            UserError: settings or weights that make no sense, no style, or a model that cannot be had.
        """
        settings = settings or AdainSettings()
        settings.check()
        if not styles:
            raise UserError("no style picture: give at least one with --style PICTURE")
        for style in styles:
            image.check_picture(style, "style")
        check_weights("style_weight", tuple(weights), "styles", tuple(styles))
        network = open_any_style(settings).to(pick_device(settings.device))
        fitted = [image.fit_style(style, settings.style_size) for style in styles]
        return cls(network, fitted, list(weights) or [1.0] * len(styles), settings)

    @torch.no_grad()
    def __call__(self, content: Picture, masks: Sequence[Mask] = ()) -> Picture:
        """Paint a picture [H, W, 3].

        Args:
            masks: one for each style, [H, W] in [0, 1] of the content's size: where it goes.

        Raises:
            UserError: another number of masks than styles, or a picture that does not fit into memory.
        """
        if masks and len(masks) != len(self.styles):
            raise UserError(f"{len(masks)} masks for {len(self.styles)} styles; give one --mask for each --style")
        image.check_picture(content, "content")
        device = self.network.encoder.mean.device
        check_room(content.shape[:2], self.network, device)
        seen, styles = color.recolored(content, self.styles, self.settings.preserve_color)
        known = self._known if self.settings.preserve_color == "none" else self._encoded(styles)
        masks = [mask.to(device) for mask in masks]
        painted = self.network(to_planes(seen, device), known, self.weights, masks, self.settings.alpha)
        return _finish(painted, content, self.settings.preserve_color)

    def stylizer(self) -> Stylizer:
        """The same for batches of frames; the colours of a style are its own, or with "affine" refused.

        Raises:
            UserError: "affine", which would make every frame another style.
        """
        keep = self.settings.preserve_color
        if keep == "affine":
            raise UserError("--preserve-color affine recolours the style like each frame; use luminance for a video")
        known, alpha = self._known, self.settings.alpha
        return lambda frames: _in_color(self.network(frames, known, self.weights, (), alpha), frames, keep)

    @cached_property
    def _known(self) -> list[Style]:
        """The styles in their own colours."""
        return self._encoded(self.styles)

    @torch.no_grad()
    def _encoded(self, styles: Sequence[Picture]) -> list[Style]:
        return [self.network.style(to_planes(style, self.network.encoder.mean.device)) for style in styles]


@dataclass(frozen=True)
class FastPainter:
    """A fast network with the mix of its styles that it is to paint in."""

    network: FastNetwork
    mix: Float[Tensor, "1 s"]
    settings: FastSettings

    @classmethod
    def open(
        cls, styles: Sequence[str] = (), weights: Sequence[float] = (), settings: FastSettings | None = None
    ) -> FastPainter:
        """Load the network.

        Args:
            styles: names of its styles, or their numbers from 0; may be left out where it has one.
            weights: one for each of them; equal when left out.

        Raises:
            UserError: a style that it does not have, none where it has several, or a model that cannot be had.
        """
        settings = settings or FastSettings()
        settings.check()
        network = modelfile.open_fast(settings.model).to(pick_device(settings.device))
        if not styles and len(network.names) > 1:
            raise UserError(f"{settings.model} has several styles; choose with --style: {_choice(network)}")
        names = [_named(style, network, settings.model) for style in styles] or network.names
        check_weights("style_weight", tuple(weights), "styles", tuple(names))
        shares: dict[str, float] = {}
        for name, weight in zip(names, weights or [1.0] * len(names), strict=True):
            shares[name] = shares.get(name, 0.0) + weight
        return cls(network, network.mix(shares), settings)

    @torch.no_grad()
    def __call__(self, content: Picture) -> Picture:
        """Paint a picture [H, W, 3].

        Raises:
            UserError: it does not fit into memory.
        """
        image.check_picture(content, "content")
        check_room(content.shape[:2], self.network, self.mix.device)
        return _finish(
            self.network(to_planes(content, self.mix.device), self.mix), content, self.settings.preserve_color
        )

    @property
    def names(self) -> list[str]:
        """The styles that are mixed."""
        return [name for name, share in zip(self.network.names, self.mix[0].tolist(), strict=True) if share]

    def stylizer(self) -> Stylizer:
        """The same for batches of frames."""
        keep = self.settings.preserve_color
        return lambda x: _in_color(self.network(x, self.mix.expand(len(x), -1)), x, keep)


def check_room(size: Sequence[int], network: AdainNetwork | FastNetwork, device: torch.device, batch: int = 1) -> None:
    """Raises UserError where the features of a picture, or of so many at a time, do not fit into memory."""
    needed, free = batch * size[0] * size[1] * network.bytes_per_pixel, SHARE * free_memory(device)
    if needed > free:
        fits = int(max(size) * sqrt(free / needed))
        each, less = (f"{batch} times ", ", or a smaller --batch,") if batch > 1 else ("", "")
        raise UserError(
            f"{each}{size[1]}×{size[0]} pixels take {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} can be used; "
            f"--size {fits}{less} fits"
        )


def to_planes(picture: Picture, device: torch.device) -> Float[Tensor, "1 3 h w"]:
    return picture.permute(2, 0, 1)[None].to(device)


def _finish(painted: Float[Tensor, "1 3 h w"], content: Picture, preserve_color: str) -> Picture:
    return _in_color(painted, to_planes(content, painted.device), preserve_color)[0].permute(1, 2, 0).cpu().contiguous()


def _in_color(painted: Pictures, content: Pictures, preserve_color: str) -> Pictures:
    """Within the range of colours, and with "luminance" with the content's chroma."""
    if preserve_color == "luminance":
        planes = color.keep_color(painted.permute(0, 2, 3, 1), content.permute(0, 2, 3, 1))
        painted = planes.permute(0, 3, 1, 2)
    return painted.clamp(0, 1)


def open_any_style(settings: AdainSettings) -> AdainNetwork:
    """The network that settings of AdaIN or CAST name.

    Raises:
        UserError: it cannot be had.
    """
    if isinstance(settings, CastSettings):
        return modelfile.open_cast(settings.model, settings.encoder_weights).to_domain(settings.to)
    return modelfile.open_adain(settings.model, settings.encoder_weights)


def _named(style: str, network: FastNetwork, model: str) -> str:
    """A style's name, from its name or number."""
    if style in network.names:
        return style
    if style.isdecimal() and int(style) < len(network.names):
        return network.names[int(style)]
    raise UserError(f"{model} has no style {style!r}; it has: {_choice(network)}")


def _choice(network: FastNetwork) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(network.names))


def adain(
    content: Picture,
    styles: Sequence[Picture],
    style_weights: Sequence[float] = (),
    masks: Sequence[Mask] = (),
    settings: AdainSettings | None = None,
) -> Picture:
    """A picture [H, W, 3] in one or more styles (Huang & Belongie, ICCV 2017). For several, keep an `AdainPainter`."""
    return AdainPainter.open(styles, style_weights, settings)(content, masks)


def cast(
    content: Picture,
    styles: Sequence[Picture],
    style_weights: Sequence[float] = (),
    masks: Sequence[Mask] = (),
    settings: CastSettings | None = None,
) -> Picture:
    """A picture [H, W, 3] in one or more styles (CAST; Zhang et al., SIGGRAPH 2022). For several, keep an
    `AdainPainter` with `CastSettings`."""
    return AdainPainter.open(styles, style_weights, settings or CastSettings())(content, masks)


def fast(
    content: Picture,
    styles: Sequence[str] = (),
    style_weights: Sequence[float] = (),
    settings: FastSettings | None = None,
) -> Picture:
    """A picture [H, W, 3] by a fast network (Johnson et al., ECCV 2016). For several, keep a `FastPainter`."""
    return FastPainter.open(styles, style_weights, settings)(content)
