"""What became of the photographs: how many were placed, which were not, why, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arf.errors import UserError
from arf.radiance.capture.intake.taken import Skipped, Taken
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.mapping import SMALLEST, parallax
from arf.radiance.capture.sfm.upright import registered

BLANK = 60  # features below which a picture is dark, blank or plain
BLURRED = 0.3  # of the median sharpness
SOLID = 25  # points that a camera sees on average, or all of it is chance
VERIFIED = 15  # matches that agree with one motion, for a pair of pictures to show the same thing
FLAT, UNSURE = 1.0, 6.0  # degrees of parallax below which depth is a guess; where every pair is explained by a turn
ALL = 0.97  # of the pairs: every one
HELP = "let neighbouring photographs share two thirds of what they show, step sideways between them, and show texture"


@dataclass(frozen=True)
class Found:
    """What structure from motion has made of photographs.

    Attributes:
        placed: how many have a camera, `of` how many that were given.
        points: on what they show.
        error: mean distance in pixels between where a point is seen and where the cameras see it.
        focal: mean focal length in pixels.
        left_out: photographs without a camera, and why.
        pieces: how many photographs hang together in each piece; the first is what is used.
    """

    placed: int
    of: int
    points: int
    error: float
    focal: float
    left_out: list[Skipped]
    pieces: list[int]

    @property
    def said(self) -> str:
        """In one line."""
        return (
            f"{self.placed} of {self.of} photographs placed, {self.points:,} points, {self.error:.2f} pixels off; "
            f"focal length {self.focal:.0f} pixels"
        )

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        lines = []
        if self.left_out:
            named = "; ".join(f"{left.shown}: {left.why}" for left in self.left_out[:8])
            more = f"; and {len(self.left_out) - 8} more" if len(self.left_out) > 8 else ""
            lines.append(f"no camera for {len(self.left_out)} of {self.of} photographs: {named}{more}")
        if len(self.pieces) > 1:
            rest = ", ".join(map(str, self.pieces[1:]))
            lines.append(
                f"the photographs fall into pieces that do not hang together: {self.pieces[0]} are used, not {rest}; "
                "photographs that lead from one to the other would join them"
            )
        if 2 * self.placed < self.of:
            lines.append(f"fewer than half of the photographs are placed; more would be: {HELP}")
        return lines


def judge(database: Path, pieces: Sequence[Any], taken: Sequence[Taken], skipped: Sequence[Skipped]) -> Found:
    """
    Raises:
        UserError: nothing can be placed, or shows no depth; says why.
    """
    evidence = _Evidence(database)
    of = len(taken) + len(skipped)
    if not pieces or pieces[0].compute_mean_observations_per_reg_image() < SOLID:
        raise UserError(_why_nothing(evidence, taken, of))
    piece = pieces[0]
    turning = evidence.turns > ALL * evidence.pairs
    if (angle := parallax(piece)) < (UNSURE if turning else FLAT):
        raise UserError(_no_depth(of, f" (parallax {angle:.1f}°)"))
    used = {image.name for image in registered(piece)}
    others = [{image.name for image in registered(other)} - used for other in pieces[1:]]
    apart = {name: len(names) for names in others if len(names) >= SMALLEST for name in names}
    median = float(np.median([picture.sharp for picture in taken if picture.name in used]))
    left = [
        Skipped(picture.shown, evidence.why_not(picture, median, apart))
        for picture in taken
        if picture.name not in used
    ]
    return Found(
        placed=len(used),
        of=of,
        points=piece.num_points3D(),
        error=piece.compute_mean_reprojection_error(),
        focal=float(np.mean([piece.cameras[image.camera_id].mean_focal_length() for image in registered(piece)])),
        left_out=[*skipped, *left],
        pieces=[len(used), *sorted((len(names) for names in others if len(names) >= SMALLEST), reverse=True)],
    )


class _Evidence:
    """What the database knows of each picture: features, and partners that show the same thing."""

    def __init__(self, database: Path) -> None:
        colmap = pycolmap()
        with closing(colmap.Database.open(database)) as opened:
            names = {image.image_id: image.name for image in opened.read_all_images()}
            self.features = {name: opened.num_keypoints_for_image(number) for number, name in names.items()}
            pairs, inliers = opened.read_two_view_geometry_num_inliers()
            seen = [colmap.pair_id_to_image_pair(pair) for pair, n in zip(pairs, inliers, strict=True) if n >= VERIFIED]
            kinds = [opened.read_two_view_geometry(*pair).config for pair in seen]
        self.partners = Counter(names[number] for pair in seen for number in pair)
        kind = colmap.TwoViewGeometryConfiguration
        self.turns = sum(k in (kind.PLANAR, kind.PANORAMIC, kind.PLANAR_OR_PANORAMIC) for k in kinds)
        self.pairs = len(seen)

    def why_not(self, picture: Taken, median: float, apart: dict[str, int]) -> str:
        if picture.name in apart:
            return f"in another piece of {apart[picture.name]}"
        if self.features.get(picture.name, 0) < BLANK:
            return "dark, blank or plain"
        if picture.sharp < BLURRED * median:
            return "blurred"
        return "too little overlap" if self.partners[picture.name] else "shows nothing that another one shows"


def _why_nothing(evidence: _Evidence, taken: Sequence[Taken], of: int) -> str:
    blank = sum(evidence.features.get(picture.name, 0) < BLANK for picture in taken)
    if 2 * blank > len(taken):
        return (
            f"no camera was found: {blank} of {of} photographs are dark, blurred or plain; show texture, in good light"
        )
    if len(evidence.partners) < 3:
        return f"no camera was found: the {of} photographs are of no common place, or overlap too little; {HELP}"
    if 2 * evidence.turns > evidence.pairs:
        return _no_depth(of)
    return f"no camera was found: the {of} photographs overlap too little; {HELP}"


def _no_depth(of: int, measured: str = "") -> str:
    return (
        f"the {of} photographs show no depth{measured}: they were taken from one spot, or of something flat; walk "
        "around the place, and step sideways between photographs rather than turn"
    )
