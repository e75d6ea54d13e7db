"""What a film shows when: of one run, or from look to look of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import Field
from arf.radiance.film.curves import eased, look_times, look_weights
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import check_painted, same_field
from arf.radiance.opening import open_model
from arf.radiance.settings import RenderSettings


@dataclass
class Program:
    """Looks of one fit, along a film.

    Attributes:
        looks: of the runs; None for a fit, which is photoreal.
        times: when each is there in full.
    """

    field: Field
    capture: Capture
    looks: list[Look | None]
    times: list[float]
    settings: RenderSettings

    @classmethod
    def open(cls, runs: Sequence[Run], settings: RenderSettings) -> Program:
        """
        Raises:
            UserError: settings for several runs where there is one, or for paint where there is none; runs of two fits.
        """
        first, device = runs[0], pick_device(settings.device)
        if all(run.kind != "stylize" for run in runs):
            if settings.compare:
                raise UserError(
                    f"{first.path} is photoreal, there is nothing to compare; give --compare a stylized run"
                )
            check_painted(first, min(settings.strength, *settings.strength_curve, 1), settings.preserve_color)
        if len(runs) == 1 and (settings.look_curve or settings.loop):
            idle = "--look-curve" if settings.look_curve else "--loop"
            raise UserError(f"{idle} is for a film of several runs, from look to look; name more of them")
        times = look_times(settings.look_curve, len(runs), settings.loop)
        field, painted, capture = open_model(first, device, settings.allow_outside)
        looks = [painted.look if painted else None]
        for run in runs[1:]:
            other, painted, _ = open_model(run, device, settings.allow_outside)
            if not same_field(field, other):
                raise UserError(
                    f"{run.path} and {first.path} are not of one fit, so no film goes from one to the other"
                )
            looks.append(painted.look if painted else None)
        return cls(field, capture, looks, times, settings)

    def at(self, share: float) -> tuple[Look | None, float]:
        """The look at a share of the film, [0, 1], and how much of it shows."""
        curve, painted = self.settings.strength_curve, [look for look in self.looks if look]
        strength = eased(curve, share) if curve else self.settings.strength
        if not painted:
            return None, 1.0
        weights = look_weights(self.times, share, self.settings.loop)
        shown = [(look, weight) for look, weight in zip(self.looks, weights, strict=True) if look and weight]
        total = sum(weight for _, weight in shown)  # the rest is photoreal
        if len(shown) > 1:
            look = Look.mixed([look for look, _ in shown], [weight / total for _, weight in shown])
        else:
            look = shown[0][0] if shown else painted[0]
        return look, strength * total
