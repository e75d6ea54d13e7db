"""The whole way from photographs to a capture, of a place that is seen by exact cameras."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import street
from clips import ffmpeg
from matched import blanked
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm import find
from arf.radiance.capture.sfm.find import as_capture, find_cameras, place_for
from arf.radiance.capture.sfm.native import Colmap
from arf.radiance.settings import CameraSettings

POSES = street.around(9)
SETTINGS = CameraSettings()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street") / "street"
    street.photograph(folder, POSES)
    return folder


@pytest.fixture(scope="module")
def made(photographs):
    """A capture, and what was said of it."""
    folder = photographs.parent / "capture"
    return folder, find_cameras([photographs], folder, SETTINGS)


def aligned(frames: dict[int, np.ndarray], poses: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """After the similarity that fits best: the largest distance between centres in extents of the cameras' places, and
    its rotation."""
    numbers = sorted(frames)
    ours = np.stack([frames[i][:3, 3] for i in numbers])
    true = np.stack([poses[i][:, 3] for i in numbers])
    best = pycolmap().estimate_sim3d(ours, true)
    off = ours @ best.matrix()[:, :3].T + best.matrix()[:, 3] - true
    return float(np.linalg.norm(off, axis=1).max() / np.ptp(true, axis=0).max()), best.rotation.matrix()


def frames_of(folder) -> tuple[dict, dict[int, np.ndarray]]:
    meta = json.loads((folder / "transforms.json").read_text())
    return meta, {int(f["file_path"][-6:-4]): np.array(f["transform_matrix"]) for f in meta["frames"]}


def test_every_camera_is_where_it_was(made):
    folder, found = made
    assert (found.placed, found.of, found.left_out, found.pieces) == (9, 9, [], [9])
    assert found.points > 300
    assert found.error < 0.5
    meta, frames = frames_of(folder)
    error, turn = aligned(frames, POSES)
    assert error < 0.005
    assert meta["fl_x"] == meta["fl_y"] == pytest.approx(street.FOCAL, rel=0.02)
    for i, pose in frames.items():
        assert np.abs(turn @ pose[:3, :3] - POSES[i][:, :3]).max() < 0.01


def test_the_ground_is_down_and_the_middle_is_the_middle(made):
    folder, _ = made
    _, frames = frames_of(folder)
    _, turn = aligned(frames, POSES)
    assert turn @ [0, 0, 1] == pytest.approx([0, 0, 1], abs=0.03)
    assert np.mean([np.linalg.norm(pose[:3, 3]) for pose in frames.values()]) == pytest.approx(4, rel=0.01)
    # the place looked at, [0, 0, 0.3], by way of a camera and its distance there
    axis = POSES[0][:, :3].T @ (np.array([0, 0, 0.3]) - POSES[0][:, 3])
    seen = frames[0][:3, :3] @ axis * 4 / 3.2 + frames[0][:3, 3]
    assert np.linalg.norm(seen) < 0.4


def test_the_capture_opens_and_its_points_lie_on_the_place(made):
    folder, found = made
    capture = load_capture(CaptureConfig(folder))
    assert len(capture.train) + len(capture.held_out) == 9
    assert capture.kind == "unbounded"
    points = capture.points.read()
    assert len(points) == found.points
    for camera in capture.train.cameras:
        local = (points.places - camera.pose[:, 3].numpy()) @ camera.pose[:, :3].numpy()
        assert np.median(-local[:, 2]) > 0  # in front


def test_the_model_is_colmaps(made):
    folder, found = made
    model = pycolmap().Reconstruction(folder / "colmap" / "sparse" / "0")
    assert model.num_reg_images() == 9
    assert model.num_points3D() == found.points
    for image in model.images.values():  # upright in its own frame, too, where -y is up
        assert image.cam_from_world().rotation.matrix()[1, 1] > 0.5


def test_a_second_call_costs_nothing(made, photographs, monkeypatch):
    folder, found = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(find, "_solve", None)
    assert find_cameras([photographs], folder, SETTINGS) == found
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


class Stop(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("stage", ["photos", "features", "matches", "cameras"])
def test_stopped_and_gone_on_with(photographs, made, tmp_path, monkeypatch, stage):
    def stop(what, done, of, figures):
        if what == stage:
            raise Stop

    with pytest.raises(KeyboardInterrupt, match="the same command goes on with it"):
        find_cameras([photographs], tmp_path / "capture", SETTINGS, stop)
    if stage in ("matches", "cameras"):  # features are there
        do = Colmap.do
        monkeypatch.setattr(
            Colmap, "do", lambda self, job, *a, **k: do(self, job, *a, **k) if job != "extract" else 1 / 0
        )
    found = find_cameras([photographs], tmp_path / "capture", SETTINGS)
    assert found.placed == 9


def test_more_photographs_leave_the_matches_of_the_first_ones(photographs, tmp_path):
    folder, given = tmp_path / "capture", tmp_path / "street"
    given.mkdir()
    for path in sorted(photographs.iterdir())[:7]:
        shutil.copy2(path, given)
    assert find_cameras([given], folder, SETTINGS).placed == 7
    kept = blanked(folder / "colmap" / "database.db")
    for path in sorted(photographs.iterdir())[7:]:
        shutil.copy2(path, given)
    assert find_cameras([given], folder, SETTINGS).placed == 9
    assert kept()


def test_a_photograph_less_is_no_trouble(photographs, tmp_path):
    folder, given = tmp_path / "capture", tmp_path / "street"
    shutil.copytree(photographs, given)
    find_cameras([given], folder, SETTINGS)
    (given / "08.jpg").unlink()
    assert find_cameras([given], folder, SETTINGS).placed == 8
    assert not (folder / "images" / "08.jpg").exists()
    assert len(load_capture(CaptureConfig(folder)).train) == 7


def test_what_is_masked_has_no_features(photographs, tmp_path):
    given = tmp_path / "street"
    shutil.copytree(photographs, given)
    mask = np.full((240, 320), 255, np.uint8)
    mask[:, :160] = 0
    (given / "masks").mkdir()
    for path in photographs.iterdir():
        Image.fromarray(mask).save(given / "masks" / f"{path.stem}.png")
    with suppress(UserError):  # too little may be left
        find_cameras([given], tmp_path / "capture", SETTINGS)
    with pycolmap().Database.open(tmp_path / "capture" / "colmap" / "database.db") as database:
        for image in database.read_all_images():
            assert database.read_keypoints(image.image_id)[:, 0].min() >= 159


def test_two_places_are_two_pieces(photographs, tmp_path, caplog):
    given = tmp_path / "both"
    shutil.copytree(photographs, given)
    for i, path in enumerate(street.photograph(tmp_path / "other", street.around(6), seed=1)):
        shutil.copy(path, given / f"other{i}.jpg")
    found = find_cameras([given], tmp_path / "capture", SETTINGS)
    assert found.pieces == [9, 6]
    assert {left.shown for left in found.left_out} == {f"other{i}.jpg" for i in range(6)}
    assert {left.why for left in found.left_out} == {"in another piece of 6"}
    assert any("fall into pieces that do not hang together: 9 are used, not 6" in line for line in caplog.messages)


def test_who_is_left_out_is_named_with_the_reason(photographs, tmp_path, caplog):
    given = tmp_path / "street"
    shutil.copytree(photographs, given)
    Image.new("RGB", (320, 240)).save(given / "black.jpg")
    (given / "broken.jpg").write_bytes((given / "00.jpg").read_bytes()[:3000])
    street.photograph(tmp_path / "other", street.around(1), seed=2)[0].rename(given / "other.jpg")
    found = find_cameras([given], tmp_path / "capture", SETTINGS)
    assert (found.placed, found.of) == (9, 12)
    why = {left.shown: left.why for left in found.left_out}
    assert why["black.jpg"] == "dark, blank or plain"
    assert why["broken.jpg"].startswith("corrupt or cut short")
    assert why["other.jpg"] == "shows nothing that another one shows"
    assert any(line.startswith("no camera for 3 of 12 photographs: broken.jpg: corrupt") for line in caplog.messages)


def test_who_found_no_place_gets_a_second_look(photographs, tmp_path, monkeypatch):
    match, asked = find.match, []

    def without_one(colmap, database, pairs, **rest):
        asked.append(len(pairs))
        some = [pair for pair in pairs if rest.get("again") or "08.jpg" not in pair]
        match(colmap, database, some, **rest)

    monkeypatch.setattr(find, "match", without_one)
    assert find_cameras([photographs], tmp_path / "capture", SETTINGS).placed == 9
    assert asked == [36, 8]
    assert aligned(frames_of(tmp_path / "capture")[1], POSES)[0] < 0.005


def turned(folder, count: int) -> None:
    """Photographs from one spot."""
    folder.mkdir()
    for i, angle in enumerate(np.linspace(-0.25, 0.25, count)):
        pose, c, s = street.look_from(3, 0, 1.5), np.cos(angle), np.sin(angle)
        pose[:, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ pose[:, :3]
        Image.fromarray(street.see(pose)).save(folder / f"{i}.png")


@pytest.mark.parametrize(("what", "line"), [
    ("from one spot", "show no depth.*walk around the place"),
    ("black", "4 of 4 photographs are dark, blurred or plain"),
    ("of different places", "no common place, or overlap too little"),
    ("two", "different photographs: 2; 3 are needed at least"),
])  # fmt: skip
def test_what_cannot_be_placed_is_refused_in_one_line(tmp_path, what, line):
    given = tmp_path / "in"
    if what == "from one spot":
        turned(given, 7)
    elif what == "two":
        street.photograph(given, POSES[:2])
    else:
        given.mkdir()
        for i in range(4):
            seen = np.full((240, 320, 3), i, np.uint8) if what == "black" else street.see(POSES[2 * i], seed=i)
            Image.fromarray(seen).save(given / f"{i}.png")
    with pytest.raises(UserError, match=line) as refusal:
        find_cameras([given], tmp_path / "capture", SETTINGS)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "capture" / "transforms.json").exists()


def test_nothing_is_written_over(photographs, made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "transforms.json").write_text("{}")
    with pytest.raises(UserError, match="holds something already"):
        find_cameras([photographs], tmp_path / "mine", SETTINGS)
    with pytest.raises(UserError, match="holds something already"):
        find_cameras([photographs], photographs, SETTINGS)
    with pytest.raises(UserError, match="lies in the capture itself"):
        find_cameras([made[0] / "images"], made[0], SETTINGS)


def test_what_has_cameras_is_left_as_it_is(made, tmp_path):
    assert as_capture([made[0]], tmp_path, SETTINGS) == made[0]
    with pytest.raises(UserError, match=r"--matching has no use for .*, which has cameras"):
        as_capture([made[0]], tmp_path, CameraSettings(matching="similar"))


def test_photographs_have_one_place_for_their_capture(photographs, tmp_path):
    assert place_for([photographs], tmp_path) == tmp_path / "captures" / "street"
    folder = as_capture([photographs], tmp_path, SETTINGS)
    assert folder == place_for([photographs], tmp_path) == tmp_path / "captures" / "street"
    other = shutil.copytree(photographs, tmp_path / "elsewhere" / "street")
    assert place_for([other], tmp_path) == tmp_path / "captures" / "street-2"


def test_an_unfinished_capture_is_not_gone_on_with_on_its_own_word(photographs, tmp_path):
    """Its notes may be a stranger's, and name what is private."""

    def stop(what, *_):
        if what == "features":
            raise Stop

    with pytest.raises(KeyboardInterrupt):
        as_capture([photographs], tmp_path, SETTINGS, stop)
    folder = tmp_path / "captures" / "street"
    with pytest.raises(UserError, match="has no cameras yet; name the photographs"):
        as_capture([folder], tmp_path, SETTINGS)
    assert as_capture([photographs], tmp_path, SETTINGS) == folder
    assert as_capture([folder], tmp_path, SETTINGS) == folder


