"""Camera paths while they are made: names, files, and what films see of them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from visitors import Compass

from arf.errors import UserError
from arf.radiance.paths.files import from_json
from arf.radiance.viewer.draft import Draft, file_name, free_file, saved_names

KEYS = list(Compass().cameras.poses[:4])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("round the table", "round the table"),
        ("Küche_2-b", "Küche_2-b"),
        ("../../etc/passwd", "etcpasswd"),
        ("..", "path"),
        ("", "path"),
        ("/", "path"),
        ("C:\\windows\\x", "Cwindowsx"),
        (".hidden", "hidden"),
        ("--path", "path"),
        ("a\x00b\nc", "abc"),
        ("  a  ", "a"),
        ("x" * 500, "x" * 48),
        ("a.json", "ajson"),
    ],
)
def test_names_are_never_paths(name, file):
    assert file_name(name) == file


def test_nothing_is_overwritten(tmp_path):
    draft = Draft(60.0, 64, 48, KEYS)
    files = [draft.save(tmp_path / "deep", name) for name in ("a", "a", "../a", "a-2")]
    assert [file.name for file in files] == ["a.json", "a-2.json", "a-3.json", "a-2-2.json"]
    assert saved_names(tmp_path / "deep") == ["a", "a-2", "a-2-2", "a-3"]
    assert saved_names(tmp_path / "missing") == []
    (tmp_path / "b.json").symlink_to(tmp_path / "nowhere")
    assert free_file(tmp_path, "b").name == "b-2.json"


def test_a_film_sees_what_was_made(tmp_path):
    draft = Draft(60.0, 64, 48, KEYS, fps=10.0, seconds=2.0)
    path = from_json(draft.save(tmp_path, "a"))
    assert len(path) == 20
    assert path.fps == 10
    assert path.cameras.size(0) == (48, 64)
    torch.testing.assert_close(path.cameras.fy, torch.full((20,), 24 / math.tan(math.radians(30))))
    torch.testing.assert_close(path.cameras.poses, draft.poses(), atol=1e-5, rtol=0)
    torch.testing.assert_close(path.cameras.poses[[0, -1]], torch.stack([KEYS[0], KEYS[-1]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loop", [False, True])
def test_a_saved_path_is_gone_on_with(tmp_path, loop):
    draft = Draft(61.5, 641, 480, KEYS, 24.0, 3.5, loop)
    again = Draft.load(draft.save(tmp_path, "a"))
    torch.testing.assert_close(torch.stack(again.keys), torch.stack(KEYS))
    assert {**vars(again), "keys": 0} == {**vars(draft), "keys": 0}


def test_a_loop_comes_back_to_where_it_began():
    poses = Draft(60.0, 64, 48, KEYS, fps=50.0, seconds=4.0, loop=True).poses()
    assert len(poses) == 200
    torch.testing.assert_close(poses[0], KEYS[0], atol=1e-5, rtol=0)
    steps = (torch.cat([poses, poses[:1]])[1:, :, 3] - poses[:, :, 3]).norm(dim=1)
    assert steps[-1] == pytest.approx(float(steps[0]), rel=0.1)  # the last frame is one step before the first
    for key in KEYS:
        assert (poses - key).abs().amax((1, 2)).min() < 0.06


@pytest.mark.parametrize("keys", [[], KEYS[:1]])
def test_one_keyframe_is_no_path(tmp_path, keys):
    with pytest.raises(UserError, match="two keyframes or more"):
        Draft(60.0, 64, 48, keys).save(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keyframes": None}, "no 'keyframes'"),
        ({"keyframes": []}, "no 'keyframes'"),
        ({"keyframes": [3]}, "keyframe 1 has no 'matrix' of 16 numbers"),
        ({"keyframes": [{"matrix": [0.0] * 15}]}, "keyframe 1 has no 'matrix' of 16 numbers"),
        ({"keyframes": [{"matrix": ["x"] * 16}]}, "keyframe 1: the pose is not a matrix of numbers"),
        ({"keyframes": [{"matrix": [0.0] * 16}]}, "keyframe 1: the pose"),
        (
            {"keyframes": [{"matrix": [1, 0, 0, 1e5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}]},
            "keyframe 1 is 1e\\+05 units away",
        ),
        ({"fps": "many"}, "'fps' is 'many', not a number"),
        ({"fps": 10**400}, r"'fps' is 1000\d+\.\.\.0+, not a number"),
        ({"seconds": float("nan")}, "'seconds' is nan, not a number"),
        ({"seconds": True}, "'seconds' is True, not a number"),
        ({"render_width": None}, "'width' is None, not a number"),
    ],
)
def test_files_that_are_no_paths_are_refused_in_one_line(tmp_path, change, message):
    file = Draft(60.0, 64, 48, KEYS).save(tmp_path, "a")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message) as refusal:
        Draft.load(file)
    assert "\n" not in str(refusal.value)


def test_what_is_out_of_range_is_brought_back(tmp_path):
    file = Draft(60.0, 64, 48, KEYS).save(tmp_path, "a")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fps": 1e9, "render_width": 1, "seconds": -3}))
    draft = Draft.load(file)
    assert (draft.fps, draft.width, draft.seconds) == (120, 16, 0.1)
    assert isinstance(draft.width, int)
