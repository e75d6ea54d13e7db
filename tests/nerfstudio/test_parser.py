"""Captures of arf as nerfstudio reads them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captures import load, ring, write_transforms
from nerfstudio.cameras.cameras import Cameras
from PIL import Image

from arf.nerfstudio.config import manager
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.capture import CaptureConfig


def datasets(data, **options):
    """Those that `ns-train` makes of a capture: for training, for evaluation."""
    made = copy.deepcopy(manager())
    made.dataparser = CaptureDataParserConfig(data=data, **options)
    made.train_num_rays_per_batch = made.eval_num_rays_per_batch = 16
    built = made.setup(device="cpu")
    return built.train_dataset, built.eval_dataset


def from_nerfstudio(camera: Cameras) -> Camera:
    """One of nerfstudio's perspective cameras as ours."""
    inner = (float(part.flatten()[0]) for part in (camera.fx, camera.fy, camera.cx, camera.cy))
    size = (int(part.flatten()[0]) for part in (camera.width, camera.height))
    return Camera(camera.camera_to_worlds.view(3, 4), *inner, *size)


@pytest.mark.parametrize("lens", [{}, {"k1": 0.05, "k2": -0.02}])
@pytest.mark.parametrize("downscale", [None, 2.0])
def test_nerfstudio_reads_the_same_pixels_and_cameras(tmp_path, lens, downscale):
    root = write_transforms(tmp_path, ring(6), **lens)
    capture = load(root, downscale=downscale)
    for views, dataset in zip((capture.train, capture.held_out), datasets(root, downscale=downscale), strict=True):
        assert len(views) == len(dataset)
        for i, camera in enumerate(views.cameras):
            theirs = from_nerfstudio(dataset.cameras[i])
            assert torch.equal(theirs.pose, camera.pose)
            assert (theirs.fx, theirs.fy, theirs.cx, theirs.cy) == (camera.fx, camera.fy, camera.cx, camera.cy)
            data = dataset.get_data(i)
            torch.testing.assert_close(data["image"], views.image(i), rtol=0, atol=0.5 / 255 + 1e-6)
            origins, directions = camera.rays()
            bundle = dataset.cameras.generate_rays(i)
            torch.testing.assert_close(bundle.directions.view(-1, 3), directions, rtol=0, atol=1e-6)
            torch.testing.assert_close(bundle.origins.view(-1, 3), origins)


def test_masks_come_along_where_there_are_some(tmp_path):
    root = write_transforms(tmp_path, ring(6))
    assert "mask" not in datasets(root)[0].get_data(0)
    (root / "masks").mkdir()
    shape = np.asarray(Image.open(root / "images/02.png")).shape[:2]
    mask = np.full(shape, 255, np.uint8)
    mask[:, :7] = 0
    Image.fromarray(mask).save(root / "masks/02.png")
    train, held_out = datasets(root)
    for dataset in (train, held_out):
        for i, file in enumerate(dataset.image_filenames):
            data = dataset.get_data(i)
            found = data["mask"][..., 0] if "mask" in data else torch.ones(shape, dtype=torch.bool)
            assert torch.equal(found, torch.from_numpy(mask > 0) if file.stem == "02" else torch.ones_like(found))
    assert any("mask" in dataset.get_data(0) for dataset in (train, held_out))


def test_the_configuration_is_our_readers_own(tmp_path):
    config = CaptureConfig(tmp_path, format="colmap", model=3, downscale=2.0, held_out=0.25, scene="unbounded")
    assert CaptureDataParserConfig.of(config).capture_config() == config
