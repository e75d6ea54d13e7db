"""Painting after a reference: views that somebody has painted come back as painted, and the rest follows them.

After Ref-NPR (Zhang et al., CVPR 2023). What the painted views show is solved for and then held. What they do not show
begins with the colours of what is like it, and is drawn to the painted features of what it resembles in photographs:
the nearest neighbours of content among content, of which the paint is taken (template correspondence).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.views import Views
from arf.radiance.looks.look import Look
from arf.radiance.paint.columns import Columns
from arf.radiance.paint.lifting.lifted import check_said, lifted
from arf.radiance.paint.lifting.pictures import ViewPicture, read_picture, read_pictures, view_called
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Progress, Subject
from arf.radiance.records import Reference
from arf.radiance.settings import LiftSettings, StylizeSettings
from arf.style.color import Affine
from arf.style.encoder import Encoder
from arf.style.losses import shrink_weight, total_variation
from arf.style.neighbours import FeatureBank, rows_of, unit

DAMPING = 0.001  # of the least squares: what is hardly seen is not held
PASSES = 100  # of the least squares: few views, quickly done
OPAQUE = 0.5  # weight from which on a position of a painted view counts
MOST = 1 << 16  # positions of all painted views that are compared with


def read_references(reference: Reference, views: Views, held_out: Sequence[str] = ()) -> dict[int, ViewPicture]:
    """The painted views, by their numbers.

    Raises:
        UserError: as `read_pictures`, or a view is named for a folder of pictures.
    """
    if reference.view is None:
        try:
            return read_pictures(reference.pictures, views, held_out)
        except UserError as error:
            if reference.pictures.is_dir() or "is of no view" not in str(error):
                raise
            raise UserError(f"{error}; or say which one it is of, with --view NAME") from error
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
        check_said(subject, references)
        chosen = self._chosen()
        before, after = (self._features(shown, chosen) for shown in (self._photograph, self._painting))
        self._banks = [FeatureBank(rows.t()) for rows in before]
        self._paint = [unit(rows) for rows in after]

    def divided(self, styles: list[Tensor]) -> Iterator[tuple[list[Tensor], Sequence[float], float]]:
        yield styles[:1], (), self.settings.style_scale  # no loss of style: of the objective the features are used

    def prepare(self, progress: Progress = lambda *_: None) -> None:
        """Hold what the painted views show, and let it vote on the rest."""
        self._look = look = lifted(self.subject, self.references, LiftSettings(passes=PASSES), progress, DAMPING)
        columns, views = Columns(self.subject, progress), list(self.references)
        shown = columns.sum([self._weight(i) for i in views], views)
        known = columns.sure(shown)
        self._start = columns.voted(look.theta, known, look.recolor.apply(self.subject.unpainted))
        self.base = look.theta
        self.share = 1 - known.float()

    @property
    def recolor(self) -> Affine:
        return self._look.recolor

    @property
    def background(self) -> Float[Tensor, " 3"]:
        return self._look.background

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

    def _chosen(self) -> list[list[Int[Tensor, " n"]]]:
        """For each painted view the positions of each block of features that count, at most `MOST` of all views."""
        rows = []
        for i in self.references:
            weights = [shrink_weight(self._weight(i), size).flatten() for size in self._sizes(i)]
            found = [(w >= min(OPAQUE, float(w.amax()))).nonzero()[:, 0] for w in weights]
            most = max(1, MOST // len(self.references))
            rows.append([f[:: -(-len(f) // most)] for f in found])
        return rows

    @torch.no_grad()
    def _sizes(self, i: int) -> list[tuple[int, int]]:
        return [tuple(f.shape[-2:]) for f in self.objective.features(self._photograph(i))]

    @torch.no_grad()
    def _features(
        self, shown: Callable[[int], Tensor], chosen: list[list[Int[Tensor, " n"]]]
    ) -> list[Float[Tensor, "n c"]]:
        """Features of what the painted views show, block by block, at those positions."""
        found = []
        for i, positions in zip(self.references, chosen, strict=True):
            features = self.objective.features(shown(i))
            found.append([rows_of(f)[0][p.to(f.device)] for f, p in zip(features, positions, strict=True)])
        return [torch.cat(rows) for rows in zip(*found, strict=True)]
