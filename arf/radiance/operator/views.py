"""The training views of a frozen field as render operators."""

from __future__ import annotations

from collections.abc import Callable

from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Field
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import ROWS, RenderOperator, build, stack


class OperatorSet:
    """One operator per view. Traces every view at construction.

    Args:
        drop: share of each pixel's weight that may be left out.
        resolution: see `Field.survey`.

    Attributes:
        count: number of columns.
        nbytes, entries, pixels: totals over the views.
    """

    def __init__(
        self,
        field: Field,
        views: Views,
        cache: ViewCache,
        drop: float = 0.0,
        resolution: int | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.cache, self.sizes = cache, [views.size(i) for i in range(len(views))]
        self.nbytes = self.entries = self.pixels = 0
        with field.survey(views, resolution):
            for i, camera in enumerate(views.cameras):
                parts = []
                for band in camera.bands(max(ROWS, field.band)):  # a trace takes many times what is left of it merged
                    traced = field.trace(band, drop)
                    parts.append(build(traced, *band.size, field.count))
                operator = stack(parts)
                cache.put(_name(i), operator.tensors())
                self.nbytes += operator.nbytes
                self.entries += len(operator.values)
                self.pixels += camera.pixels
                progress(i + 1, len(views))
        self.count = field.count

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> RenderOperator:
        if i >= len(self):
            raise IndexError(i)
        return RenderOperator(*self.sizes[i], self.count, **self.cache.get(_name(i)))

    def prefetch(self, i: int) -> None:
        """Begin to bring a view's operator to the device, if it is elsewhere."""
        self.cache.prefetch(_name(i))


def _name(i: int) -> str:
    return f"operator-{i:04d}"
