"""What the network sees in a picture: its first filters, its strongest channels, the pixels that it listens to, and
where the features of one picture find their like in another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from arf.errors import UserError
from arf.jobs.device import free_memory
from arf.jobs.outputs import stale
from arf.media import image
from arf.media.image import Picture
from arf.media.report import Gallery, Section, Table, write_report
from arf.media.report import Picture as Shown
from arf.style.encoder import Encoder
from arf.transfer.engine.network import SHARE, bytes_per_pixel, check_pixels, open_encoder
from arf.transfer.matches import Matches, draw, match, recompose
from arf.transfer.settings import FeaturesSettings

OURS = (
    r"filters\.png|report\.html|(activations|sensitivity|matches|recomposed)-(relu|pool)[\d_]+\.png"  # that are written
)
COLORS = "magma"  # of heat maps; perceptually uniform
BRIGHTEST = 0.995  # quantile of a heat map's values that gets the brightest colour
FILTER = 72  # pixels; side of a filter's tile, a multiple of 3
TILE = 256  # pixels; long side of a heat map in the report, which shows four in a row
COLUMNS = {"filters": 8, "activations": 4}  # tiles beside each other

Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures


@dataclass(frozen=True)
class Channel:
    """A channel of a tap: its number, its share of the tap's energy Σ F², and |F| as a heat map of the photo's size."""

    number: int
    share: float
    heat: Picture

    @property
    def caption(self) -> str:
        return f"channel {self.number} · {self.share:.1%}"


@dataclass(frozen=True)
class Comparison:
    """A tap's matches in the other picture, as figures and as pictures."""

    matches: Matches
    lines: Picture
    recomposed: Picture


@dataclass(frozen=True)
class Layer:
    """What a tap sees. `channels` has the strongest first; `compared` is None where there is no other picture."""

    name: str
    channels: list[Channel]
    sensitivity: Picture
    compared: Comparison | None


@dataclass(frozen=True)
class Features:
    """What `features` finds. `photo` and `other` are the pictures at the size that was looked at."""

    photo: Picture
    other: Picture | None
    filters: Picture
    layers: list[Layer]


def features(
    photo: Picture, settings: FeaturesSettings, other: Picture | None = None, progress: Progress = lambda *_: None
) -> Features:
    """Show what the network sees in `photo`, and what in `other` is nearest to it.

    Raises:
        UserError: settings that make no sense; a layer or channel that does not exist; a picture too small for a layer;
            no such device or weights; not enough memory.
    """
    settings.check()
    image.check_picture(photo, "photo")
    if other is not None:
        image.check_picture(other, "other picture")
    network = open_encoder(settings, settings.layers)
    _check_channel(network, settings)
    photo = _fitted(photo, "photo", network, settings)
    other = None if other is None else _fitted(other, "other picture", network, settings)
    _check_memory(network, photo, settings)
    layers = [_layer(network, tap, photo, other, settings, progress) for tap in settings.layers]
    return Features(photo, other, filters(network), layers)


