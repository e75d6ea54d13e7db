"""Painting after a reference: views that somebody has painted come back as painted, and the rest follows them.

After Ref-NPR (Zhang et al., CVPR 2023). What the painted views show is solved for and then held. What they do not show
begins with the colours of what is like it, and is drawn to the painted features of what it resembles in photographs:
the nearest neighbours of content among content, of which the paint is taken (template correspondence).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.views import Views
from arf.radiance.looks.look import Look
from arf.radiance.paint.columns import Columns
from arf.radiance.paint.lifting.lifted import lifted
from arf.radiance.paint.lifting.pictures import ViewPicture, read_picture, read_pictures, view_called
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Progress, Subject
from arf.radiance.records import Reference
from arf.radiance.settings import LiftSettings, StylizeSettings
from arf.style.color import Moments, matching
from arf.style.encoder import Encoder
from arf.style.losses import shrink_weight, total_variation
from arf.style.neighbours import FeatureBank, rows_of, unit

DAMPING = 0.001  # of the least squares: what is hardly seen is not held
PASSES = 100  # of the least squares: few views, quickly done
OPAQUE = 0.5  # of a painted picture's pixels, from which on one counts


def read_references(reference: Reference, views: Views) -> dict[int, ViewPicture]:
    """The painted views, by their numbers.

    Raises:
        UserError: as `read_pictures`, or a view is named for a folder of pictures.
    """
    if reference.view is None:
        return read_pictures(reference.pictures, views)
    if reference.pictures.is_dir():
        raise UserError(f"--view names the view of one picture, and {reference.pictures} is a folder; leave it out")
    i = view_called(reference.view, views.names, f"--view {reference.view}")
    return {i: read_picture(reference.pictures, views.names[i], views.size(i))}


class ReferencePainter(Painter):
    """The loop towards painted views.

    Args:
        references: pictures of some of the subject's views, at their sizes.
    """

    def __init__(
        self, subject: Subject, references: dict[int, ViewPicture], encoder: Encoder, settings: StylizeSettings
    ) -> None:
        self.references = references
        super().__init__(subject, [picture.target()[0] for picture in references.values()], encoder, settings)
        before, after = Moments(), Moments()
        for i, picture in references.items():
            painted, weight = picture.target(subject.weight(i))
            before.update(subject.image(i).cpu(), weight)
            after.update(painted, weight)
        (part,) = self.parts
        part.recolor = matching(before, after)
        self._banks = [FeatureBank(torch.cat(rows).t()) for rows in zip(*self._rows(self._photograph), strict=True)]
        self._paint = [unit(torch.cat(rows)) for rows in zip(*self._rows(self._painting), strict=True)]

    def prepare(self, progress: Progress = lambda *_: None) -> None:
        """Hold what the painted views show, and let it vote on the rest."""
        look = lifted(self.subject, self.references, LiftSettings(passes=PASSES), progress, DAMPING)
        columns, views = Columns(self.subject, progress), list(self.references)
        shown = columns.sum([self._weight(i) for i in views], views)
        known = columns.sure(shown)
        self._start = columns.voted(look.theta, known, self.recolor.apply(self.subject.photoreal))
        self.base = look.theta
        self.share = 1 - known.float()

    def first(self) -> Float[Tensor, "V 3"]:
        return self._start.clone()

    @torch.no_grad()
    def content(self, i: int) -> list[Float[Tensor, "1 c h w"]]:
        """Unit features of the paint that view i should have; made once, in half precision."""
        name, cache = f"content-{i:04d}", self.subject.cache
        if not cache.has(name):
            found = self.objective.features(self.subject.image(i))
            targets = []
            for features, bank, paint in zip(found, self._banks, self._paint, strict=True):
                chosen = bank.nearest(rows_of(features)[0])[:, 0]
                targets.append(paint[chosen].t().reshape(1, -1, *features.shape[2:]))
            cache.put(name, {f"{k:02d}": target.half() for k, target in enumerate(targets)})
        return [tensor.float() for _, tensor in sorted(cache.get(name).items())]

    @property
    def terms(self) -> int:
        return 1 + (self.settings.tv_weight > 0)

    def losses(self, picture: Float[Tensor, "h w 3"], i: int) -> dict[str, Tensor]:
        s, weight = self.settings, self.weight(i)
        features = self.objective.features(picture)
        distances = []
        for found, wanted in zip(features, self.content(i), strict=True):
            apart = 1 - (unit(rows_of(found)[0]) * rows_of(wanted)[0]).sum(1)  # [n]
            shares = torch.ones_like(apart) if weight is None else shrink_weight(weight, found.shape[-2:]).flatten()
            distances.append((apart * shares).sum() / shares.sum().clamp_min(1e-6))
        terms = {"reference": s.style_strength * sum(distances) / len(distances)}
        if s.tv_weight > 0:
            terms["tv"] = s.tv_weight * total_variation(picture.permute(2, 0, 1)[None], weight=weight)
        return terms

    @torch.no_grad()
    def finish(self) -> Look:
        return Look(self.colors().detach().contiguous(), self.background, self.recolor)

    def _weight(self, i: int) -> Float[Tensor, "h w"]:
        """How much the pixels of a painted view say."""
        weight = self.references[i].target(self.subject.weight(i))[1]
        return torch.ones(self.subject.views.size(i)) if weight is None else weight

    def _photograph(self, i: int) -> Float[Tensor, "h w 3"]:
        return self.subject.image(i)

    def _painting(self, i: int) -> Float[Tensor, "h w 3"]:
        return self.references[i].target()[0].to(self.device)

    @torch.no_grad()
    def _rows(self, shown) -> Iterator[list[Float[Tensor, "n c"]]]:
        """Features of the painted views, block by block, where they count."""
        for i in self.references:
            features = self.objective.features(shown(i))
            weights: Sequence[Tensor] = [shrink_weight(self._weight(i), f.shape[-2:]).flatten() for f in features]
            yield [rows_of(f)[0][w.to(f.device) > OPAQUE] for f, w in zip(features, weights, strict=True)]
