from __future__ import annotations

import pytest
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.intake.pile import gather, holds_pictures


def write(path, value: int = 0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value, 0, 0)).save(path)
    return path


def video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\0\0\x18ftypmp42")
    return path


def shown(pile) -> list[str]:
    return [pile.shown[file] for file in (*pile.photographs, *pile.clips)]


def test_folders_hold_what_lies_below_them(tmp_path):
    for i, name in enumerate(("b.jpg", "a.PNG", "day 2/c.jpeg", ".hidden.jpg", ".thumbs/d.jpg")):
        write(tmp_path / name, i)
    video(tmp_path / "walk.MOV")
    (tmp_path / "notes.txt").write_text("x")
    assert shown(gather([tmp_path])) == ["a.PNG", "b.jpg", "day 2/c.jpeg", "walk.MOV"]


def test_files_stand_for_themselves(tmp_path):
    paths = [write(tmp_path / "a.jpg"), video(tmp_path / "b.mp4")]
    assert shown(gather([*paths, paths[0]])) == ["a.jpg", "b.mp4"]


def test_a_video_of_another_suffix_is_one(tmp_path):
    assert shown(gather([video(tmp_path / "clip.bin")])) == ["clip.bin"]


def test_smaller_copies_beside_images_are_none(tmp_path):
    write(tmp_path / "images" / "a.png", 1)
    write(tmp_path / "images_2" / "a.png", 2)
    assert shown(gather([tmp_path])) == ["images/a.png"]


def test_copies_and_live_photos_are_left_out_with_a_word(tmp_path, caplog):
    write(tmp_path / "a.png", 1)
    write(tmp_path / "b.png", 1)
    write(tmp_path / "c.png", 2)
    video(tmp_path / "c.mov")
    assert shown(gather([tmp_path])) == ["a.png", "c.png"]
    assert caplog.messages == [
        "leaving out 1 clips of live photos, first c.mov", "leaving out 1 copies of other photographs, first b.png"
    ]  # fmt: skip


@pytest.mark.parametrize("mask", ["masks/a.png", "masks/a.jpg.png", "../masks/a.png"])
def test_masks_are_found_and_are_no_photographs(tmp_path, mask):
    photograph = write(tmp_path / "images" / "a.jpg")
    write(tmp_path / "images" / mask)
    pile = gather([tmp_path])
    assert pile.photographs == [photograph]
    assert pile.masks[photograph].samefile(tmp_path / "images" / mask)


def test_the_capture_itself_is_passed_over(tmp_path):
    write(tmp_path / "a.png", 1)
    write(tmp_path / "capture" / "images" / "b.png", 2)
    assert shown(gather([tmp_path], without=[tmp_path / "capture"])) == ["a.png"]


@pytest.mark.parametrize("notes", ["arf.json", "arf_cameras.json"])
def test_runs_and_captures_of_ours_are_no_photographs(tmp_path, notes):
    write(tmp_path / "a.png", 1)
    write(tmp_path / "outputs" / "run" / "renders" / "b.png", 2)
    (tmp_path / "outputs" / "run" / notes).write_text("{}")
    assert shown(gather([tmp_path])) == ["a.png"]


@pytest.mark.parametrize("name", ["memo.m4a", "raw.cr3", "small.lrv"])
def test_what_only_looks_like_a_clip_is_none(tmp_path, name):
    write(tmp_path / "a.png", 1)
    video(tmp_path / name)
    assert shown(gather([tmp_path])) == ["a.png"]


def test_nothing_to_see_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        assert not holds_pictures(path)
        with pytest.raises(UserError, match="holds no photograph and no video"):
            gather([path])
    with pytest.raises(UserError, match="there is no such file or folder"):
        gather([tmp_path / "none"])
