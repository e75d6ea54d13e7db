"""A painting measured: consistent along a path, near to its style, true to the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.media import image
from arf.metrics import LPIPS, Structure
from arf.metrics.likeness import STRUCTURE_LAYER
from arf.metrics.perceptual import SMALLEST, missing
from arf.radiance.capture.views import apart
from arf.radiance.evaluate import stylos
from arf.radiance.evaluate.consistency import Agreement, agreements, at_hand, beginnings, by_depth
from arf.radiance.evaluate.films import UNSTYLISED, Scene, open_scene
from arf.radiance.evaluate.settings import EvaluateSettings
from arf.radiance.evaluate.strength import Strength
from arf.radiance.fields.seen import COVERED
from arf.radiance.records import paint_record
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders
from arf.style.encoder import Encoder

Picture = Float[Tensor, "h w 3"]
HIDDEN = 0.5  # grey, in both, where a photograph does not count
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
    runs: Sequence[Run],
    settings: EvaluateSettings,
    frames: Path | None = None,
    styles: Sequence[Path] = (),
    told: Told = lambda *_: None,
    allow_outside: bool = False,
) -> Evaluation:
    """Measure paintings of one place, or a fit, and another program's frames.

    Args:
        runs: the first one's path is that of all.
        frames: a folder of that program's pictures along the path, measured with the first one's depth.
        styles: pictures that strength is measured against; a painting's own when left out.

    Raises:
        UserError: as `open_scene`; a style or the encoder cannot be read; or the frames are too small for it.
    """
    settings.check()
    device = pick_device(settings.device)
    if settings.protocol == "stylos":
        stylos.raft(device)  # refused before anything is opened
    encoder = encoders.load(settings.encoder, settings.encoder_weights).to(device)
    first = open_scene(runs[0], settings, device, frames, allow_outside)
    others = [open_scene(run, settings, device, None, allow_outside, first) for run in runs[1:]]
    height, width = size = first.path.cameras.size(0)
    if settings.protocol == "depth" and (kinds := {camera.kind for camera in first.path.cameras} - {"pinhole"}):
        raise UserError(f"depth is looked up by pinhole cameras, and the path has {', '.join(sorted(kinds))} ones")
    if min(size) < (needed := encoder.smallest([STRUCTURE_LAYER])):
        raise UserError(f"frames of {width}×{height} pixels are too small: the figures need {needed} a side")
    films: list[Measured] = []
    for scene in (first, *others):
        plain, *painted = _films(scene, settings, encoder, styles, told)
        if not films:
            films.append(plain)
        elif plain != films[0]:  # of another fit
            films.append(replace(plain, name=f"{UNSTYLISED}: {scene.painting}"))
        films += painted
    lacks = None if settings.protocol == "stylos" else _lacking(first)
    return Evaluation(films, first.capture.name, size, len(first.path), settings.protocol, lacks)


def _lacking(scene: Scene) -> str | None:
    """What LPIPS lacks here."""
    if min(scene.path.cameras.size(0)) < SMALLEST:
        return f"LPIPS needs frames of {SMALLEST} pixels a side"
    return missing("alex")


def _films(
    scene: Scene, settings: EvaluateSettings, encoder: Encoder, styles: Sequence[Path], told: Told
) -> list[Measured]:
    """Figures of a scene's films."""
    surfaces = at_hand(scene.surfaces)
    if settings.protocol == "stylos":
        lay, perceptual = stylos.by_flow(stylos.raft(scene.field.device)), stylos.Lpips255
    else:
        lay, perceptual = by_depth(surfaces), None if _lacking(scene) else LPIPS
    firsts = beginnings(len(scene.path), settings.pairs)
    looked = {firsts[i] for i in apart(len(firsts), LOOKED)}
    likenesses: dict[str, _Likeness] = {}

    def look(k: int, shown: Mapping[str, Picture]) -> None:
        if k not in looked:
            return
        covered = surfaces(k).covered
        for name, frame in shown.items():
            if name not in likenesses:
                likenesses[name] = _Likeness(encoder, _strength(scene, styles, encoder))
            likenesses[name].update(frame, shown[UNSTYLISED], covered)

    agreed = agreements(firsts, scene.pictures, lay, perceptual, look, lambda i, n: told("compare", i, n, {}))
    content = _content(scene, encoder, settings, lambda i, n: told("photographs", i, n, {}))
    return [
        Measured(name, agreement, likenesses[name].strength(), likenesses[name].structure(), content.get(name))
        for name, agreement in agreed.items()
    ]


class _Likeness:
    """What single frames of a film say."""

    def __init__(self, encoder: Encoder, strength: Strength | None) -> None:
        self._strength, self._structure = strength, Structure(encoder)

    def update(self, frame: Picture, plain: Picture, mask: Bool[Tensor, "h w"]) -> None:
        if self._strength:
            self._strength.update(frame, mask)
        self._structure.update(frame, plain, mask)

    def strength(self) -> dict[str, float]:
        return self._strength.compute() if self._strength else {}

    def structure(self) -> float:
        return self._structure.compute()


def _strength(scene: Scene, styles: Sequence[Path], encoder: Encoder) -> Strength | None:
    """Against the styles that are asked for, or those of the painting; None where there are none."""
    long_side, weights, scale = max(scene.path.cameras.size(0)), (), 1.0
    if scene.run.kind == "stylize":
        record = paint_record(scene.run)
        if isinstance(record.settings, StylizeSettings):
            scale = record.settings.style_scale
        folder = record.reference and record.reference.pictures.is_dir()
        if not (styles or folder or record.regions):  # each of these would be measured against the style of others
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
        photograph = views.photograph(i)
        mask = None if photograph.weight is None else photograph.weight >= COVERED
        for name, rendering in scene.seen_from(views.cameras[i]).items():
            pair = (p if mask is None else p.where(mask[..., None], HIDDEN) for p in (rendering, photograph.image))
            found.setdefault(name, Structure(encoder)).update(*pair, mask)
        told(done, len(chosen))
    return {name: metric.compute() for name, metric in found.items()}
