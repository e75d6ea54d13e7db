"""The door: what a capture becomes, whatever its format; splits, options, and what bad input gets."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captures import (
    FOCAL,
    HEIGHT,
    WIDTH,
    load,
    names,
    original_poses,
    ring,
    row,
    transforms,
    write_llff,
    write_picture,
    write_transforms,
)
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.capture import split_views

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
STILL_LIFE = Path(__file__).resolve().parents[3] / "data/still-life"

# --- real captures


@pytest.mark.parametrize("name", ["fox", "fern", "lego", "still-life"])
def test_frames_are_those_of_nerfstudio_and_of_llff(request, name):
    """Names, splits and poses as nerfstudio 1.1.5's readers gave them, which worked in float32."""
    root = STILL_LIFE if name == "still-life" else request.getfixturevalue("assets") / "captures" / name
    capture, recorded = load(root), RECORDED[name]
    assert capture.kind == recorded["kind"]
    assert capture.scale == pytest.approx(recorded["scale"], rel=1e-6)
    np.testing.assert_allclose(capture.transform.flatten(), recorded["transform"], atol=2e-6)
    np.testing.assert_allclose(capture.space_box.flatten(), recorded["space_box"], atol=1e-6)
    assert capture.bounds == (recorded["bounds"] and pytest.approx(recorded["bounds"]))
    found = {}
    for split, views in (("train", capture.train), ("held_out", capture.held_out)):
        for file, camera in zip(views.files, views.cameras, strict=True):
            found[f"{file.parent.name}/{file.name}"] = split, camera.pose.flatten()
    assert {key: split for key, (split, _) in found.items()} == {k: v[0] for k, v in recorded["views"].items()}
    for key, (_, pose) in found.items():
        np.testing.assert_allclose(pose, recorded["views"][key][1:], atol=1e-5)
    focal = capture.train.cameras[0].fx, capture.train.cameras[0].fy
    assert focal == pytest.approx(recorded["intrinsics"][:2], rel=1e-5)


def test_fox(assets, caplog):
    with caplog.at_level(logging.WARNING):
        capture = load(assets / "captures/fox", downscale=4)
    assert (len(capture.train), len(capture.held_out)) == (44, 6)
    assert capture.kind == "unbounded"
    assert capture.bounds is None
    assert len(caplog.messages) == 1
    assert "17 of 67" in caplog.messages[0]
    assert "0005.jpg" in caplog.messages[0]
    assert float(capture.train.cameras.fx[0]) == pytest.approx(687.76 / 4, rel=2e-3)
    photograph = capture.train.photograph(0)
    assert photograph.image.shape == (*capture.train.size(0), 3)
    assert all(abs(ours - theirs) <= 3 for ours, theirs in zip(capture.train.size(0), (240, 135), strict=True))
    assert photograph.mask is None or photograph.mask.float().mean() > 0.99  # hardly a pixel lies beyond the border
    assert not {*capture.train.files} & {*capture.held_out.files}
    # The transform and scale lead back to the poses of the file.
    meta = json.loads((assets / "captures/fox/transforms.json").read_text())
    poses = {Path(f["file_path"]).name: torch.tensor(f["transform_matrix"]).double()[:3] for f in meta["frames"]}
    expected = torch.stack([poses[name] for name in names(capture.train)])
    torch.testing.assert_close(original_poses(capture, capture.train), expected, atol=2e-6, rtol=0)


def test_fern(assets):
    capture = load(assets / "captures/fern")
    assert len(capture.train) + len(capture.held_out) == 20
    assert capture.kind == "forward"
    assert capture.train.image(0).shape == (378, 504, 3)
    assert capture.train.photograph(0).mask is None
    assert float(capture.train.cameras.fx[0]) == pytest.approx(3260.52633 / 8, rel=1e-6)
    assert capture.bounds[0] == pytest.approx(4 / 3)
    assert load(assets / "captures/fern", downscale=16).train.size(0) == (189, 252)


# --- formats


def test_format_overrides_what_is_recognised(tmp_path):
    write_llff(tmp_path, row(5))
    (tmp_path / "transforms.json").write_text(json.dumps(transforms(row(5))))
    assert load(tmp_path).kind == "unbounded"
    assert load(tmp_path, format="llff").kind == "forward"


def test_no_such_capture_and_no_known_format(tmp_path):
    with pytest.raises(UserError, match=r"no capture at .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no known format; looked for transforms\.json.*poses_bounds\.npy.*sparse/0"):
        load(tmp_path)
    with pytest.raises(UserError, match="no COLMAP model"):
        load(tmp_path, format="colmap")
    with pytest.raises(UserError, match=r"transforms\.json"):
        load(tmp_path, format="nerfstudio")
    with pytest.raises(UserError, match=r"transforms_train\.json"):
        load(tmp_path, format="blender")
    with pytest.raises(UserError, match=r"poses_bounds\.npy"):
        load(tmp_path, format="llff")


@pytest.mark.parametrize("folder", [".", "images"])
def test_photographs_or_a_video_without_cameras_are_told_the_way_out(tmp_path, folder):
    """C20."""
    write_picture(tmp_path / folder / "a.png")
    with pytest.raises(UserError, match=r"photographs without cameras; arf cameras finds them .*arf fit"):
        load(tmp_path)
    (tmp_path / "walk.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(UserError, match=r"walk\.mp4 is a video without cameras; arf cameras finds them"):
        load(tmp_path / "walk.mp4")


# --- working size


def test_downscaled_pictures_and_cameras_agree(tmp_path):
    # A picture whose left half is red: the ray through the edge must meet the edge at every scale, also 16 / 3.
    views = load(write_transforms(tmp_path, ring(4)), downscale=3).train
    assert views.size(0) == (5, 8)
    image = views.image(0)
    assert image.shape == (5, 8, 3)
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image[2, :4, 0], 1)
    assert image[2, 4:, 0].max() < 0.1
    camera = views.cameras[0]
    assert camera.fx == pytest.approx(FOCAL / 3)
    assert camera.fy == pytest.approx(FOCAL * 5 / 16)  # the true ratio, not a third
    assert camera.cy == pytest.approx(2.5)
    _, directions = camera.rays()
    corner = torch.tensor([-(0.5 - 4) / (FOCAL / 3), (0.5 - 2.5) / (FOCAL * 5 / 16), 1.0]) * -1
    torch.testing.assert_close(directions[0], camera.pose[:, :3] @ (corner / corner.norm()), atol=1e-6, rtol=0)


