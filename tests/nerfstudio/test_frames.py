"""Frames of captures that nerfstudio reads, too: its parsers as oracles for our readers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captures import load, names, ring, write_transforms
from colmaps import write_colmap
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig

from arf.radiance.capture.poses import to_square


@pytest.mark.parametrize("override", [None, "up", "vertical", "none", "pca"])
@pytest.mark.parametrize("spread", [2 * math.pi, 1.0])
def test_frame_is_nerfstudios(tmp_path, override, spread):
    turned = to_square(ring(1))[0].double() @ to_square(ring(9, arc=spread)).double()  # up is anywhere
    extra = {} if override is None else {"orientation_override": override}
    applied = np.eye(4)[[1, 2, 0]].tolist()
    root = write_transforms(tmp_path, turned[:, :3], applied_transform=applied, **extra)
    capture = load(root)
    config = NerfstudioDataParserConfig(data=root, downscale_factor=1, eval_mode="all", center_method="focus")
    theirs = config.setup().get_dataparser_outputs("train")
    poses = theirs.cameras.camera_to_worlds
    by_name = {path.name: pose for path, pose in zip(theirs.image_filenames, poses, strict=True)}
    expected = torch.stack([by_name[name] for name in names(capture.train)])
    if override == "pca":  # theirs turns the wrong way: ours has the axes that it means
        positions = torch.cat([capture.train.cameras.poses, capture.held_out.cameras.poses])[:, :, 3]
        covariance = (positions - positions.mean(0)).T @ (positions - positions.mean(0))
        assert (covariance - covariance.diag().diag()).abs().max() < 1e-4
        assert covariance[0, 0] >= covariance[1, 1] - 1e-4 >= covariance[2, 2] - 2e-4
        assert torch.linalg.det(capture.train.cameras.poses[0, :, :3]) == pytest.approx(1, abs=1e-5)
        return
    torch.testing.assert_close(capture.train.cameras.poses, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(capture.transform.float(), theirs.dataparser_transform, atol=1e-5, rtol=0)
    assert capture.scale == pytest.approx(theirs.dataparser_scale, rel=1e-5)


def test_frame_of_a_colmap_model_is_nerfstudios(tmp_path):
    write_colmap(tmp_path, ring(7), list(range(1, 8)))
    capture = load(tmp_path)
    config = ColmapDataParserConfig(data=tmp_path, downscale_factor=1, eval_mode="all", load_3D_points=False)
    theirs = config.setup().get_dataparser_outputs("train")
    assert theirs.image_filenames == sorted(capture.train.files + capture.held_out.files)
    ours = {name: camera.pose for name, camera in zip(names(capture.train), capture.train.cameras, strict=True)}
    for path, pose in zip(theirs.image_filenames, theirs.cameras.camera_to_worlds, strict=True):
        if path.name in ours:
            torch.testing.assert_close(ours[path.name], pose, atol=1e-5, rtol=0)
    torch.testing.assert_close(capture.transform.float(), theirs.dataparser_transform, atol=1e-5, rtol=0)
    assert capture.scale == pytest.approx(theirs.dataparser_scale, rel=1e-5)


def test_lego_is_what_nerfstudio_parses(assets):
    root = assets / "captures/lego"
    capture = load(root)
    assert (len(capture.train), len(capture.held_out)) == (100, 20)
    assert (capture.kind, capture.name) == ("bounded", "lego")
    theirs = BlenderDataParserConfig(data=root).setup().get_dataparser_outputs("train")
    assert capture.train.files == theirs.image_filenames
    torch.testing.assert_close(capture.scene_box, theirs.scene_box.aabb)
    torch.testing.assert_close(capture.train.cameras.poses, theirs.cameras.camera_to_worlds)
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        expected = getattr(theirs.cameras, name)[:, 0]
        torch.testing.assert_close(getattr(capture.train.cameras, name), expected, check_dtype=False)
    assert capture.train.image(0)[0, 0].tolist() == [1, 1, 1]
    assert capture.train.transparent
    assert capture.train.photograph(0).alpha[0, 0] == 0
    assert load(root, downscale=2, background=(0, 0, 0)).held_out.image(3).shape == (200, 200, 3)
