from __future__ import annotations

import numpy as np
import pytest
from clips import ffmpeg
from PIL import Image
from samples import photo

from arf.errors import UserError
from arf.radiance.capture.intake import clips
from arf.radiance.capture.intake.clips import take_frames
from arf.radiance.capture.intake.pile import gather


def pan(path, length: int, *options: str) -> None:
    """A picture that passes by, so many pixels in a second."""
    wide = Image.fromarray((photo(120, 160 + length, 3).numpy() * 255).astype(np.uint8))
    wide.save(path.with_suffix(".png"))
    crop = f"crop=160:120:{length}*t:0,fps=20"
    ffmpeg(
        "-loop", 1, "-framerate", 20, "-t", 1, "-i", path.with_suffix(".png"), "-vf", crop, "-pix_fmt", "yuv420p", path
    )
    path.with_suffix(".png").unlink()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    pan(tmp_path / "in" / "long way.mp4", 240)
    pan(tmp_path / "in" / "short.mp4", 80)
    return tmp_path


def take(root, before=(), frames=12):
    return take_frames(gather([root / "in"]), root / "out", before, frames, set(), lambda *_: None)[0]


def test_frames_are_shared_out_by_the_way(root):
    taken = take(root)
    count = {name: sum(name in one.source for one in taken) for name in ("long", "short")}
    assert count["long"] in (8, 9)
    assert count["short"] in (3, 4)
    assert len({one.device for one in taken}) == 2
    for one in taken:
        with Image.open(root / "out" / "images" / one.name) as file:
            assert file.size == one.size == (160, 120)
    assert taken[0].name.startswith("long_way_0000")
    assert taken[-1].shown.startswith("short.mp4 at 0.")


def test_written_once_and_used_again(root, monkeypatch):
    before = take(root)
    monkeypatch.setattr(clips, "look", None)
    assert take(root, before) == before
    with pytest.raises(TypeError):  # looked at
        take(root, before, frames=20)


def test_a_film_on_its_side_comes_upright(root):
    turned = root / "turned.mp4"
    ffmpeg("-display_rotation", 90, "-i", root / "in" / "short.mp4", "-c", "copy", turned)
    taken, _ = take_frames(gather([turned]), root / "out", (), 4, set(), lambda *_: None)
    assert {one.size for one in taken} == {(120, 160)}
    with Image.open(root / "out" / "images" / taken[0].name) as file:
        assert file.size == (120, 160)


def test_a_damaged_clip_is_skipped_where_there_is_more(root):
    (root / "in" / "broken.mp4").write_bytes((root / "in" / "short.mp4").read_bytes()[:2000])
    taken, (skipped,) = take_frames(gather([root / "in"]), root / "out", (), 12, set(), lambda *_: None)
    assert taken
    assert skipped.shown == "broken.mp4"
    assert skipped.why.startswith("cut short")
    with pytest.raises(UserError, match="cut short"):
        take_frames(gather([root / "in" / "broken.mp4"]), root / "out", (), 12, set(), lambda *_: None)


def test_frames_are_not_written_over_photographs(root):
    names = {"short_000000", "long_way_000000"}
    taken, _ = take_frames(gather([root / "in"]), root / "out", (), 12, names, lambda *_: None)
    assert len({one.name.lower() for one in taken}) == len(taken)
    assert not {"short_000000.jpg", "long_way_000000.jpg"} & {one.name for one in taken}
