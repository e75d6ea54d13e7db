"""Regions: where a style is asked to go, in words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path

from arf.errors import UserError

GRAMMAR = (
    "words such as mask.png@VIEW, color=R,G,B, tolerance=0.15, depth=NEAR,FAR, box=x,y,z,x,y,z, sphere=x,y,z,r, "
    "soft=0.02, scale=0.5, strength=0.7"
)


@dataclass(frozen=True)
class Region:
    """Where a style goes: what all of these say. At least one of them does.

    Attributes:
        masks: pictures, white where it is, and the names of the views that they are of.
        color: RGB in [0, 1] of what it takes in; `tolerance`: the distance in RGB up to which it does.
        depth: nearest and farthest, as shares of all that the views see: 0,0.3 is the nearest three tenths.
        box: two corners, in the frame of the viewer and of camera paths.
        sphere: centre and radius there.
        soft: width of its border, as a share of a view's long side.
        scale: of its style picture, in place of --style-scale.
        strength: how much of the paint shows in it, 0 to 1.
    """

    masks: tuple[tuple[Path, str], ...] = ()
    color: tuple[float, ...] = ()
    tolerance: float = 0.15
    depth: tuple[float, ...] = ()
    box: tuple[float, ...] = ()
    sphere: tuple[float, ...] = ()
    soft: float = 0.0
    scale: float | None = None
    strength: float = 1.0
    said: str = ""  # the words

    @classmethod
    def parse(cls, text: str) -> Region:
        """From words: `vase.png@frame_01 vase2.png@frame_19 scale=0.5`, or `color=200,40,30 depth=0,0.4`.

        Raises:
            UserError: a word that says nothing, numbers that make no sense, or nothing that says where.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UserError(f"the region {text!r} is not read: {str(error).lower()}; give {GRAMMAR}") from error
        masks, values = [], {}
        known = {field.name: field for field in fields(cls) if field.name not in ("masks", "said")}
        for word in words:
            name, equals, value = word.partition("=")
            if equals and name in values:
                raise UserError(f"the region {text!r} says {name} twice; leave one of them out")
            if equals and name in known:
                values[name] = _numbers(name, value, text)
            elif "@" in word and all(parts := word.rpartition("@")[::2]):
                masks.append((Path(parts[0]), parts[1]))
            else:
                raise UserError(f"the region {text!r} has a word {word!r}, which says nothing; give {GRAMMAR}")
        region = cls(tuple(masks), **{name: v if len(v) > 1 else v[0] for name, v in values.items()}, said=text)
        region.check()
        if "tolerance" in values and not region.color:
            raise UserError(f"the region {text!r}: tolerance is of a color, and there is none; leave it out")
        return region

    def check(self) -> None:
        """Raises UserError where it does not say where, or numbers make no sense."""
        if not any((self.masks, self.color, self.depth, self.box, self.sphere)):
            raise UserError(f"the region {self.said!r} does not say where; give {GRAMMAR}")
        for name in (*COUNTS, *BOUNDS):
            if (value := getattr(self, name)) not in ((), None):
                numbers = value if isinstance(value, tuple) else (value,)
                said = ",".join(f"{number:g}" for number in numbers)
                _check(name, tuple(255 * n for n in numbers) if name == "color" else numbers, said, self.said)

    def resolved(self) -> Region:
        """The same from everywhere."""
        return replace(self, masks=tuple((file.resolve(), view) for file, view in self.masks))


COUNTS = {"color": 3, "depth": 2, "box": 6, "sphere": 4}  # of numbers; one of all others
BOUNDS = {
    "color": (0, 255), "tolerance": (0, 2), "depth": (0, 1), "soft": (0, 0.5), "scale": (1e-3, 100), "strength": (0, 1),
}  # fmt: skip


def _numbers(name: str, value: str, text: str) -> tuple[float, ...]:
    """What stands behind an equals sign."""
    if name == "color" and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        value = ",".join(str(int(value[k : k + 2], 16)) for k in (1, 3, 5))
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    _check(name, numbers, value, text)
    return tuple(n / 255 for n in numbers) if name == "color" else numbers


def _check(name: str, numbers: tuple[float, ...], value: str, text: str) -> None:
    """Raises UserError where they are not as many as they should be, or too small or too large; color as in 255ths."""
    count, (low, high) = COUNTS.get(name, 1), BOUNDS.get(name, (-1e9, 1e9))
    if len(numbers) != count or not all(isfinite(n) and low <= n <= high for n in numbers):
        bound = f" between {low:g} and {high:g}" if name in BOUNDS else ""
        many = "a number" if count == 1 else f"{count} numbers, with commas"
        raise UserError(f"the region {text!r}: {name} is {value}; it needs {many},{bound or ' finite'}")
    if name == "depth" and not numbers[0] < numbers[1]:
        raise UserError(f"the region {text!r}: depth is {value}; the first number is the nearer one")
    if name == "sphere" and numbers[3] <= 0:
        raise UserError(f"the region {text!r}: the radius of the sphere is {numbers[3]:g}; it must be above 0")