@pytest.mark.parametrize("name", ["../../victim.jpg", "/victim.jpg", ".hidden.jpg"])
def test_notes_that_name_what_lies_elsewhere_are_refused(photographs, tmp_path, name):
    folder = as_capture([photographs], tmp_path, SETTINGS)
    notes = json.loads((folder / "arf_cameras.json").read_text())
    notes["taken"][0]["name"] = name
    (folder / "arf_cameras.json").write_text(json.dumps(notes))
    with pytest.raises(UserError, match=r"names the picture .* which is none of ours"):
        find_cameras([photographs], folder, SETTINGS)


def test_old_cameras_are_not_left_with_new_pictures(photographs, tmp_path):
    given = shutil.copytree(photographs, tmp_path / "street")
    folder = as_capture([given], tmp_path, SETTINGS)
    shutil.copy(given / "01.jpg", given / "05.jpg")

    def stop(what, *_):
        if what == "features":
            raise Stop

    with pytest.raises(KeyboardInterrupt):
        as_capture([given], tmp_path, SETTINGS, stop)
    assert not (folder / "transforms.json").exists()
    assert not (folder / "colmap" / "sparse").exists()


def test_another_places_capture_is_not_written_over(photographs, made, tmp_path):
    other = street.photograph(tmp_path / "other", street.around(3, 0.3))[0].parent
    with pytest.raises(UserError, match=r"is the capture of .*street; name another folder"):
        find_cameras([other], made[0], SETTINGS)


