from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from arf.errors import UserError
from arf.media import image
from arf.training.data import Samples, Source, stream


@pytest.fixture
def folder(tmp_path):
    """Five pictures, each of one grey level, 60 × 40 pixels."""
    for i in range(5):
        Image.fromarray(np.full((40, 60, 3), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def source(folder, **options) -> Source:
    return Source(sorted(folder.glob("*.png")), 32, **options)


def levels(batches) -> list[int]:
    return [round(float(p.mean()) * 255 / 40) for batch in batches for p in batch.pictures[0]]


def test_every_picture_comes_once_before_any_comes_again(folder):
    seen = levels(stream(Samples([source(folder)], 16, 0), 0, 10, 2))
    for turn in range(4):
        assert sorted(seen[5 * turn : 5 * turn + 5]) == [0, 1, 2, 3, 4]
    assert seen[:5] != seen[5:10] or seen[5:10] != seen[10:15]


def test_a_stream_can_be_entered_anywhere_and_shared(folder):
    samples = Samples([source(folder)], 16, 3)
    whole = list(stream(samples, 0, 4, 4))
    later = list(stream(samples, 2, 4, 4, workers=1))
    for one, other in zip(whole[2:], later, strict=True):
        assert one.samples == other.samples
        assert torch.equal(one.pictures[0], other.pictures[0])
    halves = [list(stream(samples, 0, 4, 4, rank=rank, ranks=2)) for rank in range(2)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(batch.pictures[0][0::2], first.pictures[0])
        assert torch.equal(batch.pictures[0][1::2], second.pictures[0])
    other_seed = next(stream(Samples([source(folder)], 16, 4), 0, 1, 8))
    assert levels([other_seed]) != levels([next(stream(samples, 0, 1, 8))])


def test_crops_are_squares_at_the_asked_scale(tmp_path):
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None] * 2, (64, 128, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    for zoom, low, high in ((1.0, 15.5, 16.5), (0.25, 7.5, 16.5)):  # source pixels that a crop's sides span
        spans = []
        for batch in stream(Samples([Source([tmp_path / "ramp.png"], 32, zoom=zoom)], 8, 0), 0, 20, 1):
            (crop,) = batch.pictures[0]
            assert crop.shape == (3, 8, 8)
            row = crop[0].mean(0) * 255 / 2
            spans.append(abs(float(row[-2] - row[1])) / 5 * 8)
        assert low <= min(spans)
        assert max(spans) <= high
        assert (max(spans) - min(spans) > 3) == (zoom < 1)


def test_two_crops_of_one_picture_differ_and_belong_together(folder):
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    Image.fromarray(noise).save(folder / "5.png")
    batch = next(stream(Samples([source(folder, crops=2, zoom=0.5)], 16, 0), 0, 1, 6))
    first, second = batch.pictures
    flat = first.flatten(1).std(1) < 1e-3
    torch.testing.assert_close(first[flat], second[flat])
    assert int((~flat).sum()) == 1
    assert not torch.allclose(first[~flat], second[~flat])


def test_broken_files_are_named_and_replaced(folder):
    (folder / "1.png").write_bytes(b"no picture")
    (folder / "2.png").write_bytes((folder / "3.png").read_bytes()[:60])
    batches = list(stream(Samples([source(folder)], 16, 0), 0, 5, 2, workers=1))
    assert {name.rsplit("/", 1)[1] for batch in batches for name in batch.broken} == {"1.png", "2.png"}
    assert set(levels(batches)) == {0, 3, 4}
    for path in folder.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="32 pictures in a row cannot be read"):
        next(stream(Samples([source(folder)], 16, 0), 0, 1, 1))
    with pytest.raises(UserError, match=r"^32 pictures in a row cannot be read"):  # nothing of the other process
        next(stream(Samples([source(folder)], 16, 0), 0, 1, 1, workers=1))


def test_the_reason_of_the_last_is_said(folder):
    """J14: a folder whose pictures need a package, say."""
    for path in folder.glob("*.png"):
        path.write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(UserError, match=r"cannot be read; of the last: .*\.png is a video; arf video paints videos"):
        next(stream(Samples([source(folder)], 16, 0), 0, 1, 1))


def test_sources_are_drawn_independently(folder):
    batch = next(stream(Samples([source(folder), source(folder)], 16, 0), 0, 1, 40))
    one, other = (levels([type(batch)([pictures], [])]) for pictures in batch.pictures)
    assert one != other


def test_large_jpegs_are_decoded_smaller(tmp_path):
    Image.new("RGB", (640, 480), (200, 30, 30)).save(tmp_path / "large.jpg")
    assert image.read(tmp_path / "large.jpg", short_side=100).shape == (120, 160, 3)
    assert image.read(tmp_path / "large.jpg", short_side=121).shape == (240, 320, 3)
    assert image.read(tmp_path / "large.jpg", short_side=2000).shape == (480, 640, 3)
    colour = image.read(tmp_path / "large.jpg", short_side=100)[60, 80] * 255
    assert (colour - torch.tensor([200.0, 30, 30])).abs().max() < 3
