from __future__ import annotations

import os
from fractions import Fraction
from math import ceil
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from clips import clip, ffmpeg
from PIL import Image

from arf.errors import UserError
from arf.media import footage, video
from arf.media.footage import probe

LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}  # Kr and Kb of ITU-R BT.601 and BT.709


def tall_ramp(count: int = 6) -> torch.Tensor:
    """[count, 48, 64, 3]: brighter with each frame, red on top and blue below."""
    frames = torch.zeros(count, 48, 64, 3)
    for i in range(count):
        frames[i, :24, :, 0] = 0.4 + 0.1 * i
        frames[i, 24:, :, 2] = 0.4 + 0.1 * i
    return (frames * 255).byte()


def encode(path, frames: torch.Tensor, *options: str):
    height, width = frames.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "10", "-i", "-"]
    ffmpeg(
        *raw, *(options or ("-c:v", "libx264", "-crf", "4", "-pix_fmt", "yuv444p")), path, data=frames.numpy().tobytes()
    )
    return path


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "25", "55/3"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rate_and_frames_are_exact(tmp_path, rate, suffix):
    footage = probe(clip(tmp_path / f"a.{suffix}", rate, 1.0))
    assert footage.fps == Fraction(rate)
    assert (footage.width, footage.height, footage.sound) == (64, 48, "aac" if suffix == "mp4" else "vorbis")
    count = sum(1 for _ in footage.read())
    assert count == ceil(Fraction(rate))
    assert abs(footage.frames - count) <= 1


def test_frames_come_back_in_order_size_and_colour(tmp_path):
    frames = tall_ramp()
    read = torch.stack(list(probe(encode(tmp_path / "a.mp4", frames)).read()))
    assert read.shape == frames.shape
    assert read.dtype == torch.uint8
    assert (read[:, 4:20].float() - frames[:, 4:20].float()).abs().mean() < 2
    assert (read[:, 28:44].float() - frames[:, 28:44].float()).abs().mean() < 2


