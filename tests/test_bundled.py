"""What comes with arf is whole, small and our own."""

from __future__ import annotations

import json

import pytest

from arf import bundled
from arf.errors import UserError
from arf.media import image


def test_the_still_life_is_whole():
    folder = bundled.capture()
    meta = json.loads((folder / "transforms.json").read_text())
    names = [frame["file_path"] for frame in meta["frames"]]
    assert 48 <= len(names) <= 64
    assert sorted(meta["train_filenames"] + meta["test_filenames"]) == sorted(names)
    assert sorted(p.name for p in (folder / "images").iterdir()) == sorted(name.split("/")[1] for name in names)
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= 4e6
    for name in names[::10]:
        picture = image.read(folder / name)
        assert tuple(picture.shape) == (meta["h"], meta["w"], 3) == (160, 160, 3)
        assert (picture > 0.99).all(-1).float().mean() < 0.02  # a background everywhere, no empty white
        assert picture.std() > 0.1


def test_styles_by_name():
    assert set(bundled.DEFAULT_STYLES) <= set(bundled.styles())
    assert all(bundled.style(name).is_file() for name in bundled.styles())
    with pytest.raises(UserError, match=r"no style 'monet' comes with arf; there are .*strokes"):
        bundled.style("monet")


def test_presets_are_found():
    assert {path.stem for path in bundled.presets().iterdir()} >= {"quick", "object", "unbounded", "forward"}


@pytest.mark.parametrize(("asked", "missing"), [
    (bundled.capture, "data/still-life/transforms.json"),
    (bundled.styles, "data/styles/strokes.jpg"),
    (bundled.presets, "configs/quick.yaml"),
])  # fmt: skip
def test_an_installation_without_it_says_so(monkeypatch, tmp_path, asked, missing):
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "arf" / "bundled.py"))
    with pytest.raises(UserError, match=f"came without {missing}; install arf again"):
        asked()
