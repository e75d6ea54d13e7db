"""The finder: names from other machines, and what is never opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from captures import load, names, ring, transforms, write_picture, write_transforms

from arf.errors import UserError
from arf.media.decode import PICTURE_SUFFIXES
from arf.radiance.capture.files import Finder, picture_files, picture_folders


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("images/a.png", "images/a.png"),
        ("./images//a.png", "images/a.png"),
        ("images\\a.png", "images/a.png"),
        (".\\images\\sub\\a.png", "images/sub/a.png"),
        ("images/a b (1).png", "images/a b (1).png"),
        ("images/a.jpg", "images/a.JPG"),
        ("Images/A.png", "images/a.png"),
        ("images/a", "images/a.png"),
        ("images/a", "images/a.JPG"),
        ("images/a", "images/a.webp"),
        ("images/a", "images/a.HEIC"),
        ("images/a.png", "images/a.jpeg"),
        ("images/r_0.5", "images/r_0.5.tiff"),
        ("images/caf\u00e9.png", "images/cafe\u0301.png"),  # as macOS writes it
        ("images/x/../a.png", "images/a.png"),
    ],
)
def test_names_from_other_machines(tmp_path, name, stored):
    """C9: separators, blanks, case, suffixes."""
    file = touch(tmp_path / stored)
    assert Finder(tmp_path).find(name) == file
    inner = name.replace("Images", "images").partition("images")[2].lstrip("/\\")
    assert Finder(tmp_path).find(inner, "images") == file


def test_every_suffix_that_can_be_read_is_found(tmp_path):
    for suffix in PICTURE_SUFFIXES:
        file = touch(tmp_path / suffix[1:] / f"a{suffix.upper()}")
        assert Finder(tmp_path).find(f"{suffix[1:]}/a") == file
        assert picture_files(file.parent) == [file]


def test_the_name_itself_wins(tmp_path):
    for name in ("a.png", "A.png", "a.jpg"):
        touch(tmp_path / name)
    assert Finder(tmp_path).find("A.png") == tmp_path / "A.png"
    assert Finder(tmp_path).find("a.jpg") == tmp_path / "a.jpg"
    assert Finder(tmp_path).find("b.png") is None


def test_only_regular_files_are_found(tmp_path):
    """J25."""
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    finder = Finder(tmp_path)
    for name in ("fifo.png", "device.png", "folder.png", "gone.png", "n\0ul.png", "x" * 300, "fifo", "a/" * 3000, ""):
        assert finder.find(name) is None
    assert picture_files(tmp_path) == []
    assert picture_files(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["../secret.png", "images/../../secret.png", "..\\secret.png", "{outside}/secret.png"])
def test_names_stay_below_the_capture(tmp_path, name):
    """J28: a stranger's capture opens nothing elsewhere, unless it is asked for."""
    name = name.format(outside=tmp_path)
    secret = touch(tmp_path / "secret.png")
    root = tmp_path / "capture"
    root.mkdir()
    with pytest.raises(UserError, match=r"transforms\.json names .*secret\.png.*--allow-outside") as error:
        Finder(root).find(name, where="transforms.json")
    assert "\n" not in str(error.value)
    assert os.path.samefile(Finder(root, allow_outside=True).find(name), secret)


def test_names_that_come_back_and_links_are_fine(tmp_path):
    """J28: only names are judged; who lays a link into a capture means it."""
    file = touch(tmp_path / "elsewhere/a.png")
    root = tmp_path / "capture"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "elsewhere")
    inside = touch(root / "b.png")
    finder = Finder(root)
    assert os.path.samefile(finder.find("images/a.png"), file)
    assert finder.find("images/../b.png") == inside  # by name, not elsewhere/../b.png
    assert finder.find(str(root / "b.png")) == inside
    assert finder.find("../capture/b.png") == inside
    (tmp_path / "link").symlink_to(root)
    assert os.path.samefile(Finder(tmp_path / "link").find(str(root.resolve() / "b.png")), inside)


def test_a_captures_pictures_outside_of_it(tmp_path):
    """J28, through the door."""
    root = write_transforms(tmp_path / "scene", ring(3))
    write_picture(tmp_path / "images/00.png")
    text = (root / "transforms.json").read_text().replace('"images/00.png', '"../images/00.png')
    (root / "transforms.json").write_text(text)
    with pytest.raises(UserError, match=r"transforms\.json names \.\./images/00\.png, outside of .*--allow-outside"):
        load(root)
    capture = load(root, allow_outside=True)
    assert sorted(names(capture.train) + names(capture.held_out)) == ["00.png", "01.png", "02.png"]


def test_picture_folders(tmp_path):
    for name in ("images/a.png", "images_2/b.JPG", "images_4/sub/c.webp", "images_8/notes.txt", "images_x/a.png"):
        touch(tmp_path / name)
    (tmp_path / "images_16").mkdir()
    assert picture_folders(tmp_path) == {n: tmp_path / f"images_{n}".removesuffix("_1") for n in (1, 2, 4)}


def test_a_capture_from_windows(tmp_path):
    """C9, through the door."""
    root = write_transforms(tmp_path, ring(4))
    for i in range(4):
        (root / f"images/{i:02d}.png").rename(root / f"images/{i:02d}.PNG")
    text = json.dumps(transforms(ring(4))).replace("images/", "images\\\\").replace(".png", "")
    (root / "transforms.json").write_text(text)
    assert len(load(root).train) == 3
