"""From regions to places: what is said of pixels, lifted to the columns by the system that renders them.

With frozen geometry a picture of shares s of the columns is A s. A column's share is the mean of what the pixels that
show it say, Σ Aᵀ m / Σ Aᵀ 1 over views: the first step of the least squares, and within [0, 1]. Columns that no masked
view shows are like those around them in space and colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from arf.errors import UserError
from arf.media import image
from arf.radiance.capture.views import Views, apart
from arf.radiance.fields.field import NOWHERE
from arf.radiance.fields.seen import Seen, seen
from arf.radiance.paint.part import Place
from arf.radiance.paint.pictures import read_mask, view_called
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject
from arf.radiance.settings import Region

SURE = 0.1  # of the most that one view shows of a column, that masked views have to show to be asked alone
AROUND = 8  # columns that are asked about one that no masked view shows
NEAR, ALIKE = 0.1, 0.15  # of the scene's radius, and of RGB: what is as far as the other
FAR = 8.0  # so many of both, and they hardly say anything: it is not in the region
TINTS = ((0.95, 0.25, 0.15), (0.1, 0.6, 0.95), (0.95, 0.8, 0.1), (0.3, 0.8, 0.3), (0.75, 0.35, 0.9), (1.0, 0.6, 0.7))
UNLIKELY = 0.25  # what is in a region by less is not, and by as little less than 1 it is
Mask = Float[Tensor, "h w"]
Share = Float[Tensor, " V"]


def places_of(
    subject: Subject, regions: Sequence[Region], rest: bool, progress: Progress = lambda *_: None
) -> list[Place]:
    """Where the regions of an open subject are; where two of them overlap they share.

    Args:
        rest: append the place of everything else, the background too.

    Raises:
        UserError: a mask of another shape, of no view, or empty; or a region in which there is nothing.
    """
    lifting = _Lifting(subject, progress)
    shares = torch.stack([lifting.share(region) for region in regions])  # [regions, V]
    shares /= shares.sum(0).clamp_min(1)
    masks = [lifting.pictures(share) for share in shares]
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
            mask = place.masks[i].float()[..., None] / 255
            shown = shown.lerp(0.4 * photograph + 0.6 * tints[k % len(tints)], mask)
        rows.append([photograph, shown])
    return image.contact_sheet(rows)


class _Lifting:
    """What is lifted to the columns of an open subject."""

    def __init__(self, subject: Subject, progress: Progress) -> None:
        self.subject, self.progress = subject, progress
        self.count, self.device = len(subject), subject.device

    def share(self, region: Region) -> Share:
        """Of each column, in [0, 1]."""
        found = [self._from_masks(masks)] if (masks := masks_of(region, self.subject.views)) else []
        if region.color:
            wanted = torch.tensor(region.color, device=self.device)
            near = [(self.subject.image(i) - wanted).norm(dim=2) <= region.tolerance for i in range(self.count)]
            found.append(self._mean(near))
        if region.depth:
            found.append(self._mean(self._between(*region.depth)))
        if region.box:
            corners = torch.tensor(region.box, device=self.device).view(2, 3)
            inside = (self.points >= corners.amin(0)) & (self.points <= corners.amax(0))
            found.append(inside.all(1).float())
        if region.sphere:
            *centre, radius = region.sphere
            found.append(((self.points - torch.tensor(centre, device=self.device)).norm(dim=1) <= radius).float())
        share = torch.stack(found).prod(0) * (self.seen > 0)
        share = ((share - UNLIKELY) / (1 - 2 * UNLIKELY)).clamp(0, 1)  # a trace of paint would grow where it is unseen
        if region.soft:
            share = self._mean([_blurred(picture, region.soft) for picture in self.pictures(share)])
        if not any(bool((picture > 127).any()) for picture in self.pictures(share)):
            raise UserError(f"there is nothing in the region {region.said!r}: no view shows what it says")
        return share

    def pictures(self, share: Share) -> list[UInt8[Tensor, "h w"]]:
        """A share of the columns as the views show it."""
        colors, nothing = share[:, None].expand(-1, 3).contiguous(), torch.zeros(3, device=self.device)
        shown = (self.subject.operators[i].apply(colors, nothing)[..., 0] for i in range(self.count))
        return [(picture.clamp(0, 1) * 255).round().to(torch.uint8) for picture in shown]

    @cached_property
    def seen(self) -> Float[Tensor, " V"]:
        """How much all views show of each column."""
        return self._sum([torch.ones(self.subject.views.size(i)) for i in range(self.count)])

    @cached_property
    def surfaces(self) -> list[Seen]:
        """What each view sees."""
        found = []
        for i, camera in enumerate(self.subject.views.cameras):
            found.append(seen(self.subject.field, camera))
            self.progress("surfaces", i + 1, self.count, {})
        return found

    @cached_property
    def points(self) -> Float[Tensor, "V 3"]:
        """Where each column is: the mean of the places at which views see it; nowhere if none does."""
        covered = [surface.covered.float() for surface in self.surfaces]
        places = [surface.points.where(surface.covered[..., None], 0) for surface in self.surfaces]
        weight = self._sum(covered)[:, None]
        return torch.where(weight > 0, self._sum(places) / weight.clamp_min(1e-9), NOWHERE)

    def _sum(self, pictures: Sequence[Tensor], views: Sequence[int] | None = None) -> Tensor:
        """Σ Aᵀ over views, of [h, w] or [h, w, c]."""
        total = 0
        for i, picture in zip(range(self.count) if views is None else views, pictures, strict=True):
            planes = picture.to(self.device, torch.float32)
            total = total + self.subject.operators[i].transpose(planes.view(*planes.shape[:2], -1))
        return total.squeeze(1)

    def _mean(self, pictures: Sequence[Tensor]) -> Share:
        scale = 255 if pictures[0].dtype == torch.uint8 else 1
        return self._sum(pictures) / scale / self.seen.clamp_min(1e-9)

    def _between(self, near: float, far: float) -> list[Tensor]:
        """The pixels whose depth has a rank between two shares of all that is seen."""
        depths = torch.cat([surface.depth[surface.covered] for surface in self.surfaces])
        if not len(depths):
            raise UserError("depth says nothing here: the views see no surface")
        ordered = depths.sort().values
        low, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in (near, far))
        return [surface.covered & (surface.depth >= low) & (surface.depth <= high) for surface in self.surfaces]

    def _from_masks(self, masks: dict[int, Mask]) -> Share:
        """What masked views say of what they show, and of all else what is said of what is like it."""
        views = list(masks)
        shown = self._sum([torch.ones_like(mask) for mask in masks.values()], views)
        share = self._sum(list(masks.values()), views) / shown.clamp_min(1e-9)
        most = torch.zeros_like(shown)
        for i in range(self.count):
            ones = torch.ones(self.subject.views.size(i))
            most = torch.maximum(most, self._sum([ones], [i]))
        sure = shown > SURE * most.clamp_min(1e-6)
        asked = ~sure & (self.seen > 0)
        if not sure.any() or not asked.any():
            return share
        places = self.points[self.seen > 0]
        radius = (places - places.median(0).values).norm(dim=1).median()
        where = torch.cat([self.points / (NEAR * radius), self.subject.photoreal / ALIKE], 1).cpu().numpy()
        from scipy.spatial import cKDTree  # imports slowly

        known = share[sure].cpu().numpy()
        tree = cKDTree(where[sure.cpu().numpy()])
        distance, index = tree.query(where[asked.cpu().numpy()], k=min(AROUND, len(known)), workers=1)
        weight = 1 / np.maximum(distance.reshape(len(distance), -1), 1e-3) ** 2
        voted = (known[index].reshape(weight.shape) * weight).sum(1) / (weight.sum(1) + AROUND / FAR**2)
        share[asked] = torch.from_numpy(voted).to(share)
        return share


def _blurred(picture: Tensor, width: float) -> Float[Tensor, "h w"]:
    """In [0, 1], its borders that share of the long side wide."""
    from torchvision.transforms.functional import gaussian_blur  # imports slowly

    sigma = max(0.5, width * max(picture.shape) / 2)
    size = 2 * min(round(3 * sigma), min(picture.shape) // 2 - 1) + 1
    return gaussian_blur(picture[None].float() / 255, [size, size], [sigma, sigma])[0]
