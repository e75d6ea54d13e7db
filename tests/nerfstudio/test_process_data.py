"""What ns-process-data writes goes in: folders made by nerfstudio's own code from a COLMAP model, without COLMAP."""

from __future__ import annotations

import json
import math
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from captures import load, original_poses, ring, transforms, write_picture, write_transforms
from colmaps import write_model
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.utils import colmap_parsing_utils as colmap
from nerfstudio.process_data.images_to_nerfstudio_dataset import ImagesToNerfstudioDataset
from nerfstudio.utils.rich_utils import CONSOLE
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.capture import detect
from arf.radiance.capture.lens import Lens

WIDTH, HEIGHT = 48, 34
OPENCV = colmap.Camera(1, "OPENCV", WIDTH, HEIGHT, np.array([40.0, 41.0, 24.5, 16.5, 0.1, 0.02, 0.001, 0.002]))
PINHOLE = colmap.Camera(3, "PINHOLE", WIDTH, HEIGHT, np.array([40.0, 41.0, 24.5, 16.5]))
FISHEYE = colmap.Camera(2, "OPENCV_FISHEYE", WIDTH, HEIGHT, np.array([20.0, 20.0, 24, 17, 0.01, 0.0, 0.0, 0.0]))


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Runs `ns-process-data images --skip-colmap` on small pictures: its folder, and the pictures' poses by name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(CONSOLE, "quiet", True)

    def run(count: int = 6, evaluation: int = 0, cameras: tuple[colmap.Camera, ...] = (OPENCV,), **options):
        names = [f"IMG_{i}.png" for i in range(count + evaluation)]
        for i, name in enumerate(names):
            write_picture(tmp_path / ("photos" if i < count else "others") / name, i, WIDTH, HEIGHT)
        root = tmp_path / "processed"
        write_model(root / "colmap/sparse/0", ring(len(names)), names, list(cameras))
        job = ImagesToNerfstudioDataset(
            data=tmp_path / "photos", output_dir=root, eval_data=tmp_path / "others" if evaluation else None,
            skip_colmap=True, colmap_cmd="true", **options,
        )  # fmt: skip
        job.main()
        return root

    return run


def pose_of(path: Path, count: int) -> torch.Tensor:
    """The pose of a processed picture: frame_00001 was the first photograph."""
    return ring(count)[int(path.stem.split("_")[-1]) - 1]


def assert_lens(lens: Lens, cameras: Cameras, i: int) -> None:
    """It shows what nerfstudio's ray of a pixel meets in that pixel."""
    row, column = torch.meshgrid(torch.arange(0.5, HEIGHT, 5), torch.arange(0.5, WIDTH, 5), indexing="ij")
    bundle = cameras.generate_rays(i, torch.stack([row, column], -1))
    local = bundle.directions.reshape(-1, 3) @ cameras.camera_to_worlds[i, :, :3] * torch.tensor([1.0, -1, -1])
    wanted = torch.stack([column, row], -1).reshape(-1, 2).double()
    torch.testing.assert_close(torch.from_numpy(lens.project(local.numpy())), wanted, rtol=0, atol=1e-3)


