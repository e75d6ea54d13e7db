"""Captures of every format: what is read, how rays run, and what bad input gets."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from captures import FOCAL, HEIGHT, WIDTH, load, original_poses, ring, transforms, write_picture, write_transforms
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.capture import CaptureDataParserConfig, Views, load_capture, split_views
from arf.radiance.capture.pictures import CaptureDataset

# --- rays and pixels


def test_rays_of_a_pinhole_camera_by_hand():
    pose = ring(5)[3]
    cameras = Cameras(pose[None], fx=20.0, fy=25.0, cx=11.0, cy=7.0, width=WIDTH, height=HEIGHT)
    origins, directions = Views(cameras, [Path("none")]).rays(0)
    assert origins.shape == directions.shape == (HEIGHT * WIDTH, 3)
    for u, v in ((0, 0), (23, 0), (5, 9), (23, 15)):
        local = torch.tensor([(u + 0.5 - 11) / 20, -(v + 0.5 - 7) / 25, -1.0])  # OpenGL: y up, looks along −z
        expected = pose[:, :3] @ (local / local.norm())
        torch.testing.assert_close(directions[v * WIDTH + u], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(origins[v * WIDTH + u], pose[:, 3])


def test_rays_undo_lens_distortion_as_opencv_applies_it():
    k1, k2, p1, p2 = 0.0578421, -0.0805099, -0.000980296, 0.00015575  # fox
    distortion = torch.tensor([[k1, k2, 0, 0, p1, p2]])
    fx, fy, cx, cy = (value / 15 for value in (687.76, 687.245, 277.279, 482.634))
    intrinsics = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": 36, "height": 64}
    views = Views(Cameras(ring(1), distortion_params=distortion, **intrinsics), [Path("none")])
    _, directions = views.rays(0)
    local = directions.double() @ ring(1)[0, :, :3].double()  # camera axes, OpenGL
    points = (local * torch.tensor([1.0, -1, -1])).numpy()  # OpenCV: y down, looks along +z
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array([k1, k2, p1, p2]))
    v, u = np.divmod(np.arange(36 * 64), 36)
    np.testing.assert_allclose(pixels[:, 0], np.stack([u, v], 1) + 0.5, atol=2e-3)
    pinhole = Views(Cameras(ring(1), **intrinsics), [Path("none")]).rays(0)[1]
    assert (pinhole - directions).norm(dim=1).max() > 2e-3  # the lens matters in the corners


def test_rays_of_some_rows_are_those_of_the_whole_view(monkeypatch):
    intrinsics = {"fx": 20.0, "fy": 21.0, "cx": 11.0, "cy": 9.0, "width": 24, "height": 16}
    cameras = Cameras(ring(2), **intrinsics, distortion_params=torch.tensor([0.1, -0.05, 0.01, 0.0, 0.002, 0.001]))
    views = Views(cameras, [Path("none")] * 2)
    whole = torch.cat(views.rays(1), 1).view(16, 24, 6)
    monkeypatch.setattr("arf.radiance.capture.capture.RAYS", 10)
    for rows in (slice(None), slice(0, 1), slice(5, 9), slice(14, 99), slice(3, None, 5)):
        assert torch.equal(torch.cat(views.rays(1, rows), 1), whole[rows].reshape(-1, 6))


def test_downscaled_pictures_and_cameras_agree(tmp_path):
    # A picture whose left half is red: the ray through the edge must meet the edge at every scale, also 16 / 3.
    capture = load(write_transforms(tmp_path, ring(4)), downscale=3)
    views = capture.train
    assert views.size(0) == (5, 8)
    assert views.image(0).shape == (5, 8, 3)
    assert views.image(0).dtype == torch.float32
    red = views.image(0)[2, :, 0]
    np.testing.assert_allclose(red[:4], 1)
    assert red[4:].max() < 0.1
    assert float(views.cameras.fx[0]) == pytest.approx(FOCAL / 3)
    assert float(views.cameras.fy[0]) == pytest.approx(FOCAL * 5 / 16)  # the true ratio, not a third
    assert float(views.cameras.cy[0]) == pytest.approx(2.5)
    _, directions = views.rays(0)
    corner = torch.tensor([-(0.5 - 4) / (FOCAL / 3), (0.5 - 2.5) / (FOCAL * 5 / 16), 1.0]) * -1
    expected = views.cameras.camera_to_worlds[0, :, :3] @ (corner / corner.norm())
    torch.testing.assert_close(directions[0], expected, atol=1e-6, rtol=0)


def test_downscaling_averages_over_each_new_pixel(tmp_path):
    root = write_transforms(tmp_path, ring(2))
    stripes = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    stripes[:, ::2] = 200  # aliasing would turn these into black or white
    for name in ("00", "01"):
        Image.fromarray(stripes).save(root / f"images/{name}.png")
    np.testing.assert_allclose(load(root, downscale=2).train.image(0), 100 / 255, atol=1e-6)


@pytest.mark.parametrize(("background", "expected"), [((1.0, 1, 1), [0.75, 0.5, 0.5]), ((0.0, 1, 0), [0.25, 0.5, 0])])
def test_transparent_pictures_are_laid_on_the_background(tmp_path, background, expected):
    root = write_transforms(tmp_path, ring(3))
    for i in range(3):
        pixels = np.broadcast_to(np.array([128, 0, 0, 128], dtype=np.uint8), (HEIGHT, WIDTH, 4))
        Image.fromarray(pixels.copy()).save(root / f"images/{i:02d}.png")
    picture = load(root, background=background).train.image(0)
    np.testing.assert_allclose(picture[3, 4], expected, atol=0.006)


# --- real captures


def test_fox(assets, caplog):
    with caplog.at_level(logging.WARNING):
        capture = load(assets / "captures/fox", downscale=4)
    assert len(capture.train) + len(capture.held_out) == 50
    assert len(capture.held_out) == 6
    assert capture.kind == "unbounded"
    assert capture.bounds is None
    warnings = [r.getMessage() for r in caplog.records if r.name == "arf.radiance.capture.capture"]
    assert len(warnings) == 1
    assert "17 of 67" in warnings[0]
    assert "0005.jpg" in warnings[0]
    assert capture.train.image(0).shape == (240, 135, 3)
    torch.testing.assert_close(capture.train.cameras.distortion_params[0, :2], torch.tensor([0.0578421, -0.0805099]))
    assert float(capture.train.cameras.fx[0]) == pytest.approx(687.76 / 4, rel=1e-6)
    assert not {*capture.train.filenames} & {*capture.held_out.filenames}
    # The transform and scale lead back to the poses of the file.
    meta = json.loads((assets / "captures/fox/transforms.json").read_text())
    poses = {Path(f["file_path"]).name: torch.tensor(f["transform_matrix"])[:3] for f in meta["frames"]}
    expected = torch.stack([poses[p.name] for p in capture.train.filenames])
    torch.testing.assert_close(original_poses(capture, capture.train), expected, atol=2e-5, rtol=0)


def test_lego_is_what_nerfstudio_parses(assets):
    root = assets / "captures/lego"
    capture = load(root)
    assert (len(capture.train), len(capture.held_out)) == (100, 20)
    assert capture.kind == "bounded"
    assert capture.name == "lego"
    theirs = BlenderDataParserConfig(data=root).setup().get_dataparser_outputs("train")
    assert capture.train.filenames == theirs.image_filenames
    torch.testing.assert_close(capture.scene_box, theirs.scene_box.aabb)
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height"):
        torch.testing.assert_close(
            getattr(capture.train.cameras, name), getattr(theirs.cameras, name), check_dtype=False
        )
    assert capture.train.image(0)[0, 0].tolist() == [1, 1, 1]
    assert load(root, downscale=2, background=(0, 0, 0)).held_out.image(3).shape == (200, 200, 3)


def test_fern(assets):
    capture = load(assets / "captures/fern")
    assert len(capture.train) + len(capture.held_out) == 20
    assert capture.kind == "forward"
    assert capture.train.image(0).shape == (378, 504, 3)
    assert float(capture.train.cameras.fx[0]) == pytest.approx(3260.52633 / 8, rel=1e-6)
    assert capture.bounds[0] == pytest.approx(4 / 3)
    assert load(assets / "captures/fern", downscale=16).train.size(0) == (189, 252)


# --- splits


def test_split_is_seeded_covers_the_whole_and_leaves_no_view_out():
    train, held_out = split_views(50, 1 / 8, seed=3)
    assert sorted(train + held_out) == list(range(50))
    assert len(held_out) == 6
    assert all(50 * i / 6 - 1 <= view <= 50 * (i + 1) / 6 for i, view in enumerate(held_out))
    assert split_views(50, 1 / 8, seed=3) == (train, held_out)
    assert len({tuple(split_views(50, 1 / 8, seed)[1]) for seed in range(10)}) > 5
    assert [len(part) for part in split_views(2, 0.01, 0)] == [1, 1]
    assert [len(part) for part in split_views(3, 0.99, 0)] == [1, 2]


# --- through nerfstudio


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # nerfstudio's Cameras on recent torch
def test_nerfstudio_reads_the_same_pixels_and_cameras(tmp_path):
    from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig

    config = CaptureDataParserConfig(data=write_transforms(tmp_path, ring(9)), downscale=3)
    config = yaml.load(yaml.dump(config), Loader=yaml.Loader)  # as config.yml stores it
    capture = load_capture(config)
    manager = VanillaDataManagerConfig(_target=VanillaDataManager[CaptureDataset], dataparser=config).setup()
    for dataset, views in ((manager.train_dataset, capture.train), (manager.eval_dataset, capture.held_out)):
        assert len(dataset) == len(views)
        for i in range(len(views)):
            torch.testing.assert_close(dataset[i]["image"], views.image(i))
            assert torch.equal(dataset.get_data(i, "uint8")["image"], (views.image(i) * 255).round().byte())
        torch.testing.assert_close(dataset.cameras.camera_to_worlds, views.cameras.camera_to_worlds)
    assert {k: manager.train_dataset.metadata[k] for k in ("kind", "bounds")} == {"kind": "unbounded", "bounds": None}
    bundle, batch = manager.next_train(0)
    camera, y, x = batch["indices"][0].tolist()
    torch.testing.assert_close(bundle.directions[0], capture.train.rays(camera)[1][y * 8 + x])
    torch.testing.assert_close(batch["image"][0], capture.train.image(camera)[y, x])


# --- missing and damaged pictures, options


def test_masks_are_ignored_aloud(tmp_path, caplog):
    root = write_transforms(tmp_path, ring(4))
    meta = transforms(ring(4))
    for frame in meta["frames"]:
        frame["mask_path"] = "masks/0.png"
    (root / "transforms.json").write_text(json.dumps(meta))
    with caplog.at_level(logging.WARNING):
        assert len(load(root).train) == 3
    assert "masks are ignored" in caplog.text


def test_missing_pictures(tmp_path, caplog):
    root = write_transforms(tmp_path, ring(4))
    (root / "images/01.png").unlink()
    with caplog.at_level(logging.WARNING):
        capture = load(root)
    assert len(capture.train) + len(capture.held_out) == 3
    assert "1 of 4" in caplog.text
    for name in ("00", "03"):
        (root / f"images/{name}.png").unlink()
    with pytest.raises(UserError, match="one photograph"):
        load(root)
    (root / "images/02.png").unlink()
    with pytest.raises(UserError, match="none of its 4 photographs exists"):
        load(root)


def test_picture_of_another_size(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    write_picture(root / "images/02.png", width=12, height=8)
    with pytest.raises(UserError, match=r"02\.png is 12×8 pixels but its camera 24×16"):
        load(root)


def test_damaged_pictures(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    path = root / "images/02.png"
    whole = path.read_bytes()
    path.write_bytes(b"no picture at all")
    with pytest.raises(UserError, match=r"02\.png is not a picture"):
        load(root)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"02\.png is empty"):
        load(root)
    path.write_bytes(whole[: len(whole) // 2])  # a header that is sound, and half of the pixels
    capture = load(root)
    views = capture.train if path in capture.train.filenames else capture.held_out
    with pytest.raises(UserError, match=r"02\.png is corrupt or cut short"):
        views.image(views.filenames.index(path))


@pytest.mark.parametrize(
    "options", [{"downscale": 0.5}, {"held_out": 0.0}, {"held_out": 1.0}, {"background": (2, 0, 0)}]
)
def test_options_out_of_range(tmp_path, options):
    with pytest.raises(UserError, match=next(iter(options))):
        load(write_transforms(tmp_path, ring(3)), **options)
