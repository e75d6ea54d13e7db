"""Adam on splats: steps towards pictures."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from arf.adam import Adam
from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.splats.splats import Splats

RATES = {"means": 0.7, "scales": 5e-2, "quats": 4e-2, "opacities": 5e-2, "colors": 3e-2}  # of Adam, at the start
LAST = 0.15  # of the rates, at the end
LEAST, MOST = 0.005, 0.995  # opacities within which they are moved
BETAS = 0.9, 0.99

Slopes = tuple[dict[str, Tensor], Float[Tensor, ""]]  # by name, as `Splats` has them; the mean squared error


class Engine(Protocol):
    """What renders splats and tells how to make their picture more like another.

    Attributes:
        device: that splats, pictures and slopes are on.
    """

    device: torch.device

    def slopes(
        self,
        splats: Splats,
        camera: Camera,
        target: Float[Tensor, "h w 3"],
        background: Float[Tensor, " 3"],
        mask: Bool[Tensor, "h w"] | None = None,
    ) -> Slopes:
        """The gradients, with respect to splats of degree 0, of what is to become smaller; the mean squared error.

        Args:
            mask: where the target counts; None: everywhere.
        """
        ...


class Tuning:
    """Adam over logarithms of scales, logits of opacities, and the rest as it is.

    What a splat was as large as at the start is the unit in which it moves, so that what is far and coarse gets on as
    well as what is near and fine; one that is put in another's place takes over its unit.

    Args:
        raw: to begin with; as `of` has it.
        units: float32 [N].
        engine: what is made smaller, and where: `raw` and `units` are on its device.
        steps: that there will be; rates fall exponentially over them.
        rate: a factor of all rates; `last`: another, at the end.
        largest: standard deviation that a splat may have, in its units.

    Attributes:
        raw: the parameters by name, a row for each splat.
        step: steps done.
    """

    SHAPES: ClassVar = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "colors": (3,)}

    def __init__(
        self,
        raw: dict[str, Tensor],
        units: Float[Tensor, " n"],
        engine: Engine,
        steps: int,
        rate: float = 1.0,
        last: float = LAST,
        largest: float = math.inf,
    ) -> None:
        self.raw, self.units, self.engine = raw, units, engine
        self.steps, self.step, self.last = steps, 0, last
        self.rates = {name: rate * value for name, value in RATES.items()}
        self.largest = largest
        self.optimizer = self._adam()

    @classmethod
    def of(cls, splats: Splats, engine: Engine, *rest: Any, **options: Any) -> Tuning:
        """To begin with these, wherever they are."""
        splats = splats.to(engine.device)
        units = splats.scales.mean(1).clamp_min(1e-9)
        raw = {
            "means": splats.means / units[:, None],
            "scales": splats.scales.clamp_min(1e-9).log(),
            "quats": splats.quats.clone(),
            "opacities": splats.opacities.clamp(LEAST, MOST).logit(),
            "colors": splats.colors.clone(),
        }
        return cls(raw, units, engine, *rest, **options)

    def __len__(self) -> int:
        return len(self.raw["means"])

    def _adam(self) -> Adam:
        groups = [{"params": [value.requires_grad_()], "lr": self.rates[name]} for name, value in self.raw.items()]
        return Adam(groups, betas=BETAS, eps=1e-15, fused=True)

    @torch.no_grad()
    def splats(self) -> Splats:
        """As they are now."""
        raw = {name: value.detach() for name, value in self.raw.items()}
        parts = (
            raw["means"] * self.units[:, None],
            raw["scales"].exp(),
            normalize(raw["quats"], dim=1),
            raw["opacities"].sigmoid(),
        )
        return Splats(*parts, raw["colors"], self.units.new_zeros(len(self), 0, 3))

    @torch.no_grad()
    def advance(
        self,
        camera: Camera,
        target: Float[Tensor, "h w 3"],
        background: Float[Tensor, " 3"],
        mask: Bool[Tensor, "h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """One step towards a picture; the mean squared error before it.

        Args:
            mask: where the target counts; None: everywhere.
        """
        splats = self.splats()
        found, error = self.engine.slopes(splats, camera, target, background, mask)
        chain = {
            "means": self.units[:, None],
            "scales": splats.scales,
            "opacities": splats.opacities * (1 - splats.opacities),
        }
        for name, value in self.raw.items():
            value.grad = found[name] * chain[name] if name in chain else found[name]
        for group, name in zip(self.optimizer.param_groups, self.raw, strict=True):
            group["lr"] = self.rates[name] * self.last ** (self.step / self.steps)
        self.optimizer.step()
        self.raw["scales"].clamp_(max=(self.largest * self.units).log()[:, None])
        self.step += 1
        return error

    @torch.no_grad()
    def place(
        self,
        fresh: dict[str, Tensor],
        units: Float[Tensor, " n"],
        rows: Int[Tensor, " m"],
        others: Int[Tensor, " k"],
    ) -> None:
        """Put splats in place of those in `rows`, and what is left of them behind all; Adam forgets what it knew of
        these rows, and of `others`."""
        count = len(rows)
        self.units[rows] = units[:count]
        self.units = torch.cat([self.units, units[count:]])
        moments = {name: self.optimizer.state.get(value, {}) for name, value in self.raw.items()}
        for name, value in self.raw.items():
            value[rows] = fresh[name][:count]
            self.raw[name] = torch.cat([value.detach(), fresh[name][count:]])
        self.optimizer = self._adam()
        for name, value in self.raw.items():
            if not (state := moments[name]):
                continue
            kept = {"step": state["step"]}
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment][rows], state[moment][others] = 0, 0
                kept[moment] = torch.cat([state[moment], torch.zeros_like(fresh[name][count:])])
            self.optimizer.state[value] = kept