def test_cameras_are_colmaps_and_those_of_nerfstudios_parser(process):
    root = process()
    assert {"images", "images_2", "images_4", "images_8", "transforms.json", "sparse_pc.ply"} <= {
        p.name for p in root.iterdir()
    }
    meta = json.loads((root / "transforms.json").read_text())
    assert {"applied_transform", "ply_file_path", "camera_model", "frames", "fl_x", "k1"} <= meta.keys()
    assert "colmap_im_id" in meta["frames"][0]
    assert detect(root) == "nerfstudio"  # and not colmap, whose model is there too
    capture = load(root)
    assert (len(capture.train), len(capture.held_out)) == (5, 1)
    theirs = NerfstudioDataParserConfig(data=root, downscale_factor=1, center_method="focus", eval_mode="all")
    theirs = theirs.setup().get_dataparser_outputs("train")
    rows = {path.name: i for i, path in enumerate(theirs.image_filenames)}
    for views in (capture.train, capture.held_out):
        known = torch.stack([pose_of(path, 6) for path in views.files]).double()
        torch.testing.assert_close(original_poses(capture, views), known, atol=1e-5, rtol=0)  # in COLMAP's frame
        index = torch.tensor([rows[path.name] for path in views.files])
        torch.testing.assert_close(views.cameras.poses, theirs.cameras.camera_to_worlds[index], rtol=0, atol=1e-5)
        torch.testing.assert_close(views.cameras.fx, theirs.cameras.fx[index, 0])
        torch.testing.assert_close(views.cameras.fy, theirs.cameras.fy[index, 0])
        for i, path in enumerate(views.files):
            assert_lens(views.sources[i].lens, theirs.cameras, rows[path.name])
            photograph = views.photograph(i)
            counts = torch.ones(photograph.image.shape[:2], dtype=bool) if photograph.mask is None else photograph.mask
            value = np.asarray(Image.open(path).convert("RGB"))[0, 0, 1] / 255  # all its green and blue
            np.testing.assert_allclose(photograph.image[counts][:, 1:], value, atol=1e-6)
    torch.testing.assert_close(capture.transform.float(), theirs.dataparser_transform, rtol=0, atol=1e-6)
    assert capture.scale == pytest.approx(theirs.dataparser_scale)


