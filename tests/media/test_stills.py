from __future__ import annotations

import numpy as np
import pytest
from clips import ffmpeg
from PIL import Image, ImageFilter
from samples import photo

from arf.media.footage import probe
from arf.media.stills import choose, look, write_stills

COUNT = 30


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A picture that passes by, stands still for a third of the time, and is blurred in frame 3."""
    folder = tmp_path_factory.mktemp("walk")
    wide = Image.fromarray((photo(240, 960, 5).numpy() * 255).astype(np.uint8))
    places = [12 * i for i in range(10)] + [108] * 10 + [108 + 12 * i for i in range(10)]
    for i, place in enumerate(places):
        frame = wide.crop((place, 0, place + 320, 240))
        (frame.filter(ImageFilter.GaussianBlur(6)) if i == 3 else frame).save(folder / f"{i:02d}.png")
    ffmpeg("-framerate", 10, "-i", folder / "%02d.png", "-crf", 12, "-pix_fmt", "yuv420p", folder / "walk.mp4")
    return probe(folder / "walk.mp4")


def test_the_way_is_what_the_picture_moves(walk):
    way, sharp = look(walk)
    assert len(way) == len(sharp) == COUNT
    assert way[9] - way[0] == pytest.approx(9 * 12 / 320, rel=0.2)
    assert way[19] - way[10] < 0.01
    assert way[29] - way[19] == pytest.approx(10 * 12 / 320, rel=0.3)
    assert sharp[3] < 0.3 * np.median(sharp)


def test_frames_are_spread_over_the_way_and_not_over_the_time(walk):
    chosen = choose(*look(walk), 10)
    assert 8 <= len(chosen) <= 10
    assert sum(10 <= i <= 19 for i in chosen) <= 1
    assert 3 not in chosen


def test_a_blurred_part_has_no_frame():
    way, sharp = np.linspace(0, 2, 40), np.full(40, 100.0)
    sharp[20:24] = 10
    assert not {20, 21, 22, 23} & set(choose(way, sharp, 10))
    assert len(choose(way, sharp, 10)) == 9


def test_where_nothing_moves_there_is_one_frame():
    assert len(choose(np.zeros(50), np.arange(50.0), 20)) == 1


def test_near_duplicates_are_left_out():
    assert len(choose(np.linspace(0, 0.1, 100), np.ones(100), 80)) == 6  # 2 % of the picture's side apart


def test_stills_are_the_frames_of_their_numbers(walk, tmp_path):
    numbers = [0, 5, 9, 29]
    paths = [tmp_path / f"{i}.jpg" for i in numbers]
    assert list(write_stills(walk, numbers, paths)) == paths
    whole = [frame.numpy().astype(int) for frame in walk.read()]
    for number, path in zip(numbers, paths, strict=True):
        written = np.asarray(Image.open(path)).astype(int)
        assert np.abs(written - whole[number]).mean() < 2


def test_black_frames_have_no_way(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "color=black:s=64x48:r=10:d=1", "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    way, _ = look(probe(tmp_path / "a.mp4"))
    assert way[-1] == 0


def test_many_stills_are_as_good_as_few(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=30:d=5", "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    footage, numbers = probe(tmp_path / "a.mp4"), [*range(0, 150)]
    paths = [tmp_path / f"{i}.jpg" for i in numbers]
    assert list(write_stills(footage, numbers, paths)) == paths
    last = np.asarray(Image.open(paths[149])).astype(int)
    assert np.abs(last - [*footage.read()][149].numpy()).mean() < 6