def test_a_damaged_database_is_made_again(photographs, tmp_path):
    folder = as_capture([photographs], tmp_path, SETTINGS)
    (folder / "transforms.json").unlink()
    (folder / "colmap" / "database.db").write_bytes(b"x" * 5000)
    assert find_cameras([photographs], folder, SETTINGS).placed == 9


def test_features_found_anew_have_new_matches(photographs, tmp_path, monkeypatch):
    given = shutil.copytree(photographs, tmp_path / "street")
    folder = as_capture([given], tmp_path, SETTINGS)
    shutil.copy(given / "08.jpg", given / "09.jpg")
    Image.open(given / "09.jpg").resize((640, 480)).resize((320, 240)).save(given / "09.jpg")
    monkeypatch.setattr("arf.radiance.capture.sfm.features.PLAIN", 10**6)
    asked, do = [], Colmap.do

    def noted(self, job, *more, **values):
        if job == "extract":
            asked.append(bool(values["afresh"]))
        return do(self, job, *more, **values)

    monkeypatch.setattr(Colmap, "do", noted)
    found = find_cameras([given], folder, SETTINGS)
    assert asked == [False, True]
    assert found.placed >= 9
    assert aligned(frames_of(folder)[1] | {9: frames_of(folder)[1][8]}, [*POSES, POSES[8]])[0] < 0.02


