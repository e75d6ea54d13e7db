"""What views say of the columns of a field: sums over the pixels that show them, and votes of those that are alike.

With frozen geometry a picture of what the columns hold is A θ, and Σ Aᵀ m / Σ Aᵀ 1 over views is the mean of what the
pixels that show a column say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from arf.radiance.fields.field import NOWHERE
from arf.radiance.fields.seen import Seen, seen
from arf.radiance.paint.subject import Progress, Subject

SURE = 0.1  # of the most that one view shows of a column, that some views have to show to be asked alone
AROUND = 8  # columns that vote for another one
NEAR, ALIKE = 0.1, 0.15  # of the scene's radius, and of RGB: what is as far as the other
FAR = 8.0  # so many of both, and they hardly say anything
Share = Float[Tensor, " V"]


class Columns:
    """The columns of an open subject."""

    def __init__(self, subject: Subject, progress: Progress = lambda *_: None) -> None:
        self.subject, self.progress = subject, progress
        self.count, self.device = len(subject), subject.device

    def pictures(self, share: Share) -> list[UInt8[Tensor, "h w"]]:
        """A share of each column, as the views show it, in 255ths."""
        colors, nothing = share[:, None].expand(-1, 3).contiguous(), torch.zeros(3, device=self.device)
        shown = (self.subject.operators[i].apply(colors, nothing)[..., 0] for i in range(self.count))
        return [(picture.clamp(0, 1) * 255).round().to(torch.uint8) for picture in shown]

    def sum(self, pictures: Iterable[Tensor], views: Sequence[int] | None = None) -> Tensor:
        """Σ Aᵀ over views, of what each of them shows, [h, w] or [h, w, c]: [V] or [V, c]."""
        total = 0
        for i, picture in zip(range(self.count) if views is None else views, pictures, strict=True):
            planes = picture.to(self.device, torch.float32)
            total = total + self.subject.operators[i].transpose(planes.view(*planes.shape[:2], -1))
        return total.squeeze(1)

    def mean(self, pictures: Iterable[Tensor]) -> Share:
        """What all views say of each column, of pictures [h, w] in [0, 1], where their photographs count."""
        counted = (picture.to(self.device).float() * self._weight(i) for i, picture in enumerate(pictures))
        return self.sum(counted) / self.counted.clamp_min(1e-9)

    @cached_property
    def counted(self) -> Float[Tensor, " V"]:
        """How much all views show of each, where their photographs count."""
        return self.sum(map(self._weight, range(self.count)))

    @property
    def seen(self) -> Float[Tensor, " V"]:
        """How much all views show of each."""
        return self._shown[0]

    @property
    def most(self) -> Float[Tensor, " V"]:
        """How much that view shows of each which shows most."""
        return self._shown[1]

    @cached_property
    def _shown(self) -> tuple[Float[Tensor, " V"], Float[Tensor, " V"]]:
        total = most = torch.zeros(self.subject.operators.count, device=self.device)
        for i in range(self.count):
            here = self.sum([torch.ones(self.subject.views.size(i))], [i])
            total, most = total + here, torch.maximum(most, here)
        return total, most

    def _weight(self, i: int) -> Float[Tensor, "h w"]:
        weight = self.subject.weight(i)
        return torch.ones(self.subject.views.size(i), device=self.device) if weight is None else weight

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
        """Where each is: the mean of the places at which views see it; nowhere if none does."""
        covered = (surface.covered.float() for surface in self.surfaces)
        places = (surface.points.where(surface.covered[..., None], 0) for surface in self.surfaces)
        weight = self.sum(covered)[:, None]
        return torch.where(weight > 0, self.sum(places) / weight.clamp_min(1e-9), NOWHERE)

    def sure(self, shown: Float[Tensor, " V"]) -> Bool[Tensor, " V"]:
        """Of which columns views that show so much of them can be asked alone."""
        return shown > SURE * self.most.clamp_min(1e-6)

    def voted(
        self, values: Float[Tensor, "V c"], known: Bool[Tensor, " V"], otherwise: Float[Tensor, "V c"]
    ) -> Float[Tensor, "V c"]:
        """Values for the columns of which none is known, by those around them in space and colour.

        Args:
            otherwise: what far away from all that is known is.
        """
        asked = ~known & (self.seen > 0)
        out = torch.where(known[:, None], values, otherwise)
        if not known.any() or not asked.any():
            return out
        from scipy.spatial import cKDTree  # imports slowly

        places = self.points[self.points[:, 0] < NOWHERE]
        radius = (places - places.median(0).values).norm(dim=1).median() if len(places) else places.new_ones(())
        unit = NEAR * radius.clamp_min(1e-6)
        where = torch.cat([self.points / unit, self.subject.unpainted / ALIKE], 1).cpu().numpy()
        of_known = values[known].cpu().numpy()
        tree = cKDTree(where[known.cpu().numpy()])
        few, threads = min(AROUND, len(of_known)), torch.get_num_threads()
        distance, index = tree.query(where[asked.cpu().numpy()], k=few, workers=threads)
        weight = 1 / np.maximum(distance.reshape(len(distance), -1), 1e-3) ** 2  # [n, k]
        alone = AROUND / FAR**2
        votes = (of_known[index].reshape(*weight.shape, -1) * weight[..., None]).sum(1)  # [n, c]
        said = torch.from_numpy((votes + alone * otherwise[asked].cpu().numpy()) / (weight.sum(1) + alone)[:, None])
        out[asked] = said.to(out)
        return out
