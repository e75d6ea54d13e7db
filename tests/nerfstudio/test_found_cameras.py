"""nerfstudio opens the captures that `arf cameras` makes."""

from __future__ import annotations

import pytest
import street
import torch
from PIL import Image

from arf.radiance.capture.sfm.find import find_cameras
from arf.radiance.settings import CameraSettings

parsers = pytest.importorskip("nerfstudio.data.dataparsers.nerfstudio_dataparser")


def test_nerfstudios_own_parser_opens_them_upright_with_their_points(tmp_path):
    street.photograph(tmp_path / "photos", street.around(8))
    (tmp_path / "photos" / "masks").mkdir()
    Image.new("L", (320, 240), 255).save(tmp_path / "photos" / "masks" / "03.png")  # nerfstudio wants all, or none
    found = find_cameras([tmp_path / "photos"], tmp_path / "capture", CameraSettings())
    config = parsers.NerfstudioDataParserConfig(data=tmp_path / "capture", load_3D_points=True, eval_mode="all")
    opened = config.setup().get_dataparser_outputs("train")
    cameras, points = opened.cameras, opened.metadata["points3D_xyz"]
    assert len(opened.image_filenames) == found.placed == 8
    assert len(points) == found.points
    assert len(opened.mask_filenames) == 8
    assert torch.allclose(cameras.fx, torch.tensor(street.FOCAL), rtol=0.02)
    poses = cameras.camera_to_worlds
    assert (poses[:, 2, 0].abs() < 0.02).all()  # level
    assert (poses[:, 2, 1] > 0.5).all()
    for pose in poses:
        assert ((points - pose[:, 3]) @ pose[:, 2] < 0).float().mean() > 0.99  # in front of it