@pytest.mark.parametrize(
    ("downscale", "folder", "size"),
    [(1, "images", (34, 48)), (2, "images_2", (17, 24)), (3, "images_2", (11, 16)), (4, "images_4", (8, 12))],
)
def test_downscaling_reads_the_pictures_that_are_there(process, downscale, folder, size):
    capture = load(process(cameras=(PINHOLE,)), downscale=downscale)
    assert {path.parent.name for path in capture.train.files} == {folder}
    assert capture.train.size(0) == size
    assert capture.train.image(0).shape == (*size, 3)
    assert float(capture.train.cameras.fx[0]) == pytest.approx(40 * size[1] / WIDTH)
    assert float(capture.train.cameras.cy[0]) == pytest.approx(16.5 * size[0] / HEIGHT)
    red = capture.train.image(0)[size[0] // 2, :, 0]  # the left half is
    assert red[: size[1] // 2 - 2].min() > 0.9 > 0.3 > red[size[1] // 2 + 2 :].max()


def test_shrunken_pictures_must_be_complete(process):
    root = process()
    (root / "images_2/frame_00003.png").unlink()
    assert {path.parent.name for path in load(root, downscale=2).train.files} == {"images"}
    for path in (root / "images").iterdir():
        path.unlink()  # only smaller ones are left
    assert {path.parent.name for path in load(root).train.files} == {"images_4"}
    for folder in root.glob("images*"):
        for path in folder.iterdir():
            path.unlink()
    with pytest.raises(UserError, match="none of its 6 photographs exists"):
        load(root)


def test_pictures_elsewhere_are_not_looked_for(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    meta = transforms(ring(4))
    for i, frame in enumerate(meta["frames"]):
        frame["file_path"] = f"photos/{i % 2}/{i:02d}.png"
        write_picture(root / frame["file_path"])
        write_picture(root / f"images_2/{i:02d}.png", width=12, height=8)
    (root / "transforms.json").write_text(json.dumps(meta))
    assert {path.parent.parent.name for path in load(root, downscale=2).train.files} == {"photos"}


def test_evaluation_pictures_are_held_out(process):
    capture = load(process(4, evaluation=2))
    assert [path.name for path in capture.train.files] == [f"frame_train_{i:05d}.png" for i in (1, 2, 3, 4)]
    assert [path.name for path in capture.held_out.files] == ["frame_eval_00001.png", "frame_eval_00002.png"]
    torch.testing.assert_close(original_poses(capture, capture.train), ring(6)[:4].double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(original_poses(capture, capture.held_out), ring(6)[4:].double(), atol=1e-5, rtol=0)


def test_several_cameras_keep_their_own_models(process):
    root = process(cameras=(OPENCV, FISHEYE))
    meta = json.loads((root / "transforms.json").read_text())
    assert "camera_model" not in meta
    assert {frame["camera_model"] for frame in meta["frames"]} == {"OPENCV", "OPENCV_FISHEYE"}
    capture = load(root)
    views = capture.train
    i = next(i for i, path in enumerate(views.files) if int(path.stem[-1]) % 2 == 0)  # the second camera's
    column, row = 40, 5
    x, y = (column + 0.5 - 24) / 20, (row + 0.5 - 17) / 20
    angle = radius = math.hypot(x, y)
    for _ in range(20):
        angle = radius / (1 + 0.01 * angle**2)  # undo the lens: its radius is angle (1 + k1 angle^2)
    side = math.sin(angle) / radius
    seen = np.array([[x * side, y * side, math.cos(angle)]])  # in COLMAP's axes
    np.testing.assert_allclose(views.sources[i].lens.project(seen), [[column + 0.5, row + 0.5]], atol=1e-3)
    other = next(i for i, path in enumerate(views.files) if int(path.stem[-1]) % 2 == 1)
    np.testing.assert_allclose(views.sources[other].lens.project(np.array([[0.0, 0, 1]])), [[24.5, 16.5]])
    assert (views.sources[i].lens.model, views.sources[other].lens.model) == ("OPENCV_FISHEYE", "OPENCV")
    meta["frames"][0]["camera_model"] = "PIGEON"
    (root / "transforms.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match=r"transforms\.json: frame .*: camera_model 'PIGEON' is not one of"):
        load(root)


def test_masks_of_a_processed_capture_count_and_its_depths_do_not_matter(process):
    root = process(percent_radius_crop=0.8)
    assert (root / "masks/mask.png").is_file()
    meta = json.loads((root / "transforms.json").read_text())
    for frame in meta["frames"]:  # as its camera_mask_path and --use-sfm-depth write them
        frame |= {"mask_path": "masks/mask.png", "depth_file_path": f"depths/{Path(frame['file_path']).stem}.png"}
    (root / "transforms.json").write_text(json.dumps(meta))
    views = load(root).train
    assert len(views) == 5
    mask = views.photograph(0).mask
    assert mask[17, 24]  # a disc in the middle
    assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_an_orientation_of_its_own(process):
    root = process()
    meta = json.loads((root / "transforms.json").read_text())
    (root / "transforms.json").write_text(json.dumps(meta | {"orientation_override": "none"}))  # Polycam's
    capture = load(root)
    applied = torch.tensor(meta["applied_transform"], dtype=torch.float64)
    torch.testing.assert_close(capture.transform[:, :3], applied[:, :3])
    known = torch.stack([pose_of(path, 6) for path in capture.train.files]).double()
    torch.testing.assert_close(original_poses(capture, capture.train), known, atol=1e-5, rtol=0)


@pytest.mark.parametrize("extra", [{}, {"arf_scene_box": [[-3, -3, -1], [5, 3, 2]]}])
def test_a_scale_that_was_applied_is_undone(tmp_path, extra):
    world = ring(6)
    turn, shift, scale = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]), torch.tensor([[0.5], [0], [2]]), 0.25
    poses = torch.cat([turn @ world[:, :, :3], scale * (turn @ world[:, :, 3:] + shift)], 2)
    applied = torch.cat([turn, shift], 1).tolist()
    root = write_transforms(tmp_path, poses, applied_transform=applied, applied_scale=scale, **extra)
    capture = load(root)
    known = world[[int(path.stem) for path in capture.train.files]].double()
    torch.testing.assert_close(original_poses(capture, capture.train), known, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0, -1, "big", float("nan"), None])
def test_a_scale_that_is_none(tmp_path, value):
    root = write_transforms(tmp_path, ring(4), applied_scale=value)
    with pytest.raises(UserError, match=r"transforms\.json: applied_scale is .*; it must be a positive number"):
        load(root)
