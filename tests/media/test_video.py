from __future__ import annotations

import math
import re
import subprocess
from fractions import Fraction
from itertools import islice

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from arf.errors import UserError
from arf.media import video
from arf.media.footage import probe


def decode(path) -> tuple[dict, np.ndarray]:
    """Metadata and frames [T, H, W, 3] uint8."""
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(np.mean((a.astype(float) - b.astype(float)) ** 2) / 255**2)


def clip(count: int = 7, height: int = 48, width: int = 64) -> torch.Tensor:
    """A saturated colour gradient that moves, [count, H, W, 3]."""
    t, y, x = torch.meshgrid(
        torch.linspace(0, 1, count), torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij"
    )
    return torch.stack([x, (y + t) / 2, 1 - x], dim=-1)


@pytest.mark.parametrize("kind", ["float", "uint8", "numpy"])
def test_frames_come_back_in_number_size_and_colour(tmp_path, kind):
    frames = clip()
    wanted = (frames * 255).round().to(torch.uint8)
    given = {"float": frames, "uint8": wanted, "numpy": wanted.numpy()}[kind]
    with video.Writer(tmp_path / "a.mp4", fps=24) as writer:
        for frame in given:
            writer.write(frame)
    assert writer.frames == 7
    meta, decoded = decode(tmp_path / "a.mp4")
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p(tv, bt709")
    assert meta["fps"] == 24
    assert decoded.shape == (7, 48, 64, 3)
    assert psnr(decoded, wanted.numpy()) > 36
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_frame_may_be_changed_once_it_is_written(tmp_path):
    frames = (clip() * 255).round().to(torch.uint8)
    with video.Writer(tmp_path / "a.mp4", fps=24) as writer:
        for frame in frames.clone():
            writer.write(frame)
            frame.zero_()
    assert psnr(decode(tmp_path / "a.mp4")[1], frames.numpy()) > 36


@pytest.mark.parametrize(("height", "width"), [(47, 64), (48, 63), (1, 1)])
def test_odd_sizes_are_padded_with_their_last_row_or_column(tmp_path, height, width):
    frames = clip(3, height, width)
    with video.Writer(tmp_path / "a.mp4", quality=10) as writer:
        for frame in frames:
            writer.write(frame)
    _, decoded = decode(tmp_path / "a.mp4")
    assert decoded.shape == (3, height + height % 2, width + width % 2, 3)
    padded = np.pad(frames.numpy(), ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge") * 255
    assert psnr(decoded, padded) > 36


def test_the_index_comes_before_the_pictures(tmp_path):
    with video.Writer(tmp_path / "a.mp4") as writer:
        writer.write(clip(1)[0])
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_quality_costs_bytes(tmp_path):
    frames = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    sizes = []
    for quality in (2, 9):
        with video.Writer(tmp_path / f"{quality}.mp4", quality=quality) as writer:
            for frame in frames:
                writer.write(frame)
        sizes.append((tmp_path / f"{quality}.mp4").stat().st_size)
    assert sizes[1] > 2 * sizes[0]


def interrupt(path, error: BaseException) -> None:
    with video.Writer(path) as writer:
        writer.write(clip(1)[0])
        raise error


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_interrupted_video_leaves_the_old_one(tmp_path, error):
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(type(error)) as caught:
        interrupt(tmp_path / "a.mp4", error)
    assert caught.value is error
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


def write_all(path, frames) -> None:
    with video.Writer(path) as writer:
        for frame in frames:
            writer.write(frame)


def test_frames_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[48, 60, 3\] after \[48, 64, 3\]"):
        write_all(tmp_path / "a.mp4", [clip()[0], clip(width=60)[0]])
    with pytest.raises(ValueError, match=r"\[3, 48, 64\]"):
        write_all(tmp_path / "a.mp4", [clip()[0].permute(2, 0, 1)])
    with pytest.raises(ValueError, match="finite"):
        write_all(tmp_path / "a.mp4", [clip()[0] * float("nan")])
    with pytest.raises(ValueError, match="no frame"):
        write_all(tmp_path / "a.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_dies_is_one_line(tmp_path, monkeypatch):
    for program in ("/bin/false", "/bin/true", str(tmp_path / "none")):
        monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", lambda program=program: program)
        with pytest.raises(UserError, match=r"cannot write .*a\.mp4: (ffmpeg stopped|no ffmpeg)") as caught:
            write_all(tmp_path / "a.mp4", clip(3))
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_frames_that_ffmpeg_lost_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(imageio_ffmpeg, "count_frames_and_secs", lambda path: (2, 0.1))
    with pytest.raises(UserError, match="ffmpeg stopped early"):
        write_all(tmp_path / "a.mp4", clip(3))
    assert list(tmp_path.iterdir()) == []


def test_bad_options_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.mp4"):
        video.Writer(tmp_path / "a.avi")
    for options in ({"fps": 0}, {"fps": float("nan")}, {"quality": 0}, {"quality": 11}):
        with pytest.raises(UserError, match="fps must be positive"):
            video.Writer(tmp_path / "a.mp4", **options)
    assert list(tmp_path.iterdir()) == []


def timing(path) -> tuple[Fraction, list[Fraction]]:
    """The rate that a file states, and the times of its frames in seconds."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v", "-c", "copy"]
    done = subprocess.run([*command, "-f", "framecrc", "-"], check=True, capture_output=True, text=True)
    (tick,) = re.findall(r"#tb 0: (\S+)", done.stdout)
    packets = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    return probe(path).fps, sorted(int(packet[2]) * Fraction(tick) for packet in packets)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(55, 3), 12.5, 30000 / 1001])
def test_rates_are_kept_exactly(tmp_path, fps):
    with video.Writer(tmp_path / "a.mp4", fps) as writer:
        for frame in clip(9):
            writer.write(frame)
    rate = Fraction(fps).limit_denominator(2000)
    assert timing(tmp_path / "a.mp4") == (rate, [n / rate for n in range(9)])


def write_parts(folder, fps, lengths) -> list:
    frames, parts = iter(clip(sum(lengths))), []
    for i, length in enumerate(lengths):
        parts.append(folder / f"part {i}.mp4")
        with video.Writer(parts[-1], fps, quality=9, joinable=True) as writer:
            for frame in islice(frames, length):
                writer.write(frame)
    return parts


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(30)])
def test_joined_parts_are_the_same_frames_at_exact_times(tmp_path, fps):
    parts = write_parts(tmp_path, fps, [7, 7, 7, 1])
    before = np.concatenate([decode(part)[1] for part in parts])
    assert video.join(parts, tmp_path / "out" / "a.mp4", fps) == "none"
    assert timing(tmp_path / "out" / "a.mp4") == (fps, [n / fps for n in range(22)])
    assert np.array_equal(decode(tmp_path / "out" / "a.mp4")[1], before)
    data = (tmp_path / "out" / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp4"]
    assert sorted(tmp_path.glob("*.txt")) == []


def sound(path, *options: str):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "lavfi", "-i", "sine=440:d=1"]
    subprocess.run([*command, *options, str(path)], check=True)
    return path


def packets(path) -> list[str]:
    """Checksums of the sound as it is stored."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy"]
    done = subprocess.run([*command, "-f", "framecrc", "-"], check=True, capture_output=True, text=True)
    return [line.split(",")[-1] for line in done.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("name", "codec", "way"), [
    ("a.m4a", "aac", "copied"), ("a.mp3", "mp3", "copied"), ("a.opus", "opus", "copied"), ("a.wav", "pcm_s16le", "aac"),
])  # fmt: skip
def test_sound_is_copied_where_mp4_holds_it(tmp_path, name, codec, way):
    parts = write_parts(tmp_path, Fraction(10), [5, 5])
    track = sound(tmp_path / name)
    assert video.join(parts, tmp_path / "out.mp4", Fraction(10), track, codec) == way
    footage = probe(tmp_path / "out.mp4")
    assert footage.sound == ("aac" if way == "aac" else codec)
    assert footage.frames == pytest.approx(10, abs=1)
    if way == "copied":
        assert packets(tmp_path / "out.mp4")[:-1] == packets(track)[:-1]  # Ogg pads the last one of Opus


def test_a_broken_sound_is_left_out_with_a_warning(tmp_path, caplog):
    parts = write_parts(tmp_path, Fraction(10), [3])
    (tmp_path / "a.wav").write_bytes(b"no sound" * 100)
    assert video.join(parts, tmp_path / "out.mp4", Fraction(10), tmp_path / "a.wav", "aac") == "none"
    assert "a.wav cannot be decoded" in caplog.text
    assert probe(tmp_path / "out.mp4").sound is None


def test_parts_that_are_missing_leave_nothing(tmp_path):
    with pytest.raises(UserError, match="ffmpeg stopped early"):
        video.join([tmp_path / "none.mp4"], tmp_path / "out.mp4", Fraction(10))
    with pytest.raises(UserError, match=r"must end in \.mp4"):
        video.join([tmp_path / "none.mp4"], tmp_path / "out.mkv", Fraction(10))
    assert list(tmp_path.iterdir()) == []
