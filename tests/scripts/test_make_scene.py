"""The analytic capture that tests and benchmarks fit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_scene.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_scene", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(script, tmp_path_factory):
    out = tmp_path_factory.mktemp("scene")
    script.make_scene(out, size=24, train=5, test=2, seed=1)
    return out


def test_files_and_split(scene):
    meta = json.loads((scene / "transforms.json").read_text())
    names = [frame["file_path"] for frame in meta["frames"]]
    assert len(meta["train_filenames"]) == 5
    assert len(meta["test_filenames"]) == 2
    assert sorted(meta["train_filenames"] + meta["test_filenames"]) == sorted(names)
    for name in names:
        picture = np.asarray(Image.open(scene / name))
        assert picture.shape == (24, 24, 3)
        assert picture.std() > 15  # something is to be seen
        assert (picture == 255).all(-1).mean() < 0.05  # and no empty white behind it


def test_same_seed_same_bytes(script, scene, tmp_path):
    script.make_scene(tmp_path / "again", size=24, train=5, test=2, seed=1)
    script.make_scene(tmp_path / "other", size=24, train=5, test=2, seed=2)
    for file in sorted(p.relative_to(scene) for p in scene.rglob("*.*") if p.is_file()):
        assert (tmp_path / "again" / file).read_bytes() == (scene / file).read_bytes()
    picture = "images/frame_0000.png"
    assert (tmp_path / "other" / picture).read_bytes() != (scene / picture).read_bytes()


def test_cameras_look_inwards_from_inside_the_box(script):
    poses = script.make_cameras(50, seed=0)
    box = torch.tensor(script.SCENE_BOX)
    assert ((poses[:, :, 3] > box[0]) & (poses[:, :, 3] < box[1])).all()
    assert (script.distance(poses[:, :, 3]) > 0.05).all()  # and in front of walls and objects
    to_target = torch.tensor(script.TARGET) - poses[:, :, 3]
    cosines = (to_target / to_target.norm(dim=1, keepdim=True) * -poses[:, :, 2]).sum(1)
    assert (cosines > 0.99).all()


def test_a_fan_faces_forward_from_inside_the_box_and_sees_the_table(script, tmp_path):
    poses = script.fan(30, seed=0)
    box = torch.tensor(script.SCENE_BOX)
    assert ((poses[:, :, 3] > box[0]) & (poses[:, :, 3] < box[1])).all()
    assert (script.distance(poses[:, :, 3]) > 0.05).all()
    forward = -poses[:, :, 2]
    assert (forward @ forward.T).min() > 0.5  # no two look more than 60 degrees apart
    assert forward[:, 1].min() > 0.7  # along +y
    script.make_scene(tmp_path, size=16, train=2, test=1, height=12, cameras="fan", objects=["vase", "cone"])
    meta = json.loads((tmp_path / "transforms.json").read_text())
    assert (meta["w"], meta["h"], meta["cx"], meta["cy"]) == (16, 12, 8, 6)
    wide = np.asarray(Image.open(tmp_path / "images/frame_0001.png")).astype(float)
    assert wide.shape == (12, 16, 3)
    square = script.render_view(script.fan(3, seed=0)[1], 16)[2:14] * 255  # the same rays, with more above and below
    assert np.abs(wide - square.numpy()).max() < 1
    vase, cone = (
        np.asarray(Image.open(tmp_path / f"objects/{name}/frame_0001.png")) / 255 for name in ("vase", "cone")
    )
    assert vase.shape == (12, 16)
    assert vase.max() == 1  # it stands in the middle
    assert (vase + cone).max() <= 1.01  # a pixel's rays meet one thing each
    red, _, blue = wide.transpose(2, 0, 1) / 255
    assert (blue - red)[vase > 0.9].mean() > 0  # white and blue


def test_rays_end_on_surfaces_in_the_box(script):
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=1)
    origins = torch.tensor([0.0, 0.0, 0.9]).expand(500, 3)
    points = origins + script.trace(origins, directions)[:, None] * directions
    assert script.distance(points).abs().max() < 1e-3
    box = torch.tensor(script.SCENE_BOX)
    assert ((points > box[0]) & (points < box[1])).all()
    # Straight down on the vase's mouth, and straight up to the ceiling, by hand.
    up = torch.tensor([[0.0, 0.0, 1.0]])
    assert script.trace(torch.tensor([[1.2, 0.0, 0.9]]), up).item() == pytest.approx(0.6, abs=1e-3)
    assert script.trace(torch.tensor([[0.0, 0.75, 0.9]]), -up).item() == pytest.approx(0.9, abs=1e-3)  # the table


def test_colour_is_a_function_of_position_alone(script):
    # The same sphere point seen from two sides of its normal.
    point = torch.tensor([-0.40, 0.30, 0.48])
    colors = []
    for eye in ([-0.9, 0.1, 1.2], [0.1, 0.6, 1.2]):
        eye = torch.tensor([eye])
        direction = torch.nn.functional.normalize(point - eye, dim=1)
        hit = eye + script.trace(eye, direction)[:, None] * direction
        torch.testing.assert_close(hit[0], point, atol=2e-3, rtol=0)
        colors.append(script.shade(hit))
    torch.testing.assert_close(*colors, atol=0.02, rtol=0)


def test_arf_reads_it_as_a_bounded_capture(scene, script):
    from arf.radiance.capture.capture import CaptureConfig, load_capture

    capture = load_capture(CaptureConfig(data=scene))
    assert capture.kind == "bounded"
    assert (len(capture.train), len(capture.held_out)) == (5, 2)
    # Rays through the parsed cameras meet the surfaces that the pictures show.
    origins, directions = capture.train.cameras[3].rays()
    origins = origins / capture.scale - capture.transform[:, 3].float()
    points = origins + script.trace(origins, directions)[:, None] * directions
    difference = script.shade(points).reshape(24, 24, 3) - capture.train.image(3)
    assert difference.abs().median() < 0.02  # one ray against the mean of four