def test_the_working_size_is_at_most_1024_pixels_unless_asked_for(tmp_path):
    meta = transforms(ring(3), w=2400, h=1600, cx=1200, cy=800, fl_x=2000, fl_y=2000)
    for i in range(3):
        write_picture(tmp_path / f"images/{i:02d}.png", i, 2400, 1600)
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    assert load(tmp_path).train.size(0) == (683, 1024)
    assert load(tmp_path, downscale=1).train.size(0) == (1600, 2400)
    assert load(tmp_path, downscale=4).train.size(0) == (400, 600)
    assert load(write_transforms(tmp_path / "small", ring(3))).train.size(0) == (HEIGHT, WIDTH)  # never enlarged


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


# --- what a run remembers


def test_fingerprint_notices_another_capture(tmp_path):
    """C14: photographs, poses, lenses and the split all count; where the capture lies does not."""
    first, again = (load(write_transforms(tmp_path / name, ring(6))) for name in "ab")
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 16
    root, others = tmp_path / "b", {first.fingerprint}

    def changed(**extra):
        (root / "transforms.json").write_text(json.dumps(transforms(ring(6), **extra)))
        others.add(load(root).fingerprint)
        return len(others)

    assert changed(fl_x=20.5) == 2
    assert changed(k1=0.01) == 3
    assert changed(train_filenames=["images/00.png", "images/01.png"], test_filenames=["images/02.png"]) == 4
    (root / "transforms.json").write_text(json.dumps(transforms(ring(6, radius=2.001))))
    assert load(root).fingerprint not in others
    (root / "transforms.json").write_text(json.dumps(transforms(ring(6))))
    assert load(root).fingerprint == first.fingerprint
    write_picture(root / "images/03.png", value=200, width=WIDTH, height=HEIGHT)
    Image.effect_noise((WIDTH, HEIGHT), 50).convert("RGB").save(root / "images/03.png")
    assert load(root).fingerprint != first.fingerprint
    (root / "images/03.png").unlink()
    assert load(root).fingerprint != first.fingerprint


# --- missing and damaged pictures, options


def test_missing_pictures(tmp_path, caplog):
    root = write_transforms(tmp_path, ring(4))
    (root / "images/01.png").unlink()
    with caplog.at_level(logging.WARNING):
        capture = load(root)
    assert len(capture.train) + len(capture.held_out) == 3
    assert len(caplog.messages) == 1
    assert "1 of 4" in caplog.text
    for name in ("00", "03"):
        (root / f"images/{name}.png").unlink()
    with pytest.raises(UserError, match="one photograph"):
        load(root)
    (root / "images/02.png").unlink()
    with pytest.raises(UserError, match="none of its 4 photographs exists"):
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
    views = capture.train if path in capture.train.files else capture.held_out
    with pytest.raises(UserError, match=r"02\.png is corrupt or cut short"):
        views.image(views.files.index(path))


@pytest.mark.parametrize("fmt", ["nerfstudio", "llff"])
def test_files_that_never_end_are_refused_or_missing(tmp_path, fmt, caplog):
    """J25: only regular files are opened."""
    name = {"nerfstudio": "transforms.json", "llff": "poses_bounds.npy"}[fmt]
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=name):
        load(tmp_path)
    root = write_transforms(tmp_path / "scene", ring(4))
    (root / "images/01.png").unlink()
    os.mkfifo(root / "images/01.png")
    (root / "images/03.png").unlink()
    (root / "images/03.png").symlink_to("/dev/zero")
    capture = load(root)
    assert len(capture.train) + len(capture.held_out) == 2
    assert "2 of 4" in caplog.text


def test_all_cameras_in_one_place(tmp_path):
    """C13: a tripod's panorama has no depth."""
    poses = ring(5)
    poses[:, :, 3] = torch.tensor([3e5, 4e6, 100.0])
    with pytest.raises(UserError, match="all 5 cameras are in one place, which shows no depth"):
        load(write_transforms(tmp_path, poses))


@pytest.mark.parametrize(
    "options",
    [
        {"downscale": 0.5},
        {"downscale": math.nan},
        {"downscale": 1e9},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"background": (2, 0, 0)},
        {"seed": -1},
    ],
)
def test_options_out_of_range(tmp_path, options):
    """J30."""
    with pytest.raises(UserError, match=next(iter(options))):
        load(write_transforms(tmp_path, ring(3)), **options)


def test_views_are_selected_and_resized(tmp_path):
    capture = load(write_transforms(tmp_path, ring(9)))
    part = capture.train.select([4, 1])
    assert names(part) == [names(capture.train)[i] for i in (4, 1)]
    assert torch.equal(part.image(1), capture.train.image(1))
    small = replace(part, cameras=part.cameras.resized(torch.tensor([[12, 8], [12, 8]])))
    assert small.image(0).shape == (8, 12, 3)


def test_a_forward_scene_needs_bounds(tmp_path):
    with pytest.raises(UserError, match="forward-facing scene needs depth bounds"):
        load(write_transforms(tmp_path, ring(4)), scene="forward")
