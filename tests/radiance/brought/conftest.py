"""Files of splats and captures of the same scene."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from brought_things import SIDE, cameras, downwards, photograph, thing

from arf.media import image
from arf.radiance.capture.poses import to_square
from arf.radiance.fields.splats.files.ply import write_ply


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The thing as a .ply, y down, elsewhere and of another size."""
    splats = thing().moved(downwards(), torch.tensor([1.0, 2.0, 3.0]), 2.0)
    write_ply(tmp_path / "thing.ply", splats)
    return tmp_path / "thing.ply"


@pytest.fixture
def photographed(tmp_path: Path) -> Path:
    """A nerfstudio capture of the thing, z up."""
    folder = tmp_path / "capture"
    frames = []
    for k, camera in enumerate(cameras()):
        image.write(folder / f"images/{k}.png", photograph(camera))
        frames.append({"file_path": f"images/{k}.png", "transform_matrix": to_square(camera.pose).tolist()})
    lens = {"fl_x": 120, "fl_y": 120, "cx": SIDE / 2, "cy": SIDE / 2, "w": SIDE, "h": SIDE}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The same cameras as a cameras.json in the file's frame."""
    turn, entries = downwards().double(), []
    for k, camera in enumerate(cameras()):
        pose = camera.pose.double()
        position = 2 * turn @ (pose[:, 3] - torch.tensor([1.0, 2.0, 3.0]).double())
        rotation = turn @ pose[:, :3] * torch.tensor([1.0, -1, -1])
        size = {"id": k, "img_name": f"{k}", "width": SIDE, "height": SIDE, "fx": 120.0, "fy": 120.0}
        entries.append({**size, "position": position.tolist(), "rotation": rotation.tolist()})
    (tmp_path / "cameras.json").write_text(json.dumps(entries))
    return tmp_path / "cameras.json"
