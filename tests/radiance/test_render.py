"""Films: the frames are the model's, the video is the frames, and what cannot be filmed is refused."""

from __future__ import annotations

from dataclasses import replace

import imageio_ffmpeg
import pytest
import torch

from arf import image
from arf.errors import UserError
from arf.radiance import paths
from arf.radiance.render import camera_path, render, render_frame
from arf.radiance.scene import open_photoreal, open_stylized
from arf.settings import RenderSettings

CPU = torch.device("cpu")
SHORT = RenderSettings(path="orbit", frames=3, fps=10, width=31, device="cpu")


def test_a_comparison_is_filmed_side_by_side(stylized, tmp_path):
    video, frames = render(stylized, replace(SHORT, compare=True), tmp_path / "film")
    assert (video, frames) == (tmp_path / "film.mp4", 3)
    pngs = sorted((tmp_path / "film").iterdir())
    assert [p.name for p in pngs] == ["00000.png", "00001.png", "00002.png"]
    assert image.read(pngs[0]).shape == (31, 62, 3)
    reader = imageio_ffmpeg.read_frames(str(video))
    header = next(reader)
    assert header["source_size"] == (62, 32)  # the odd height is padded
    assert header["codec"] == "h264"
    assert header["fps"] == 10
    assert len(list(reader)) == 3


def test_left_is_photoreal_and_right_is_stylized(stylized):
    model, capture = open_stylized(stylized, CPU)
    cameras = paths.orbit(capture.train, 2, width=24).cameras
    both = render_frame(model, cameras, 1, compare=True)
    torch.testing.assert_close(both[:, 24:], render_frame(model, cameras, 1))
    torch.testing.assert_close(both[:, :24], render_frame(model.backbone, cameras, 1))
    assert (both[:, 24:] - both[:, :24]).abs().mean() > 0.02


def test_a_frame_at_a_training_view_is_near_its_photograph(fitted):
    model, capture = open_photoreal(fitted, CPU)
    error = (render_frame(model, capture.train.cameras, 0) - capture.train.image(0)).square().mean()
    assert error < 0.015


def test_an_exported_path_films_the_same(stylized, tmp_path):
    _, capture = open_stylized(stylized, CPU)
    asked = camera_path(capture, SHORT)
    paths.to_json(asked, tmp_path / "path.json")
    read = camera_path(capture, replace(SHORT, path=str(tmp_path / "path.json"), width=None))
    assert len(read) == 3
    torch.testing.assert_close(read.cameras.camera_to_worlds, asked.cameras.camera_to_worlds, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "zigzag"}, "spiral, orbit, interpolate"),
        ({"path": "none.json"}, "none.json"),
        ({"width": 0}, "width is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"path": "spiral"}, "look the same way"),
        ({"device": "tpu"}, "cpu, cuda or auto"),
    ],
)
def test_what_cannot_be_filmed_leaves_nothing(stylized, tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        render(stylized, replace(SHORT, **change), tmp_path / "film")
    assert not list(tmp_path.iterdir())


def test_a_photoreal_run_has_nothing_to_compare(fitted, tmp_path):
    with pytest.raises(UserError, match="nothing to compare"):
        render(fitted, replace(SHORT, compare=True), tmp_path / "film")