@pytest.mark.parametrize(("matrix", "full", "tagged", "height"), [
    ("bt601", False, True, 48), ("bt709", False, True, 48), ("bt709", True, True, 48),
    ("bt601", False, False, 48), ("bt709", False, False, 720),  # untagged: by size, as players have it
])  # fmt: skip
def test_colours_of_every_matrix_and_range(tmp_path, matrix, full, tagged, height):
    red, blue = LUMA[matrix]
    width = height * 4 // 3
    for colour in [(200, 50, 20), (20, 100, 200), (128, 128, 128), (240, 220, 30)]:
        r, g, b = (value / 255 for value in colour)
        luma = red * r + (1 - red - blue) * g + blue * b
        planes = [luma, (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))]
        scale, shift = ([255] * 3, [0, 128, 128]) if full else ([219, 224, 224], [16, 128, 128])
        levels = [round(p * s + o) for p, s, o in zip(planes, scale, shift, strict=True)]
        raw = b"".join(
            bytes([v]) * n for v, n in zip(levels, (width * height, *[width * height // 4] * 2), strict=True)
        )
        tags = ["-colorspace", "smpte170m" if matrix == "bt601" else matrix] if tagged else []
        tags += ["-color_range", "pc"] if full else []
        form = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
        ffmpeg(*form, *tags, "-i", "-", "-c:v", "libx264", "-crf", "1", *tags, tmp_path / "a.mp4", data=raw)
        (frame,) = probe(tmp_path / "a.mp4").read()
        assert (frame.float().mean((0, 1)) - torch.tensor(colour)).abs().max() <= 2


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_frames_are_upright(tmp_path, angle):
    encode(tmp_path / "flat.mp4", tall_ramp())
    ffmpeg("-display_rotation", angle, "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "a.mp4")
    footage = probe(tmp_path / "a.mp4")
    frame = next(iter(footage.read())).float()
    flat = next(iter(probe(tmp_path / "flat.mp4").read())).float()
    assert list(frame.shape) == [footage.height, footage.width, 3]
    assert (frame - torch.rot90(flat, angle // 90)).abs().max() < 3  # counter-clockwise, as ffmpeg counts


def test_size_shrinks_only(tmp_path):
    footage = probe(encode(tmp_path / "a.mp4", tall_ramp()[:, 1:, 1:].contiguous()))
    assert footage.fitted(None) == footage.fitted(500) == (47, 63)
    assert footage.fitted(32) == (24, 32)
    assert next(iter(footage.read((24, 32)))).shape == (24, 32, 3)


def test_wide_pixels_become_square(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-vf", "setsar=3/2", "-c:v", "libx264", tmp_path / "a.mp4")
    footage = probe(tmp_path / "a.mp4")
    assert (footage.width, footage.height) == (96, 48)
    assert next(iter(footage.read())).shape == (48, 96, 3)


def test_a_variable_rate_keeps_its_timing(tmp_path):
    """Frame n of 40 is of brightness 6n; after the tenth only every third is there. The last lasts as long as that."""
    levels = "geq=lum='6*N':cb=128:cr=128,select='lt(n,10)+not(mod(n,3))'"
    source = ["-f", "lavfi", "-i", "color=black:s=64x48:r=20:d=2"]
    ffmpeg(*source, "-vf", levels, "-fps_mode", "vfr", "-c:v", "libx264", "-crf", "1", tmp_path / "a.mp4")
    footage = probe(tmp_path / "a.mp4")
    assert footage.fps == 20
    shown = np.array([float(frame.float().mean()) for frame in footage.read()])
    there = [min(n if n < 10 else n - n % 3, 39) for n in range(len(shown))]
    assert 40 <= len(shown) <= 42
    assert np.abs(shown - np.clip((6 * np.array(there) - 16) * 255 / 219, 0, 255)).max() < 3


def test_a_picture_that_sets_in_late_stays_with_its_sound(tmp_path):
    clip(tmp_path / "b.mp4", "20", 0.5)
    late = ["-itsoffset", "0.5", "-i", tmp_path / "b.mp4", "-i", tmp_path / "b.mp4", "-map", "0:v", "-map", "1:a"]
    ffmpeg(*late, "-c", "copy", tmp_path / "a.mkv")
    assert sum(1 for _ in probe(tmp_path / "a.mkv").read()) == pytest.approx(20, abs=1)


def test_what_is_no_video_is_one_clear_line(tmp_path):
    clip(tmp_path / "whole.mp4")
    data = (tmp_path / "whole.mp4").read_bytes()
    index_first = tmp_path / "first.mp4"
    ffmpeg("-i", tmp_path / "whole.mp4", "-c", "copy", "-movflags", "+faststart", index_first)
    broken = bytearray(index_first.read_bytes())
    begin = broken.find(b"mdat") + 4
    broken[begin:] = np.random.default_rng(0).bytes(len(broken) - begin)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 20)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'whole.mp4'}'\n")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "garbage.mp4").write_bytes(broken)
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(4000))
    for name, form in [("p.png", "PNG"), ("p.jpg", "JPEG"), ("p.webp", "WEBP"), ("named.mp4", "PNG")]:
        Image.new("RGB", (64, 48), (200, 10, 10)).save(tmp_path / name, form)
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=0.3", tmp_path / "sound.m4a")
    ffmpeg("-i", tmp_path / "sound.m4a", "-i", tmp_path / "p.png", "-map", 0, "-map", 1, tmp_path / "cover.mp3")
    expected = {
        "": "is a folder", "none.mp4": "no such file", "empty.mp4": "is empty", "text.mp4": "is not a video",
        "list.mp4": "is not a video", "cut.mp4": "is cut short", "garbage.mp4": "is corrupt",
        "noise.avi": "not a video",
        "p.png": "is a picture", "p.jpg": "is a picture", "p.webp": "is a picture", "named.mp4": "is a picture",
        "sound.m4a": "holds sound but no moving picture", "cover.mp3": "holds sound but no moving picture",
    }  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(UserError, match=words) as caught:
            probe(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)


def test_a_damaged_video_is_read_as_far_as_it_goes(tmp_path, caplog):
    ffmpeg("-i", clip(tmp_path / "b.mp4"), "-c", "copy", "-movflags", "+faststart", tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 3 // 4])
    assert 0 < sum(1 for _ in probe(tmp_path / "a.mp4").read()) < 15
    assert "is damaged" in caplog.text


def test_without_ffmpeg_it_says_so(tmp_path, monkeypatch):
    clip(tmp_path / "a.mp4")
    for program in ("/bin/false", "/bin/true", str(tmp_path / "none")):
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda program=program: program)
        with pytest.raises(UserError, match="no ffmpeg that runs"):
            probe(tmp_path / "a.mp4")


def test_strange_names_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "b.mp4")
    for name in ("-i.mp4", "http:x %03d 'a\".mp4"):
        os.link("b.mp4", name)
        assert sum(1 for _ in probe(name).read()) == 15


def test_reading_can_stop_early(tmp_path):
    frames = probe(clip(tmp_path / "a.mp4")).read()
    next(frames)
    frames.close()
    assert list(frames) == []


def test_a_rate_beyond_all_screens_is_capped(tmp_path):
    footage = probe(clip(tmp_path / "a.mp4", "500", 0.1, sound=False))
    assert footage.fps == 240
    assert sum(1 for _ in footage.read()) == 24


def test_files_that_name_others_are_not_even_looked_into(tmp_path):
    """Playlists, lists, patterns: what they name is never opened, also where it lies beside them."""
    clip(tmp_path / "inner.mp4", sound=False)
    clip(tmp_path / "a1.mp4", sound=False)
    tag = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
    texts = {
        "list.mp4": "ffconcat version 1.0\nfile inner.mp4\n",
        "list.ffconcat": "ffconcat version 1.0\nfile inner.mp4\n",
        "play.m3u8": f"{tag}inner.mp4\n#EXT-X-ENDLIST\n",
        "play.mp4": f"{tag}file:{tmp_path / 'inner.mp4'}\n#EXT-X-ENDLIST\n",
        "script.avs": 'AVISource("inner.mp4")',
        "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "page.swf": "FWS",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        report, frame = footage._look(tmp_path / name)
        assert "Input #0" not in report
        assert frame is None
        with pytest.raises(UserError, match="is not a video that can be read"):
            probe(tmp_path / name)


@pytest.mark.parametrize("name", ["concat:inner.mp4", "http:x.mp4", "pipe:0.mp4", "-x.mp4", "a%d.mp4", "data:,x.mp4"])
def test_names_that_ffmpeg_takes_for_something_else_are_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no video at"):
        probe(Path(name))
    clip(tmp_path / "inner.mp4", sound=False)
    (tmp_path / "inner.mp4").rename(tmp_path / name)
    count = probe(Path(name)).frames
    with video.Writer(Path("made") / name, fps=30) as writer:
        for frame in probe(Path(name)).read():
            writer.write(frame)
    assert probe(Path("made") / name).frames == count
    (tmp_path / "made" / name).rename(tmp_path / "part.mp4")
    video.join([tmp_path / "part.mp4"], Path("joined") / name, Fraction(30), Path(name), "aac")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted([name, name, "part.mp4"])
