"""From regions to places: what is said of pixels, lifted to the columns by the system that renders them.

With frozen geometry a picture of shares s of the columns is A s. A column's share is the mean of what the pixels that
show it say, Σ Aᵀ m / Σ Aᵀ 1 over views: the first step of the least squares, and within [0, 1]. Columns that no masked
view shows are like those around them in space and colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.media import image
from arf.radiance.capture.views import Views, apart
from arf.radiance.fields.seen import Seen
from arf.radiance.paint.columns import Columns, Share
from arf.radiance.paint.lifting.pictures import read_mask, view_called
from arf.radiance.paint.part import Place
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject
from arf.radiance.settings import Region

TINTS = ((0.95, 0.25, 0.15), (0.1, 0.6, 0.95), (0.95, 0.8, 0.1), (0.3, 0.8, 0.3), (0.75, 0.35, 0.9), (1.0, 0.6, 0.7))
UNLIKELY = 0.25  # what is in a region by less is not, and by as little less than 1 it is
Mask = Float[Tensor, "h w"]


def places_of(
    subject: Subject, regions: Sequence[Region], rest: bool, progress: Progress = lambda *_: None
) -> list[Place]:
    """Where the regions of an open subject are; where two of them overlap they share.

    Args:
        rest: append the place of everything else, the background too.

    Raises:
        UserError: a mask of another shape, of no view, or empty; or a region in which there is nothing.
    """
    columns = Columns(subject, progress)
    shares = torch.stack([_share(columns, region) for region in regions])  # [regions, V]
    shares /= shares.sum(0).clamp_min(1)
    masks = [columns.pictures(share) for share in shares]
    places = [
        Place(share, pictures, region.strength) for share, pictures, region in zip(shares, masks, regions, strict=True)
    ]
    if rest:
        others = [255 - sum(each.int() for each in of_view) for of_view in zip(*masks, strict=True)]
        places.append(Place(1 - shares.sum(0), [other.clamp_min(0).to(torch.uint8) for other in others]))
    return places


def masks_of(region: Region, views: Views) -> dict[int, Mask]:
    """The masks of a region, by the numbers of their views, at the views' sizes.

    Raises:
        UserError: one of no view, of another shape than its view, or empty.
    """
    found: dict[int, Mask] = {}
    for file, view in region.masks:
        i = view_called(view, views.names, f"{file}@{view}")
        mask = read_mask(file, views.names[i], views.size(i))
        found[i] = torch.maximum(mask, found[i]) if i in found else mask
    return found


def overlay(subject: Subject, places: Sequence[Place]) -> image.Picture:
    """Some views with their places tinted, beside their photographs."""
    tints = [torch.tensor(tint) for tint in TINTS]
    rows = []
    for i in apart(len(subject), PREVIEWED):
        photograph = subject.image(i).cpu()
        shown = photograph.mean(2, keepdim=True).expand(-1, -1, 3) * 0.7
        for k, place in enumerate(places):
            mask = place.masks[i].cpu().float()[..., None] / 255
            shown = shown.lerp(0.4 * photograph + 0.6 * tints[k % len(tints)], mask)
        rows.append([photograph, shown])
    return image.contact_sheet(rows)


def _share(columns: Columns, region: Region) -> Share:
    """Of each column, in [0, 1]."""
    subject, device = columns.subject, columns.device
    found = [_from_masks(columns, masks)] if (masks := masks_of(region, subject.views)) else []
    if region.color:
        wanted = torch.tensor(region.color, device=device)
        near = ((subject.image(i) - wanted).norm(dim=2) <= region.tolerance for i in range(len(subject)))
        found.append(columns.mean(near))
    if region.depth:
        found.append(columns.mean(_between(columns.surfaces, *region.depth)))
    if region.box:
        corners = torch.tensor(region.box, device=device).view(2, 3)
        inside = (columns.points >= corners.amin(0)) & (columns.points <= corners.amax(0))
        found.append(inside.all(1).float())
    if region.sphere:
        *centre, radius = region.sphere
        found.append(((columns.points - torch.tensor(centre, device=device)).norm(dim=1) <= radius).float())
    share = torch.stack(found).prod(0) * (columns.seen > 0)
    share = ((share - UNLIKELY) / (1 - 2 * UNLIKELY)).clamp(0, 1)  # a trace of paint would grow where it is unseen
    pictures = columns.pictures(share)
    if not any(bool((picture > 127).any()) for picture in pictures):
        raise UserError(f"there is nothing in the region {region.said!r}: no view shows what it says")
    return columns.mean(_blurred(picture, region.soft) for picture in pictures) if region.soft else share


def _from_masks(columns: Columns, masks: dict[int, Mask]) -> Share:
    """What masked views say of what they show, and of all else what is said of what is like it."""
    views = list(masks)
    shown = columns.sum([torch.ones_like(mask) for mask in masks.values()], views)
    share = columns.sum(list(masks.values()), views) / shown.clamp_min(1e-9)
    return columns.voted(share[:, None], columns.sure(shown), torch.zeros_like(share)[:, None])[:, 0]


def _between(surfaces: Sequence[Seen], near: float, far: float) -> Iterator[Tensor]:
    """The pixels whose depth has a rank between two shares of all that is seen."""
    depths = torch.cat([surface.depth[surface.covered] for surface in surfaces])
    if not len(depths):
        raise UserError("depth says nothing here: the views see no surface")
    ordered = depths.sort().values
    low, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in (near, far))
    return (surface.covered & (surface.depth >= low) & (surface.depth <= high) for surface in surfaces)


def _blurred(picture: Tensor, width: float) -> Float[Tensor, "h w"]:
    """In [0, 1], its borders that share of the long side wide."""
    from scipy.ndimage import gaussian_filter  # imports slowly

    sigma = width * max(picture.shape) / 2
    return torch.from_numpy(gaussian_filter(picture.cpu().float().numpy() / 255, sigma, mode="nearest"))