def filters(network: Encoder) -> Picture:
    """The 3×3 filters of the first convolution, as tiles with sharp pixels.

    They act on RGB, whose mean is subtracted. Each is scaled by its own largest weight: grey is 0, and a colour is what
    the filter waits for at that pixel, w / (2 max |w|) + 1/2.
    """
    weights = network.convolutions[network.taps[0]].weight.permute(0, 2, 3, 1).cpu()  # [C, 3, 3, 3]; y, x, RGB
    largest = weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    tiles = (weights / (2 * largest) + 0.5).repeat_interleave(FILTER // 3, 1).repeat_interleave(FILTER // 3, 2)
    return sheet(list(tiles), [str(channel) for channel in range(len(tiles))], COLUMNS["filters"])


@torch.no_grad()
def strongest(network: Encoder, photo: Picture, tap: str, count: int) -> list[Channel]:
    """The `count` channels of a tap with the largest share of its energy Σ F² over the picture, strongest first.

    Energy rather than the mean: it is the diagonal of the Gram matrix and a channel's part in the inner products behind
    cosines, so these are the channels that the style losses hear. It also holds for the compact encoder's features,
    which can be negative. Positions that see beyond the border do not count, for some channels answer to nothing else.
    """
    found = _encode(network, photo, tap)[0]  # [C, h, w]
    stride = network.stride(tap)
    border = -(-network.reach(tap) // stride)
    top, left = (min(border, (side - 1) // 2) for side in found.shape[1:])  # something is left of a small picture
    inside = found[:, top : found.shape[1] - top, left : found.shape[2] - left]
    energy = inside.square().sum((1, 2), dtype=torch.float64)  # [C]
    share = energy / energy.sum().clamp_min(1e-30)
    order = share.argsort(descending=True, stable=True)[:count].tolist()
    return [Channel(c, float(share[c]), heat(_enlarge(found[c].abs(), stride, photo.shape[:2]))) for c in order]


def sensitivity(network: Encoder, photo: Picture, tap: str, channel: int | None = None) -> Float[Tensor, "h w"]:
    """Length over RGB of the gradient ∂(Σ F²/2)/∂pixel, of all channels of a tap or of one: which pixels it hears."""
    pixels = photo.detach().clone().requires_grad_()
    found = _encode(network, pixels, tap)[0]  # [C, h, w]
    energy = (found if channel is None else found[channel]).square().sum() / 2
    (gradient,) = torch.autograd.grad(energy, pixels)  # [H, W, 3]
    return gradient.norm(dim=2)  # [H, W]


def heat(values: Float[Tensor, "h w"]) -> Picture:
    """Values from 0 up as a heat map; the highest half per cent shares the brightest colour."""
    values = values.detach().cpu().float()
    top = torch.quantile(values.flatten(), BRIGHTEST)
    top = top if top > 0 else values.max().clamp_min(1e-12)  # fewer pixels than that are not 0
    palette = torch.tensor(matplotlib.colormaps[COLORS].colors)  # [256, 3]
    return palette[(values / top * 255).round().clamp(0, 255).long()]  # [H, W, 3]


def sheet(tiles: Sequence[Picture], captions: Sequence[str], columns: int) -> Picture:
    """Tiles of one size in rows, each with its caption below."""
    labelled = [torch.cat([tile, _words(text, tile.shape[1])]) for tile, text in zip(tiles, captions, strict=True)]
    return image.contact_sheet([labelled[i : i + columns] for i in range(0, len(labelled), columns)])


def write(found: Features, folder: Path, names: Sequence[str]) -> Path:
    """Write every picture as PNG, and report.html, which holds them all, in place of earlier ones; return its path.

    Args:
        names: of the photo and, where there is one, of the other picture.

    Raises:
        UserError: a file cannot be written.
    """
    for path in stale(folder, OURS):  # of an earlier call, with other layers perhaps
        path.unlink()
    image.write(folder / "filters.png", found.filters)
    for layer in found.layers:
        captions = [channel.caption for channel in layer.channels]
        tiles = sheet([channel.heat for channel in layer.channels], captions, COLUMNS["activations"])
        image.write(folder / f"activations-{layer.name}.png", tiles)
        image.write(folder / f"sensitivity-{layer.name}.png", layer.sensitivity)
        if layer.compared:
            image.write(folder / f"matches-{layer.name}.png", layer.compared.lines)
            image.write(folder / f"recomposed-{layer.name}.png", layer.compared.recomposed)
    sections = [
        Section(parts=[_gallery(*zip((found.photo, found.other), names, strict=False))]),
        Section("First filters", ABOUT["filters"], [Shown(found.filters, pixelated=True)]),
        *(section for layer in found.layers for section in _sections(layer, found, names)),
    ]
    if any(layer.compared for layer in found.layers):
        rows = [(x.name, x.compared.matches.mean_distance, f"{x.compared.matches.used:.1%}") for x in found.layers]
        header = ("layer", "mean cosine distance", f"positions of {names[1]} that are used")
        sections.append(Section("Matches in figures", ABOUT["figures"], [Table(rows, header)]))
    write_report(folder / "report.html", f"What the network sees in {names[0]}", ABOUT["all"], sections)
    return folder / "report.html"


ABOUT = {
    "all": "Style losses compare features, not pixels. These are the features that they compare.",
    "filters": "What each 3×3 filter of the first layer waits for. Grey is 0, and each filter is scaled by itself.",
    "channels": "Channels with the largest share of the layer's energy, strongest first; bright is strong. Below them: "
    "how strongly each pixel moves that energy.",
    "matches": "A line goes from a patch to the patch whose feature is nearest. Recomposed is the first picture, "
    "made of nothing but the patches of the second that its features chose.",
    "figures": "The mean cosine distance is the NNFM loss that a stylization would begin with. Few used positions "
    "mean that a small part of the other picture does all the work.",
}


def _sections(layer: Layer, found: Features, names: Sequence[str]) -> list[Section]:
    """A layer's part of the report."""
    tile = min(TILE, max(found.photo.shape[:2]))
    channels = _gallery(*((image.fit_long_side(channel.heat, tile), channel.caption) for channel in layer.channels))
    pixels = _gallery((found.photo, names[0]), (layer.sensitivity, "sensitivity"))
    sections = [Section(layer.name, ABOUT["channels"], [channels, pixels])]
    if layer.compared:
        pieces = _gallery((found.photo, names[0]), (layer.compared.recomposed, "recomposed"), (found.other, names[1]))
        sections.append(Section(f"{layer.name}: matches", ABOUT["matches"], [Shown(layer.compared.lines), pieces]))
    return sections


def _gallery(*shown: tuple[Picture, str]) -> Gallery:
    return Gallery([Shown(picture, caption) for picture, caption in shown])


def _layer(
    network: Encoder, tap: str, photo: Picture, other: Picture | None, settings: FeaturesSettings, progress: Progress
) -> Layer:
    channels = strongest(network, photo, tap, settings.channels)
    sensitive = heat(sensitivity(network, photo, tap, settings.channel))
    if other is None:
        progress("features", 1 + settings.layers.index(tap), len(settings.layers), {})
        return Layer(tap, channels, sensitive, None)
    matches = match(network, photo, other, tap, lambda done, all_: progress(tap, done, all_, {}))
    lines, recomposed = draw(matches, photo, other, settings.lines), recompose(matches, photo, other)
    return Layer(tap, channels, sensitive, Comparison(matches, lines, recomposed))


def _check_channel(network: Encoder, settings: FeaturesSettings) -> None:
    for tap in settings.layers:
        if settings.channel is not None and settings.channel >= network.width(tap):
            last = network.width(tap) - 1
            raise UserError(f"{tap} has no channel {settings.channel}; its {last + 1} channels are 0 to {last}")


def _check_memory(network: Encoder, photo: Picture, settings: FeaturesSettings) -> None:
    """Raises UserError, with a size that fits, where the gradient of a layer takes more memory than there is."""
    free = SHARE * free_memory(network.mean.device)
    needed = photo.shape[0] * photo.shape[1] * bytes_per_pixel(network, settings.layers)
    if needed > free:
        fits = math.floor(settings.size * math.sqrt(free / needed))
        said = f"--size {settings.size} takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} can be used"
        raise UserError(f"{said}; " + (f"--size {fits} fits" if fits >= 16 else "free some memory"))


def _fitted(picture: Picture, name: str, network: Encoder, settings: FeaturesSettings) -> Picture:
    """The picture at the size asked for, where the network computes; refused where that is too small for a layer."""
    picture = image.fit_long_side(picture, settings.size)
    check_pixels(network, settings.layers, picture.shape[:2], f"the {name} at --size {settings.size}: ")
    return picture.to(network.mean.device)


def _encode(network: Encoder, picture: Picture, tap: str) -> Float[Tensor, "1 c h w"]:
    return network(picture.permute(2, 0, 1)[None], [tap])[tap]


def _enlarge(values: Float[Tensor, "h w"], stride: int, size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Values of a tap over the pixels that they stand for; the last ones go on over pixels that make no full cell."""
    height, width = size
    pixels = functional.interpolate(values[None, None], scale_factor=float(stride), mode="bilinear")  # [1, 1, h·s, w·s]
    rest = (0, width - pixels.shape[3], 0, height - pixels.shape[2])
    return functional.pad(pixels, rest, mode="replicate")[0, 0]  # [H, W]


def _words(text: str, width: int) -> Picture:
    """A line of text in the middle of a white strip."""
    size = min(16, max(10, width // 14))
    strip = Image.new("RGB", (width, size + 8), "white")
    font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text((width / 2, size / 2 + 4), text, fill="black", font=font, anchor="mm")
    return torch.from_numpy(np.asarray(strip, dtype=np.float32) / 255)  # [H, W, 3]
