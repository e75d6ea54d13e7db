"""A painting measured: consistent along a path, near to its style, true to the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.media import image
from arf.metrics import LPIPS, Structure
from arf.metrics.perceptual import missing
from arf.radiance.capture.views import apart
from arf.radiance.evaluate import stylos
from arf.radiance.evaluate.consistency import Agreement, agreements, beginnings, by_depth
from arf.radiance.evaluate.films import UNSTYLISED, Scene, open_scene
from arf.radiance.evaluate.settings import EvaluateSettings
from arf.radiance.evaluate.strength import Strength
from arf.radiance.records import paint_record
from arf.style import encoder as encoders
from arf.style.encoder import Encoder

Picture = Float[Tensor, "h w 3"]
LOOKED = 8  # frames whose style and structure are measured: those change little along a path
Told = Callable[[str, int, int, dict[str, float]], None]


@dataclass
class Measured:
    """A film's figures.

    Attributes:
        consistency: by "short" and "long".
        strength: distances to the style by their names; empty where no style is known.
        structure: distance of the frames from the unstylised ones.
        content: the same of training views from their photographs; None of another program's frames.
    """

    name: str
    consistency: dict[str, Agreement]
    strength: dict[str, float]
    structure: float
    content: float | None


@dataclass
class Evaluation:
    """Figures of films along one path.

    Attributes:
        films: the unstylised one first.
        size: (height, width) of the frames.
        lacks: what LPIPS lacks here, None where it was measured.
    """

    films: list[Measured]
    scene: str
    size: tuple[int, int]
    frames: int
    protocol: str
    lacks: str | None


def measure(
    run: Run,
    settings: EvaluateSettings,
    frames: Path | None = None,
    styles: Sequence[Path] = (),
    told: Told = lambda *_: None,
    allow_outside: bool = False,
) -> Evaluation:
    """Measure a painting, or a fit beside another program's frames.

    Args:
        frames: a folder of that program's pictures along the path.
        styles: pictures that strength is measured against; a painting's own when left out.

    Raises:
        UserError: as `open_scene`; a style or the encoder cannot be read.
    """
    settings.check()
    device = pick_device(settings.device)
    if settings.protocol == "stylos":
        stylos.raft(device)  # refused before anything is opened
    encoder = encoders.load(settings.encoder, settings.encoder_weights).to(device)
    scene = open_scene(run, settings, device, frames, allow_outside)
    if settings.protocol == "stylos":
        lay, perceptual, lacks = stylos.by_flow(stylos.raft(device)), stylos.Lpips255, None
    else:
        lacks = missing("alex")
        lay, perceptual = by_depth(scene.surfaces), None if lacks else LPIPS
    firsts = beginnings(len(scene.path), settings.pairs)
    looked = {firsts[i] for i in apart(len(firsts), LOOKED)}
    likenesses: dict[str, _Likeness] = {}

    def look(k: int, shown: Mapping[str, Picture]) -> None:
        for name, frame in shown.items() if k in looked else ():
            if name not in likenesses:
                likenesses[name] = _Likeness(encoder, _strength(scene, styles, encoder))
            likenesses[name].update(frame, shown[UNSTYLISED])

    agreed = agreements(firsts, scene.pictures, lay, perceptual, look, lambda i, n: told("compare", i, n, {}))
    content = _content(scene, encoder, settings, lambda i, n: told("photographs", i, n, {}))
    films = [
        Measured(name, agreement, likenesses[name].strength(), likenesses[name].structure(), content.get(name))
        for name, agreement in agreed.items()
    ]
    return Evaluation(films, scene.capture.name, scene.path.cameras.size(0), len(scene.path), settings.protocol, lacks)


class _Likeness:
    """What single frames of a film say."""

    def __init__(self, encoder: Encoder, strength: Strength | None) -> None:
        self._strength, self._structure = strength, Structure(encoder)

    def update(self, frame: Picture, plain: Picture) -> None:
        if self._strength:
            self._strength.update(frame)
        self._structure.update(frame, plain)

    def strength(self) -> dict[str, float]:
        return self._strength.compute() if self._strength else {}

    def structure(self) -> float:
        return self._structure.compute()


def _strength(scene: Scene, styles: Sequence[Path], encoder: Encoder) -> Strength | None:
    """Against the styles that are asked for, or those of the painting; None where there are none."""
    long_side, weights, scale = max(scene.path.cameras.size(0)), (), 1.0
    if scene.run.kind == "stylize":
        record = paint_record(scene.run)
        scale = record.settings.style_scale
        if not styles:
            styles, weights = record.styles, record.settings.style_weights
    return Strength([image.read_style(s) for s in styles], weights, encoder, long_side, scale) if styles else None


def _content(
    scene: Scene, encoder: Encoder, settings: EvaluateSettings, told: Callable[[int, int], None]
) -> dict[str, float]:
    """How far the structure of training views is from that of their photographs, by the names of the films."""
    views = scene.capture.train.within(settings.size)
    chosen = apart(len(views), settings.photographs)
    found: dict[str, Structure] = {}
    for done, i in enumerate(chosen, start=1):
        for name, rendering in scene.seen_from(views.cameras[i]).items():
            found.setdefault(name, Structure(encoder)).update(rendering, views.image(i))
        told(done, len(chosen))
    return {name: metric.compute() for name, metric in found.items()}
