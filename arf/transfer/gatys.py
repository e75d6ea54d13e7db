"""Style transfer by optimisation: a photograph's content, paintings' Gram matrices (Gatys, Ecker & Bethge, CVPR 2016).

Where we deviate: every layer counts alike on the encoder's common scale, where the paper's code divides by C²; several
styles are mixed in their Gram matrices; the picture is optimised coarse to fine, which gives larger strokes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.checks import check_weights
from arf.media import image
from arf.style import color
from arf.style.encoder import Encoder
from arf.style.losses import shrink_weight, total_variation
from arf.transfer.engine.network import check_layers, open_encoder, tile_side
from arf.transfer.engine.objective import Objective, Planes
from arf.transfer.engine.optimize import (
    Picture,
    Size,
    State,
    Watch,
    coarse_to_fine,
    noise_like,
    pyramid,
    resize,
    searcher,
    to_picture,
    to_planes,
)
from arf.transfer.engine.terms import ContentTerm, GramTerm, Term, gram_targets
from arf.transfer.engine.tiles import encode
from arf.transfer.settings import GatysSettings

Mask = Float[Tensor, "h w"]


def gatys(
    content: Picture,
    styles: Sequence[Picture],
    style_weights: Sequence[float] = (),
    masks: Sequence[Mask] = (),
    settings: GatysSettings | None = None,
    watch: Watch | None = None,
    go_on: State | None = None,
) -> Picture:
    """The content in the style of one or more pictures.

    Args:
        content: [H, W, 3] in [0, 1]; the result has its size.
        styles: pictures of any size.
        style_weights: one per style, equal when left out. The target is the weighted mean of the Gram matrices.
        masks: one per style, [H, W] in [0, 1] of the content's size: where it goes. Each region then has the Gram
            matrices of its own style, and the weights say how strongly.
        settings: by default those of `GatysSettings`, whose `size` is for the command line.
        watch, go_on: see `coarse_to_fine`.

    Raises:
        UserError: settings, weights or masks that make no sense, or a size that does not fit into memory.
        Interrupted: Ctrl-C.
    """
    settings = settings or GatysSettings()
    settings.check()
    if not styles:
        raise UserError("no style picture: give at least one with --style PICTURE")
    for picture, what in [(content, "content"), *((style, "style") for style in styles)]:
        image.check_picture(picture, what)
    check_weights("style_weight", tuple(style_weights), "styles", tuple(styles))
    _check_masks(masks, styles, content)
    layers = [*settings.layers, *settings.content_layers]
    encoder = open_encoder(settings, settings.layers)
    check_layers(encoder, settings.content_layers)
    device = encoder.mean.device
    size = tuple(content.shape[:2])
    tile = tile_side(encoder, layers, size, settings)
    photo = content.to(device)
    seen, paintings = color.recolored(photo, [style.to(device) for style in styles], settings.preserve_color)
    planes = to_planes(seen)
    weights = list(style_weights) or [1.0] * len(styles)
    least = max(encoder.stride(layer) for layer in settings.layers)

    def problem(size_now: Size) -> Objective:
        long_side = max(size_now) * settings.style_scale
        pictures = [to_planes(image.fit_style(p, long_side, least)) for p in paintings]
        grams = [gram_targets(encoder, p, settings.layers, tile=tile) for p in pictures]
        terms: list[Term] = _style_terms(encoder, grams, weights, masks, size_now, settings)
        if settings.content_weight:
            features = encode(encoder, resize(planes, size_now), settings.content_layers, tile)
            terms.append(ContentTerm(features, settings.content_weight))
        return Objective(encoder, terms, {"tv": lambda x: settings.tv_weight * total_variation(x)}, tile)

    def start(size_now: Size, coarser: Planes | None) -> Planes:
        if coarser is not None:
            return resize(coarser, size_now)
        return noise_like(planes, size_now, settings.seed) if settings.start == "noise" else resize(planes, size_now)

    def finish(best: Planes) -> Picture:
        picture = to_picture(resize(best, size))
        return color.keep_color(picture, photo).clamp(0, 1) if settings.preserve_color == "luminance" else picture

    return coarse_to_fine(
        pyramid(size, settings.scales),
        start,
        problem,
        lambda first: searcher(settings, first.to(planes), (0.0, 1.0)),
        settings.steps,
        finish,
        watch,
        go_on,
    )


def _style_terms(
    encoder: Encoder,
    grams: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    masks: Sequence[Mask],
    size: Size,
    settings: GatysSettings,
) -> list[Term]:
    """One term for all styles mixed, or with masks one for each style's region."""
    layer_weights = settings.layer_weights or [1.0] * len(settings.layers)
    if not masks:
        shares = [w / sum(weights) for w in weights]
        mixed = {t: sum(s * g[t] for s, g in zip(shares, grams, strict=True)) for t in settings.layers}
        return [GramTerm(mixed, layer_weights, settings.style_strength)]
    terms = []
    for i, (gram, weight, mask) in enumerate(zip(grams, weights, masks, strict=True)):
        plane = mask.to(encoder.mean.device)
        regions = {t: shrink_weight(plane, tuple(s // encoder.stride(t) for s in size)) for t in settings.layers}
        strength = settings.style_strength * weight * len(weights) / sum(weights)
        terms.append(GramTerm(gram, layer_weights, strength, regions, f"style {i + 1}"))
    return terms


def _check_masks(masks: Sequence[Mask], styles: Sequence[Picture], content: Picture) -> None:
    if masks and len(masks) != len(styles):
        raise UserError(
            f"{len(masks)} masks for {len(styles)} styles; give one --mask for each --style, in their order"
        )
    for i, mask in enumerate(masks):
        if mask.shape != content.shape[:2]:
            raise ValueError(f"a mask has the content's size {list(content.shape[:2])}, got {list(mask.shape)}")
        if not bool((mask > 0.5).any()):
            raise UserError(
                f"mask {i + 1} is empty: nothing in it is white, so its style has no place; paint the region"
            )
