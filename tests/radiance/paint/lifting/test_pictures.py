"""Pictures of views as files."""

from __future__ import annotations

import pytest
import torch

from arf.errors import UserError
from arf.media import image
from arf.radiance.opening import open_photoreal
from arf.radiance.paint.lifting.pictures import export_views, read_pictures, view_called

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
    assert names[view_called(name, names, "it")] == found


@pytest.mark.parametrize("name", ["ab", "c", "", "B"])
def test_pictures_of_no_view(name):
    with pytest.raises(UserError, match=r"it is of no view: they are called b, a, a_1; arf lift RUN --export-views"):
        view_called(name, ["b", "a", "a_1"], "it")


def test_pictures_of_another_size_are_resized_and_one_file_does(fitted, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    file = tmp_path / f"{capture.train.names[5]}.jpg"
    image.write(file, image.resize(capture.train.image(5), 56, 57))  # a program that rounds to its liking
    pictures = read_pictures(file, capture.train)
    assert list(pictures) == [5]
    assert pictures[5].image.shape == (28, 28, 3)
