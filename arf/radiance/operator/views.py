"""The training views of a frozen field as render operators, each traced when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable

from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Direct, Field
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredView
from arf.radiance.operator.footprint import traced
from arf.radiance.operator.matrix import RenderOperator


class OperatorSet:
    """One operator per view. What the cache's budget has no room for, a field that renders colours directly
    (`arf.radiance.fields.field.Direct`) renders anew each time; the matrices of others are streamed from disk.

    Args:
        cache: None: nothing is kept, and every use renders or traces the view anew.
        drop: share of each pixel's weight that may be left out.
        resolution: see `Field.survey`. A field whose columns are those that its views meet traces all of them here.
        rays: per pixel, along each side; a pixel is their mean.

    Attributes:
        count: number of columns.
        nbytes, entries, pixels: totals over the matrices that were made.
    """

    def __init__(
        self,
        field: Field,
        views: Views,
        cache: ViewCache | None,
        drop: float = 0.0,
        resolution: int | None = None,
        rays: int = 1,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.field, self.views, self.cache, self.drop, self.rays = field, views, cache, drop, rays
        self.nbytes = self.entries = self.pixels = 0
        self._kept: set[int] = set()
        self._full = cache is None
        with field.survey(views, resolution) as columns_are_met:
            for i in range(len(views) if columns_are_met else 0):
                if cache is None:
                    for band in views.cameras[i].finer(rays).bands(field.band):
                        field.trace(band, drop)
                else:
                    self._keep(i, self._traced(i))
                progress(i + 1, len(views))
        self.count = field.count

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> RenderOperator | DeferredView:
        if i >= len(self):
            raise IndexError(i)
        if i in self._kept:
            return RenderOperator(*self.views.size(i), self.count, **self.cache.get(_name(i)))
        if self._full:
            return self._anew(i)
        operator = self._traced(i)
        if isinstance(self.field, Direct) and not self.cache.has_room(operator.nbytes):
            self._full = True  # nor will it have room for the next one
            return self._anew(i)
        self._keep(i, operator)
        return operator

    def prefetch(self, i: int) -> None:
        """Begin to bring a view's operator to the device, if it is elsewhere."""
        if i in self._kept:
            self.cache.prefetch(_name(i))

    def _anew(self, i: int) -> DeferredView:
        return DeferredView(self.field, self.views.cameras[i], self.count, self.drop, self.rays)

    def _traced(self, i: int) -> RenderOperator:
        return traced(self.field, self.views.cameras[i], self.drop, self.rays)

    def _keep(self, i: int, operator: RenderOperator) -> None:
        self.cache.put(_name(i), operator.tensors())
        self._kept.add(i)
        self.nbytes += operator.nbytes
        self.entries += len(operator.values)
        self.pixels += operator.height * operator.width


def _name(i: int) -> str:
    return f"operator-{i:04d}"
