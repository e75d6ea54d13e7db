"""The encoder of a job on its device, and how much of a picture it can look at in the memory that is free."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from arf.errors import UserError
from arf.jobs.device import free_memory, pick_device
from arf.style import encoder as encoders
from arf.style.encoder import Encoder, Padding, block_of
from arf.transfer.settings import LoopSettings, NetworkSettings, TextureSettings

SHARE = 0.8  # of the free memory that a job may take
SMALLEST_TILE = 128  # pixels; margins cost more than the tile itself below that
WORKING_COPIES = 24  # of the picture, beside what L-BFGS remembers: gradient, trials, targets, previews

log = logging.getLogger(__name__)


def open_encoder(settings: NetworkSettings, layers: Sequence[str], padding: Padding = "zeros") -> Encoder:
    """The encoder that the settings name.

    Raises:
        UserError: weights that cannot be had, no such device, or an unknown layer.
    """
    device = pick_device(settings.device)
    encoder = encoders.load(settings.encoder, settings.encoder_weights, settings.pooling, padding=padding).to(device)
    check_layers(encoder, layers)
    return encoder


def check_layers(encoder: Encoder, layers: Sequence[str]) -> None:
    """Raises UserError, with the known ones, where a layer does not exist or none is given, or one is given twice."""
    known = [*encoder.taps, *encoder.pools]
    if not layers or (unknown := [layer for layer in layers if layer not in known]):
        missing = ", ".join(unknown) if layers else "given"
        raise UserError(f"no layer {missing}; {encoder.name} has {', '.join(known)}")
    if twice := next((layer for layer in layers if layers.count(layer) > 1), None):
        raise UserError(f"layer {twice} is given twice; name each layer once")


def check_pixels(encoder: Encoder, layers: Sequence[str], size: tuple[int, int], whose: str = "") -> None:
    """Raises UserError, which begins with `whose` they are, where a height and width are too few for a layer."""
    deepest = max(layers, key=encoder.stride)
    if min(size) < encoder.stride(deepest):
        needed = f"{deepest}, which needs {encoder.stride(deepest)} a side"
        raise UserError(f"{whose}{size[1]}×{size[0]} pixels are too few for {needed}; take a larger picture")


def check_room(size: tuple[int, int], settings: LoopSettings) -> None:
    """Raises UserError where a picture is so large that not even the optimiser's copies of it fit into memory. Serves
    to find that out before the picture is made."""
    free = SHARE * free_memory(pick_device(settings.device))
    needed = 12 * (WORKING_COPIES + settings.remembered) * size[0] * size[1]
    if needed > free:
        fits = max(size) * math.sqrt(free / needed / 2)  # half, since features and targets need room as well
        raise UserError(f"{_takes(size, needed, free)}; --size {int(fits)} fits")


def tile_side(encoder: Encoder, layers: Sequence[str], size: tuple[int, int], settings: LoopSettings) -> int:
    """Side in pixels of the tiles to look at: 0 where the whole picture fits into memory.

    Args:
        layers: all that are looked at.
        size: height and width of the picture.

    Raises:
        UserError: not even the smallest tile fits beside what the optimiser keeps, or the picture is too small for a
            layer.
    """
    height, width = size
    check_pixels(encoder, layers, size)
    free = SHARE * free_memory(encoder.mean.device)
    per_pixel = bytes_per_pixel(encoder, layers)
    kept = picture_bytes(encoder, layers, settings)
    if not settings.tile and height * width * (per_pixel + kept) <= free:
        return 0
    margin = 2 * max(encoder.reach(layer) for layer in layers)
    tile = settings.tile or math.floor(math.sqrt(max(0.0, free - height * width * kept) / per_pixel)) - margin
    seen = height * width if tile >= max(size) else (max(tile, SMALLEST_TILE) + margin) ** 2
    needed = height * width * kept + seen * per_pixel
    if needed > free:
        whole = math.sqrt(free / (per_pixel + kept) / (height * width))  # share of each side
        if settings.tile:
            whole = min(whole, settings.tile / max(size))
        window = (max(settings.tile, SMALLEST_TILE) + margin) ** 2 * per_pixel
        tiled = math.sqrt(max(0.0, free - window) / kept / (height * width))
        fits = 0.99 * max(whole, tiled)  # sides are rounded
        remedy = _smaller(encoder, layers, size, fits, settings) if fits * min(size) >= 16 else "free some memory"
        smaller_tile = ", or a smaller --tile" if settings.tile > SMALLEST_TILE else ""
        raise UserError(f"{_takes(size, needed, free)}; {remedy}{smaller_tile}")
    if not settings.tile:
        log.warning(
            "%d×%d pixels are looked at in tiles of %d: the whole does not fit into memory", width, height, tile
        )
    return tile


def _takes(size: tuple[int, int], needed: float, free: float) -> str:
    return f"{size[1]}×{size[0]} pixels take {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} can be used"


def _smaller(
    encoder: Encoder, layers: Sequence[str], size: tuple[int, int], share: float, settings: LoopSettings
) -> str:
    """The flags that ask for a share of each side."""
    if not isinstance(settings, TextureSettings):
        return f"--size {int(share * max(size))} fits"
    stride = max(encoder.stride(layer) for layer in layers)  # of which --tileable wants multiples
    height, width = (int(share * side) // stride * stride for side in size)
    return f"--width {width} --height {height} fits"


def bytes_per_pixel(encoder: Encoder, layers: Sequence[str]) -> float:
    """Memory that a forward and backward pass takes for each pixel: every activation stays, with as much again for
    gradients and scratch. Measured on a CPU: 2400 to 2800 bytes for VGG-19 up to relu5_1, where this says 3088."""
    deepest = max(encoder.taps.index(encoder.pools.get(layer, layer)) for layer in layers)
    maps = [4 * encoder.width(tap) / 4 ** (block_of(tap) - 1) for tap in encoder.taps[: deepest + 1]]
    return 2 * sum(maps) + 3 * max(maps)


def picture_bytes(encoder: Encoder, layers: Sequence[str], settings: LoopSettings) -> float:
    """Memory for each pixel that does not depend on tiles: the optimiser's pictures, and targets of the layers."""
    targets = sum(4 * encoder.width(layer) / encoder.stride(layer) ** 2 for layer in layers)
    return 12 * (WORKING_COPIES + settings.remembered) + targets
