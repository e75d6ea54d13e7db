from __future__ import annotations

from clips import clip
from PIL import Image

from arf.media.signature import brand, is_video


def test_videos_are_told_from_pictures_by_contents_or_name(tmp_path):
    for suffix in ("mp4", "mkv", "avi", "ts", "mov", "flv"):
        codec = ("-c:v", "libx264") if suffix != "avi" else ("-c:v", "mpeg4")
        clip(tmp_path / f"a.{suffix}", sound=False, codec=codec).rename(tmp_path / "plain")
        assert is_video(tmp_path / "plain")
    (tmp_path / "broken.webm").touch()
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(300))
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    assert is_video(tmp_path / "broken.webm")
    assert is_video(tmp_path / "none.mov")
    assert not is_video(tmp_path / "a.heic")
    assert brand(tmp_path / "a.heic") == b"heic"
    assert brand(tmp_path / "none.mov") == brand(tmp_path / "a.png") == b""
    assert not is_video(tmp_path / "a.png")
