"""Captures of runs of ns-train: our readers give the views that nerfstudio's own parsers gave in training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from captures import HEIGHT, WIDTH, ring, transforms, write_picture, write_transforms
from colmaps import write_colmap
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig, DataparserOutputs
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from voxels import ball_model

from arf.errors import UserError
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.nerfstudio.runs.captures import READ, load_foreign, recorded_frame
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.poses import to_square
from arf.radiance.capture.views import Capture, Views
from arf.radiance.evaluate.fidelity import evaluate


def parsed(parser: DataParserConfig, folder: Path) -> tuple[dict[str, Any], DataparserOutputs, DataparserOutputs]:
    """What reading a run of this dataparser gives, and what the dataparser gave: for training and for evaluation."""
    split = "val" if isinstance(parser, BlenderDataParserConfig) else "test"
    train, held_out = (parser.setup().get_dataparser_outputs(name) for name in ("train", split))
    train.save_dataparser_transform(folder / "dataparser_transforms.json")
    values = {f.name: getattr(parser, f.name) for f in dataclasses.fields(parser) if f.name != "_target"}
    values = json.loads(json.dumps(values, default=str))
    name = next(name for name, kind in READ.items() if isinstance(parser, kind))
    return {**values, "name": name, "frame": recorded_frame(folder)}, train, held_out


def assert_same(views: Views, theirs: DataparserOutputs) -> None:
    assert [file.name for file in views.files] == [path.name for path in theirs.image_filenames]
    poses = theirs.cameras.camera_to_worlds
    poses = poses * torch.linalg.det(poses[:, :, :3]).sign()[:, None, None]  # some of its pca's are mirrored
    torch.testing.assert_close(views.cameras.poses, poses, rtol=0, atol=5e-6)  # theirs are float32's
    for name in ("fx", "fy", "cx", "cy"):
        torch.testing.assert_close(getattr(views.cameras, name), getattr(theirs.cameras, name)[:, 0].float())


def assert_same_capture(parser: DataParserConfig, folder: Path) -> Capture:
    values, train, held_out = parsed(parser, folder)
    capture = load_foreign(values)
    assert_same(capture.train, train)
    assert_same(capture.held_out, held_out)
    return capture


def tilted(count: int) -> torch.Tensor:
    """A ring that stands askew, far from the origin."""
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    poses = (turn * torch.linalg.det(turn)) @ ring(count, arc=4.0)
    poses[:, :, 3] += torch.tensor([3.0, -1, 2])
    return poses


PLAIN = {
    "fraction": {"train_split_fraction": 0.7},
    "interval": {"eval_mode": "interval", "eval_interval": 3},
    "all": {"eval_mode": "all"},
    "pca": {"orientation_method": "pca"},
    "vertical, focus": {"orientation_method": "vertical", "center_method": "focus"},
    "as it is": {"orientation_method": "none", "center_method": "none", "auto_scale_poses": False},
    "uncentred": {"center_method": "none"},
    "scaled": {"scale_factor": 0.4, "scene_scale": 2.0},
}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_views_frame_and_split_are_those_of_nerfstudios_parser(tmp_path, options):
    root = write_transforms(tmp_path / "shed", tilted(11))
    parser = NerfstudioDataParserConfig(data=root, **options)
    capture = assert_same_capture(parser, tmp_path)
    assert capture.kind == "unbounded"
    assert capture.scene_box.tolist() == [[-parser.scene_scale] * 3, [parser.scene_scale] * 3]
    assert len(capture.train) == 11 or len(capture.train) > len(capture.held_out) > 0


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_pca_turns_as_nerfstudios_does(tmp_path, spread):
    for seed in range(4):  # upside down or not
        poses = ring(9, arc=spread)
        turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))[0]
        root = write_transforms(tmp_path / "shed", (turn * torch.linalg.det(turn)) @ poses)
        parser = NerfstudioDataParserConfig(data=root, orientation_method="pca", center_method="focus", eval_mode="all")
        assert_same_capture(parser, tmp_path)


def test_a_split_by_filename(tmp_path):
    root = write_transforms(tmp_path / "shed", tilted(6))
    meta = transforms(tilted(6))
    for i, frame in enumerate(meta["frames"]):
        frame["file_path"] = f"images/frame_{'eval' if i in (0, 4) else 'train'}_{i:05d}.png"
        write_picture(root / frame["file_path"], i)
    (root / "transforms.json").write_text(json.dumps(meta))
    named = assert_same_capture(NerfstudioDataParserConfig(data=root, eval_mode="filename"), tmp_path)
    assert (len(named.train), len(named.held_out)) == (4, 2)
    assert len(assert_same_capture(NerfstudioDataParserConfig(data=root, eval_mode="all"), tmp_path).train) == 6


def test_a_capture_may_have_no_held_out_view(tmp_path):
    """Nine tenths of six views, rounded up."""
    capture = assert_same_capture(NerfstudioDataParserConfig(data=write_transforms(tmp_path, ring(6))), tmp_path)
    assert (len(capture.train), len(capture.held_out)) == (6, 0)
    with pytest.raises(UserError, match="no view was held out"):
        evaluate(ball_model(), capture.held_out)


def test_lists_of_the_capture_go_before_the_parsers_split(tmp_path):
    names = [f"images/{i:02d}.png" for i in range(9)]
    lists = {"train_filenames": names[1:6], "test_filenames": [names[8], names[6]], "val_filenames": names[6:7]}
    root = write_transforms(tmp_path / "shed", tilted(9), **lists)
    capture = assert_same_capture(NerfstudioDataParserConfig(data=root, orientation_method="pca"), tmp_path)
    assert (len(capture.train), len(capture.held_out)) == (5, 2)  # and the frame is that of all nine


def test_frames_are_sorted_as_nerfstudio_sorts_them(tmp_path):
    root = write_transforms(tmp_path / "shed", tilted(5))
    meta = transforms(tilted(5))
    for frame, name in zip(meta["frames"], ("b-1", "b/2", "a/9", "a/10", "B/1"), strict=True):
        frame["file_path"] = f"images/{name}.png"
        write_picture(root / frame["file_path"])
    (root / "transforms.json").write_text(json.dumps(meta))
    assert_same_capture(NerfstudioDataParserConfig(data=root, eval_mode="interval", eval_interval=2), tmp_path)


@pytest.mark.parametrize(
    "extra",
    [
        {"applied_transform": [[0, 1, 0, 2], [1, 0, 0, 0], [0, 0, -1, 3]]},
        {"applied_transform": [[0, 1, 0, 2], [1, 0, 0, 0], [0, 0, -1, 3]], "applied_scale": 0.5},
        {"applied_scale": 3.0},
        {"orientation_override": "none"},
        {"arf_scene_box": [[-1, -2, -1], [5, 3, 2]]},
    ],
)
def test_what_the_capture_says_of_its_world(tmp_path, extra):
    root = write_transforms(tmp_path / "shed", tilted(6), **extra)
    assert_same_capture(NerfstudioDataParserConfig(data=root), tmp_path)


def test_a_capture_of_an_old_ns_process_data(tmp_path):
    """It has no applied_transform; nerfstudio records one where a COLMAP model lies beside it."""
    root = write_transforms(tmp_path / "shed", tilted(6))
    (root / "colmap" / "sparse" / "0").mkdir(parents=True)
    assert_same_capture(NerfstudioDataParserConfig(data=root), tmp_path)
    assert_same_capture(NerfstudioDataParserConfig(data=root / "transforms.json"), tmp_path)  # there it does not look


def test_photographs_are_as_small_as_the_run_had_them(tmp_path):
    root = write_transforms(tmp_path / "shed", tilted(6))
    for i in range(6):
        write_picture(root / f"images_2/{i:02d}.png", i, WIDTH // 2, HEIGHT // 2)
    capture = assert_same_capture(NerfstudioDataParserConfig(data=root, downscale_factor=2), tmp_path)
    assert capture.train.size(0) == (HEIGHT // 2, WIDTH // 2)
    assert capture.train.files[0].parent.name == "images_2"


COLMAP = {
    "as it comes": {"eval_interval": 4},
    "fraction": {"eval_mode": "fraction", "train_split_fraction": 0.6},
    "pca, focus": {"orientation_method": "pca", "center_method": "focus", "eval_mode": "all"},
    "as it is": {"orientation_method": "none", "center_method": "none", "scale_factor": 2.0},
    "its own axes": {"orientation_method": "none", "assume_colmap_world_coordinate_convention": False},
}


@pytest.mark.parametrize("options", COLMAP.values(), ids=COLMAP)
def test_a_colmap_model_by_nerfstudios_parser(tmp_path, options):
    root = write_colmap(tmp_path / "shed", tilted(7), [9, 2, 4, 1, 30, 3, 12])  # the numbers' order, not the names'
    parser = ColmapDataParserConfig(data=root, downscale_factor=1, load_3D_points=False, **options)
    assert_same_capture(parser, tmp_path)


def test_a_colmap_model_with_lists(tmp_path):
    root = write_colmap(tmp_path / "shed", tilted(5), [1, 2, 3, 4, 5])
    (root / "train_list.txt").write_text("00.png\n01.png\n04.png\n")
    (root / "test_list.txt").write_text("03.png\n")
    parser = ColmapDataParserConfig(data=root, downscale_factor=1, load_3D_points=False)
    assert len(assert_same_capture(parser, tmp_path).train) == 3


def test_photographs_of_a_colmap_model_elsewhere_are_refused(tmp_path):
    root = write_colmap(tmp_path / "shed", tilted(4), [1, 2, 3, 4])
    parser = ColmapDataParserConfig(data=root, downscale_factor=1, load_3D_points=False)
    values, *_ = parsed(parser, tmp_path)
    with pytest.raises(UserError, match="photographs in photos; arf looks for them in images"):
        load_foreign({**values, "images_path": "photos"})


@pytest.mark.parametrize("options", [{}, {"scale_factor": 0.5, "alpha_color": "black"}])
def test_a_capture_of_blenders_by_nerfstudios_parser(tmp_path, options):
    root = tmp_path / "shed"
    for split, poses in (("train", ring(5)), ("val", ring(3, radius=2.5))):
        frames = []
        for i, pose in enumerate(to_square(poses)):
            write_picture(root / f"{split}/r_{5 - i}.png", i)  # in no order of names
            frames.append({"file_path": f"./{split}/r_{5 - i}", "transform_matrix": pose.tolist()})
        meta = {"camera_angle_x": 0.7, "frames": frames}
        (root / f"transforms_{split}.json").write_text(json.dumps(meta))
    parser = BlenderDataParserConfig(data=root, **options)
    values, train, held_out = parsed(parser, tmp_path)
    capture = load_foreign(values)
    assert_same(capture.train, train)
    assert_same(capture.held_out, held_out)
    assert torch.equal(torch.tensor(capture.train.background), train.alpha_color)
    with pytest.raises(UserError, match="alpha_color 'clear', which is none"):
        load_foreign({**values, "alpha_color": "clear"})


def test_a_capture_of_ours_is_read_as_ours(tmp_path):
    root = write_transforms(tmp_path / "shed", tilted(9))
    parser = CaptureDataParserConfig(data=root, held_out=0.3, seed=2)
    capture = assert_same_capture(parser, tmp_path)
    own = load_capture(CaptureConfig(data=root, held_out=0.3, seed=2))
    assert capture.fingerprint == own.fingerprint


PARSERS = {"theirs": NerfstudioDataParserConfig, "ours": CaptureDataParserConfig}


@pytest.mark.parametrize("kind", PARSERS.values(), ids=PARSERS)
def test_a_capture_that_moved_is_refused(tmp_path, kind):
    root = write_transforms(tmp_path / "shed", tilted(6))
    values, *_ = parsed(kind(data=root), tmp_path)
    poses = tilted(6)
    poses[2, 0, 3] += 0.1
    write_transforms(root, poses)
    with pytest.raises(UserError, match="has changed since the run was trained"):
        load_foreign(values)


@pytest.mark.parametrize("kind", PARSERS.values(), ids=PARSERS)
def test_pictures_outside_are_asked_for_by_whoever_opens_the_run(tmp_path, kind):
    """J28: what a stranger's run says of that does not count."""
    write_transforms(tmp_path / "far", ring(5))
    meta = transforms(ring(5))
    for frame in meta["frames"]:
        frame["file_path"] = f"../far/{frame['file_path']}"
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "transforms.json").write_text(json.dumps(meta))
    name = next(name for name, known in READ.items() if known is kind)
    values = {"name": name, "data": str(tmp_path / "near")}
    if kind is CaptureDataParserConfig:
        values["allow_outside"] = True
    with pytest.raises(UserError, match="--allow-outside"):
        load_foreign(values)
    assert len(load_foreign(values, allow_outside=True).train) == (4 if kind is CaptureDataParserConfig else 5)


@pytest.mark.parametrize("frame", [{}, [], {"transform": "x", "scale": 1}, {"transform": [[0] * 4] * 3, "scale": -1}])
def test_a_strangers_frame_is_checked(tmp_path, frame):
    root = write_transforms(tmp_path / "shed", ring(5))
    with pytest.raises(UserError, match="the frame that the run recorded is damaged"):
        load_foreign({"name": "nerfstudio-data", "data": str(root), "frame": frame})