def test_a_clip_becomes_a_capture(tmp_path):
    """A walk, filmed with the camera on its side."""
    walk = street.around(24, 1.6)
    for i, pose in enumerate(walk):
        (tmp_path / "raw").mkdir(exist_ok=True)
        turned = Image.fromarray(street.see(pose, 240, 320)).transpose(Image.Transpose.ROTATE_90)
        turned.save(tmp_path / "raw" / f"{i:03d}.png")
    ffmpeg("-framerate", 10, "-i", tmp_path / "raw" / "%03d.png", "-crf", 14, "-pix_fmt", "yuv420p", tmp_path / "a.mp4")
    ffmpeg("-display_rotation", 270, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "walk.mp4")
    folder = as_capture([tmp_path / "walk.mp4"], tmp_path, CameraSettings(frames=10))
    meta = json.loads((folder / "transforms.json").read_text())
    assert (meta["w"], meta["h"]) == (240, 320)
    assert meta["fl_x"] == pytest.approx(street.FOCAL, rel=0.03)
    frames = {int(f["file_path"][-10:-4]): np.array(f["transform_matrix"]) for f in meta["frames"]}
    assert len(frames) >= 8
    error, turn = aligned(frames, walk)
    assert error < 0.01
    assert turn @ [0, 0, 1] == pytest.approx([0, 0, 1], abs=0.05)


def test_a_clip_in_which_nothing_moves_is_refused(tmp_path):
    Image.fromarray(street.see(POSES[0])).save(tmp_path / "a.png")
    ffmpeg("-loop", 1, "-i", tmp_path / "a.png", "-t", 1, "-r", 10, "-pix_fmt", "yuv420p", tmp_path / "still.mp4")
    with pytest.raises(UserError, match=r"the camera hardly moves \(frames that differ: 1\)"):
        find_cameras([tmp_path / "still.mp4"], tmp_path / "capture", SETTINGS)


def test_one_picture_many_times_is_one(photographs, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(40):
        shutil.copy(photographs / "00.jpg", tmp_path / "in" / f"{i}.jpg")
    with pytest.raises(UserError, match="different photographs: 1; 3 are needed"):
        find_cameras([tmp_path / "in"], tmp_path / "capture", SETTINGS)


def test_three_photographs_are_enough_where_they_overlap(tmp_path):
    street.photograph(tmp_path / "in", street.around(3, 0.4))
    assert find_cameras([tmp_path / "in"], tmp_path / "capture", SETTINGS).placed == 3


def test_damaged_notes_are_told(photographs, tmp_path):
    folder = as_capture([photographs], tmp_path, SETTINGS)
    (folder / "arf_cameras.json").write_text('{"format": 1, "arf": 3}')
    with pytest.raises(UserError, match=r"arf_cameras\.json: .*remove the folder"):
        find_cameras([photographs], folder, SETTINGS)
