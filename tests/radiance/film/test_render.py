"""Films: the frames are the model's, the video is the frames, and what cannot be filmed is refused."""

from __future__ import annotations

from dataclasses import replace

import imageio_ffmpeg
import pytest
import torch

from arf.errors import UserError
from arf.media import image
from arf.radiance.capture.cameras import Cameras
from arf.radiance.film.render import camera_path, render
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted, picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.paths import shapes as paths
from arf.radiance.settings import RenderSettings

CPU = torch.device("cpu")
SHORT = RenderSettings(path="orbit", frames=3, fps=10, width=31, device="cpu")


def render_frame(model, cameras: Cameras, k: int, compare: bool = False, **options) -> torch.Tensor:
    """Frame k: photoreal of a field, painted of a painted scene, both beside each other."""
    if not isinstance(model, Painted):
        return picture(model, None, cameras[k])
    return torch.cat(picture(model.field, model.look, cameras[k], **options).split(3, dim=2)[0 if compare else 1 :], 1)


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


def test_a_shorter_film_leaves_no_frame_of_a_longer_one(fitted, tmp_path):
    """J12; what is no frame stays."""
    render(fitted, replace(SHORT, frames=3), tmp_path / "film")
    for name in ("100000.png", "notes.png", "0001.png"):
        (tmp_path / "film" / name).touch()
    with pytest.raises(UserError, match=r"film\.mp4 exists already; give --overwrite"):
        render(fitted, replace(SHORT, frames=2), tmp_path / "film")
    render(fitted, replace(SHORT, frames=2), tmp_path / "film", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "film").iterdir()) == ["00000.png", "00001.png", "0001.png", "notes.png"]


def test_frames_that_cannot_be_written_are_one_line(fitted, tmp_path):
    """They are written behind, while the next is rendered."""
    (tmp_path / "film").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot write .*film") as caught:
        render(fitted, SHORT, tmp_path / "film")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_a_film_that_is_interrupted_leaves_whole_frames_and_no_video(fitted, tmp_path):
    def stop(k: int, count: int) -> None:
        if k == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(fitted, replace(SHORT, frames=4), tmp_path / "film", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["film"]
    names = sorted(path.name for path in (tmp_path / "film").iterdir())
    assert names in (["00000.png"], ["00000.png", "00001.png"])
    assert all(image.read(tmp_path / "film" / name).shape == (31, 31, 3) for name in names)


def test_a_picture_that_is_not_finite_is_one_line(fitted):
    """However it came to be so: nobody is shown a film of nonsense."""
    field, capture = open_photoreal(fitted, CPU)
    with torch.no_grad():
        field.voxels.table[:, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        picture(field, None, capture.train.cameras[0])


def test_left_is_photoreal_and_right_is_stylized(stylized):
    model, capture = open_painted(stylized, CPU)
    cameras = paths.orbit(capture.train, 2, width=24).cameras
    both = render_frame(model, cameras, 1, compare=True)
    torch.testing.assert_close(both[:, 24:], render_frame(model, cameras, 1))
    torch.testing.assert_close(both[:, :24], render_frame(model.field, cameras, 1))
    assert (both[:, 24:] - both[:, :24]).abs().mean() > 0.02


def test_strength_and_colour_of_the_paint(stylized):
    model, capture = open_painted(stylized, CPU)
    cameras = paths.orbit(capture.train, 2, width=24).cameras
    photoreal, painted = render_frame(model, cameras, 1, compare=True).split(24, dim=1)
    assert torch.equal(render_frame(model, cameras, 1, strength=0.0), photoreal)
    assert torch.equal(render_frame(model, cameras, 1, strength=1.0), painted)
    inside = ((photoreal > 0) & (photoreal < 1) & (painted > 0) & (painted < 1)).all(-1)  # nothing was clamped
    assert inside.float().mean() > 0.5
    quarter = render_frame(model, cameras, 1, strength=0.25)
    torch.testing.assert_close(quarter[inside], (0.75 * photoreal + 0.25 * painted)[inside], atol=1e-5, rtol=0)
    both = render_frame(model, cameras, 1, compare=True, strength=0.25)
    assert torch.equal(both, torch.cat([photoreal, quarter], dim=1))
    kept = render_frame(model, cameras, 1, preserve_color=True)
    shift = kept - photoreal  # the same in red, green and blue: brightness alone
    inside &= ((kept > 0) & (kept < 1)).all(-1)
    torch.testing.assert_close(shift[inside], shift[inside].mean(-1, keepdim=True).expand(-1, 3), atol=1e-5, rtol=0)
    assert shift[inside].abs().mean() > 0.01


def test_looks_beside_each_other_are_all_blended(stylized):
    model, capture = open_painted(stylized, CPU)
    cameras = paths.orbit(capture.train, 2, width=24).cameras
    twice = picture(model.field, Look.beside([model.look, model.look]), cameras[1], 0.5).split(3, dim=2)
    assert len(twice) == 3
    assert torch.equal(twice[1], twice[2])
    torch.testing.assert_close(twice[1], render_frame(model, cameras, 1, strength=0.5))


def test_the_settings_reach_the_film(stylized, tmp_path):
    frames = []
    for name, options in (("a", {}), ("b", {"strength": 0.5}), ("c", {"preserve_color": True})):
        render(stylized, replace(SHORT, frames=1, **options), tmp_path / name)
        frames.append(image.read(tmp_path / name / "00000.png"))
    assert (frames[0] - frames[1]).abs().mean() > 0.01
    assert (frames[0] - frames[2]).abs().mean() > 0.01


def test_a_frame_at_a_training_view_is_near_its_photograph(fitted):
    model, capture = open_photoreal(fitted, CPU)
    error = (render_frame(model, capture.train.cameras, 0) - capture.train.image(0)).square().mean()
    assert error < 0.015


def test_an_exported_path_films_the_same(stylized, tmp_path):
    _, capture = open_painted(stylized, CPU)
    asked = camera_path(capture, SHORT.path, SHORT.frames, SHORT.fps, SHORT.width)
    render(stylized, replace(SHORT, save_path=tmp_path / "path.json", png=False), tmp_path / "film")
    read = camera_path(capture, str(tmp_path / "path.json"), SHORT.frames, SHORT.fps)
    assert len(read) == 3
    torch.testing.assert_close(read.cameras.poses, asked.cameras.poses, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "zigzag"}, "spiral, orbit, interpolate"),
        ({"path": "none.json"}, "none.json"),
        ({"width": 0}, "width is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"path": "spiral"}, "look the same way"),
        ({"device": "tpu"}, "cpu, cuda or auto"),
        ({"strength": 1.5}, "strength is 1.5; it must be between 0 and 1"),
        ({"strength": -0.1}, "strength is -0.1"),
        ({"strength": float("nan")}, "strength is nan"),
    ],
)
def test_what_cannot_be_filmed_leaves_nothing(stylized, tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        render(stylized, replace(SHORT, **change), tmp_path / "film")
    assert not list(tmp_path.iterdir())


def test_a_photoreal_run_has_nothing_to_compare(fitted, tmp_path):
    with pytest.raises(UserError, match="nothing to compare"):
        render(fitted, replace(SHORT, compare=True), tmp_path / "film")


@pytest.mark.parametrize("options", [{"strength": 0.5}, {"strength": 0.0}, {"preserve_color": True}])
def test_a_photoreal_run_has_no_style(fitted, tmp_path, options):
    with pytest.raises(UserError, match="is photoreal, it has no style"):
        render(fitted, replace(SHORT, **options), tmp_path / "film")
    assert not list(tmp_path.iterdir())
