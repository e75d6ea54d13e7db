from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from arf.errors import UserError
from arf.jobs.outputs import begun, check_outputs, inputs_of, result_path, stale


def test_an_output_is_never_what_is_read(tmp_path):
    photo, other = tmp_path / "photo.png", tmp_path / "other.png"
    photo.write_text("x")
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    (tmp_path / "folder").symlink_to(tmp_path)
    check_outputs([other], [photo, tmp_path / "missing.png"])
    for name, said in (
        ("photo.png", "photo.png is read by this command; choose another"),
        ("folder/photo.png", "photo.png, which is read by this command"),
        ("link.png", "link.png is .*photo.png, which is read"),
        ("hard.png", "hard.png is .*photo.png, which is read"),
    ):
        for inputs in ([photo], [other, photo]):
            with pytest.raises(UserError, match=said):
                check_outputs([other, tmp_path / name], inputs, overwrite=True)
    with pytest.raises(UserError, match="two results would both be written to"):
        check_outputs([other, tmp_path / "folder" / ".." / tmp_path.name / "other.png"], [])


def test_a_result_is_replaced_only_when_that_was_asked_for(tmp_path):
    made, new = tmp_path / "made.png", tmp_path / "new.png"
    check_outputs([made, new], [])
    made.write_text("x")
    with pytest.raises(UserError, match=r"made\.png exists already; give --overwrite, or choose another --output"):
        check_outputs([made, new], [])
    check_outputs([made, new], [], overwrite=True)
    new.symlink_to(tmp_path / "nowhere")  # one that leads nowhere is there all the same
    with pytest.raises(UserError, match="exists already, and so do 1 others"):
        check_outputs([made, new], [])


def test_the_files_that_a_command_reads(tmp_path):
    @dataclass
    class Settings:
        encoder_weights: Path | None = tmp_path / "w.pth"
        model: str = str(tmp_path / "model")
        size: int = 3

    @dataclass
    class Command:
        photo: Path = tmp_path / "a.png"
        style: tuple[Path, ...] = (tmp_path / "b.png", tmp_path / "c.png")
        name: str = "mosaic"
        output: Path = tmp_path / "o.png"
        settings: Settings = field(default_factory=Settings)

    (tmp_path / "model").write_text("x")
    names = ["a.png", "b.png", "c.png", "w.pth", "model"]
    assert inputs_of(Command()) == [tmp_path / name for name in names]


def test_results_are_named_by_what_made_them():
    assert result_path("photo", "spots", what="gatys") == Path("outputs/photo-spots-gatys.png")
    assert result_path("clip", what="many", suffix=".mp4") == Path("outputs/clip-many.mp4")
    assert result_path(*"abcdef", what="adain").name == "a-b-c-d-+2-adain.png"
    assert result_path("photo", "../../etc\\x:\n\x1b", what="fast") == Path("outputs/photo-.._.._etc_x___-fast.png")
    long = result_path(*["ö" * 200] * 9, what="gatys").name
    assert len(long.encode()) < 200


def test_a_stopped_job_is_neither_forgotten_nor_gone_on_with_unasked(tmp_path):
    output, state = tmp_path / "a.png", tmp_path / "a.state"
    assert [begun(output, state, *flags) for flags in ((False, False), (True, False), (False, True))] == [
        False, True, False,
    ]  # fmt: skip
    state.write_text("x")
    with pytest.raises(UserError, match=r"a\.png was begun and stopped; go on with --resume, or begin"):
        begun(output, state, False, False)
    assert begun(output, state, True, False)
    assert begun(output, state, False, True)
    with pytest.raises(UserError, match="give one of them"):
        begun(output, state, True, True)


def test_stale_files_are_those_whose_whole_name_fits(tmp_path):
    for name in ("a-1.png", "a-12.png", "ba-1.png", "a-1.png.txt"):
        (tmp_path / name).touch()
    (tmp_path / "a-3.png").mkdir()
    assert [path.name for path in stale(tmp_path, r"a-\d+\.png")] == ["a-1.png", "a-12.png"]
    assert stale(tmp_path / "nowhere", ".*") == []
