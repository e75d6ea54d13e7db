"""Pictures of views as files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from arf.errors import UserError
from arf.media import image
from arf.radiance.opening import open_photoreal
from arf.radiance.paint.lifting.pictures import export_views, read_mask, read_pictures, view_called, view_like

CPU = torch.device("cpu")


def test_exports_are_not_overwritten(fitted, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    export_views(capture.train, tmp_path)
    before = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
    with pytest.raises(UserError, match="exists already"):
        export_views(capture.train, tmp_path)
    with pytest.raises(UserError, match="read by this command"):
        export_views(capture.train, capture.train.files[0].parent, overwrite=True)
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(("name", "found"), [
    ("a", "a"), ("a-mosaic-adain", "a"), ("a_1", "a_1"), ("a_1-2", "a_1"), ("a_12", "a"), ("a 2", "a"), ("b.new", "b"),
])  # fmt: skip
def test_pictures_are_called_as_their_views(name, found):
    names = ["b", "a", "a_1"]
    assert names[view_like(name, names, "it")] == found


@pytest.mark.parametrize("name", ["ab", "c", "", "B"])
def test_pictures_of_no_view(name):
    with pytest.raises(UserError, match=r"it is of no view: they are called b, a, a_1; arf lift RUN --export-views"):
        view_like(name, ["b", "a", "a_1"], "it")


def test_pictures_of_another_size_are_resized_and_one_file_does(fitted, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    file = tmp_path / f"{capture.train.names[5]}.jpg"
    image.write(file, image.resize(capture.train.image(5), 56, 57))  # a program that rounds to its liking
    pictures = read_pictures(file, capture.train)
    assert list(pictures) == [5]
    assert pictures[5].image.shape == (28, 28, 3)


def test_a_view_that_is_named_is_that_one(fitted):
    """Not one that is called alike: `photo (2)` may be held out, and `photo` is another one."""
    assert view_called("photo", ["photo", "photo (1)"], "it") == 0
    with pytest.raises(UserError, match="is of no view"):
        view_called("photo (2)", ["photo", "photo (1)"], "it")
    with pytest.raises(UserError, match=r"is of the view photo \(2\), which is held out for evaluation"):
        view_like("photo (2)", ["photo", "photo (1)"], "it", ["photo (2)"])
    assert view_like("photo (1)-mosaic", ["photo", "photo (1)"], "it", ["photo (2)"]) == 1


def test_what_is_transparent_bleaches_nothing(fitted, tmp_path):
    """A soft red stroke on nothing is red, and says as much as it is opaque."""
    _, capture = open_photoreal(fitted, CPU)
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[4:20, 4:20] = 255, 0, 0, 128
    file = tmp_path / f"{capture.train.names[2]}.png"
    Image.fromarray(pixels).save(file)
    pixels[..., 3][8:12, 8:12] = 255
    Image.fromarray(pixels).save(file)
    picture, weight = read_pictures(file, capture.train)[2].target()
    assert torch.equal(picture[6, 6], torch.tensor([1.0, 0.0, 0.0]))
    assert weight[6, 6] == pytest.approx(0.5, abs=0.01)
    assert weight[10, 10] == 1
    assert weight[24, 24] == 0


def test_white_on_nothing_is_a_mask_of_what_is_painted(tmp_path):
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[:, :14] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png", "v", (28, 28))
    assert mask[:, :13].min() > 0.95
    assert mask[:, 15:].max() < 0.05
    Image.fromarray(np.zeros((28, 28, 4), np.uint8)).save(tmp_path / "n.png")
    with pytest.raises(UserError, match="is empty as a mask"):
        read_mask(tmp_path / "n.png", "v", (28, 28))
