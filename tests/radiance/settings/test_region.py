"""Regions in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import plain
from arf.radiance.settings import Region


@pytest.mark.parametrize(("text", "region"), [
    ("a.png@view_1", Region(masks=((Path("a.png"), "view_1"),))),
    ("'my masks/a b.png@IMG 1' c.png@2", Region(masks=((Path("my masks/a b.png"), "IMG 1"), (Path("c.png"), "2")))),
    ("me@home/a.png@v", Region(masks=((Path("me@home/a.png"), "v"),))),
    ("color=255,0,51", Region(color=(1.0, 0.0, 0.2))),
    ("color=#ff0033 tolerance=0.3", Region(color=(1.0, 0.0, 0.2), tolerance=0.3)),
    ("depth=0,0.25 soft=0.05", Region(depth=(0.0, 0.25), soft=0.05)),
    ("box=1,2,3,-1,-2,-3", Region(box=(1.0, 2.0, 3.0, -1.0, -2.0, -3.0))),
    ("sphere=0,0,-1e1,2 scale=0.5 strength=0.7", Region(sphere=(0.0, 0.0, -10.0, 2.0), scale=0.5, strength=0.7)),
])  # fmt: skip
def test_words_are_read(text, region):
    found = Region.parse(text)
    assert plain(found) == {**plain(region), "said": text}
    assert admit(Region, plain(found), "arf.json", "") == found  # as a run keeps it


@pytest.mark.parametrize(("text", "said"), [
    ("", "does not say where"),
    ("soft=0.1", "does not say where"),
    ("a.png@v tolerance=0.3", "tolerance is of a color, and there is none"),
    ("color=1,2,3 color=4,5,6", "says color twice"),
    ("a.png", "has a word 'a.png', which says nothing; give words such as mask.png@VIEW"),
    ("@view", "has a word '@view'"),
    ("a.png@", "has a word 'a.png@'"),
    ("colour=1,2,3", "has a word 'colour=1,2,3'"),
    ("masks=a.png", "has a word 'masks=a.png'"),
    ("'a.png@v", "no closing quotation"),
    ("color=1,2", "color is 1,2; it needs 3 numbers, with commas, between 0 and 255"),
    ("color=1,2,256", "color is 1,2,256; it needs 3 numbers, with commas, between 0 and 255"),
    ("color=red", "color is red; it needs 3 numbers"),
    ("color=#ff00", "color is #ff00; it needs 3 numbers"),
    ("depth=0.5,0.2", "the first number is the nearer one"),
    ("depth=1,9", "depth is 1,9; it needs 2 numbers, with commas, between 0 and 1"),
    ("sphere=0,0,0,0", "the radius of the sphere is 0; it must be above 0"),
    ("sphere=0,0,0,nan", "sphere is 0,0,0,nan; it needs 4 numbers, with commas, finite"),
    ("box=1,2,3", "box is 1,2,3; it needs 6 numbers"),
    ("a.png@v scale=0", "scale is 0; it needs a number, between 0.001 and 100"),
    ("a.png@v strength=2", "strength is 2; it needs a number, between 0 and 1"),
    ("a.png@v tolerance=", "tolerance is ; it needs a number, between 0 and 2"),
])  # fmt: skip
def test_what_says_nothing(text, said):
    with pytest.raises(UserError) as refusal:
        Region.parse(text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("values", [
    {}, {"sphere": (1.0,)}, {"box": (1.0, 2.0)}, {"depth": (0.5, 0.2)}, {"depth": (0.0, 1.0), "soft": 1e9},
    {"depth": (0.0, 1.0), "strength": 7.0}, {"color": (2.0, 0.0, 0.0)}, {"sphere": (0.0, 0.0, 0.0, float("nan"))},
])  # fmt: skip
def test_a_stranger_s_region_is_checked(values):
    with pytest.raises(UserError):
        Region(**values).check()


def test_masks_are_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Region.parse("a.png@v").resolved().masks == ((tmp_path / "a.png", "v"),)
