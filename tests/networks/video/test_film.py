from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from clips import clip, ffmpeg

from arf.errors import UserError
from arf.jobs.tensors import load_tensors, save_tensors
from arf.media.footage import probe
from arf.networks.video.film import film, parts_folder
from arf.networks.video.settings import VideoSettings


def frames(path) -> torch.Tensor:
    return torch.stack(list(probe(path).read()))  # [T, H, W, 3]


def checksums(path) -> list[str]:
    """Of the pictures and the sound as they are stored, with their times."""
    told = ffmpeg("-i", path, "-map", 0, "-c", "copy", "-f", "framecrc", "-").decode()
    return [line for line in told.splitlines() if not line.startswith("#")]


def negative(x: torch.Tensor) -> torch.Tensor:
    return 1 - x


def flicker(x: torch.Tensor) -> torch.Tensor:
    """Noise that is another one for every frame, and the same one for the same frame."""
    planes = []
    for plane in x:
        generator = torch.Generator().manual_seed(int(plane.double().sum() * 1000))
        planes.append(plane + 0.1 * torch.randn(plane.shape, generator=generator))
    return torch.stack(planes)


class Stop:
    """Paints some frames, then raises."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.left, self.error, self.painted = after, error, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.painted + len(x) > self.left:
            raise self.error
        self.painted += len(x)
        return flicker(x)


@pytest.mark.parametrize("rate", ["30000/1001", "12"])
def test_every_frame_is_painted_at_its_time_with_its_sound(tmp_path, rate):
    source = clip(tmp_path / "in.mp4", rate, 1.0)
    seen, told = [], []

    def stylize(x):
        assert not torch.is_grad_enabled()
        seen.append(tuple(x.shape))
        return 1 - x

    settings = VideoSettings(batch=4, save_every=10, measure=True)
    report = film(source, tmp_path / "out.mp4", stylize, settings, lambda *step: told.append(step))
    count = 30 if rate != "12" else 12
    assert (report.frames, report.fps, report.width, report.height) == (count, Fraction(rate), 64, 48)
    assert report.sound == "copied"
    assert set(report.temporal_error) == {"input", "painted"}
    assert seen == [(n, 3, 48, 64) for n in ([4, 4, 2] * 3 if count == 30 else [4, 4, 2, 2])]
    assert [step[:2] for step in told][-1] == ("paint", count)
    assert all(step <= steps for _, step, steps, _ in told)
    footage = probe(tmp_path / "out.mp4")
    assert (footage.fps, footage.frames, footage.sound) == (Fraction(rate), count, "aac")
    assert (frames(tmp_path / "out.mp4").float() - (255 - frames(source).float())).abs().mean() < 4
    whole, part = checksums(source), checksums(tmp_path / "out.mp4")
    assert [line for line in part if line[0] == "1"] == [line for line in whole if line[0] == "1"]
    times = sorted(int(line.split(",")[2]) for line in part if line[0] == "0")
    assert len({b - a for a, b in pairwise(times)}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_without_sound_upright_smaller_and_odd(tmp_path):
    clip(tmp_path / "flat.mp4", sound=False)
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "in.mp4")
    report = film(tmp_path / "in.mp4", tmp_path / "out.mp4", negative, VideoSettings(size=44))
    assert (report.width, report.height, report.sound, report.frames) == (33, 44, "none", 15)
    footage = probe(tmp_path / "out.mp4")
    assert (footage.width, footage.height, footage.sound) == (34, 44, None)
    upright = torch.stack(list(probe(tmp_path / "in.mp4").read((44, 33)))).float()
    assert (frames(tmp_path / "out.mp4")[:, :, :33].float() - (255 - upright)).abs().mean() < 12  # lying down: 80


def test_a_variable_rate_stays_with_its_sound(tmp_path):
    """A flash at 1 s; before it, only every third frame is there."""
    flash = "geq=lum='if(eq(N,20),235,16)':cb=128:cr=128,select='not(mod(n,3))+gte(n,18)'"
    source = ["-f", "lavfi", "-i", "color=black:s=64x48:r=20:d=1.5", "-f", "lavfi", "-i", "sine=440:d=1.5"]
    ffmpeg(*source, "-vf", flash, "-fps_mode", "vfr", tmp_path / "in.mp4")
    report = film(tmp_path / "in.mp4", tmp_path / "out.mp4", negative, VideoSettings(save_every=7))
    assert (report.fps, report.frames) == (20, 30)
    light = frames(tmp_path / "out.mp4").float().mean((1, 2, 3))
    assert int(light.argmin()) == 20
    assert light[19] > 200 < light[21]


def test_colours_stay(tmp_path):
    for colour in ("0xc83214", "0x1464c8", "0x808080"):
        source = f"color={colour}:s=64x48:r=10:d=0.3"
        ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-crf", "4", tmp_path / "in.mp4")
        film(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda x: x, overwrite=True)
        change = frames(tmp_path / "out.mp4").float() - frames(tmp_path / "in.mp4").float()
        assert change.mean((0, 1, 2)).abs().max() <= 2


def test_a_stopped_film_goes_on_to_exactly_the_same(tmp_path):
    source = clip(tmp_path / "in.mp4", seconds=0.8)
    settings = VideoSettings(batch=3, save_every=8, smooth=True)
    whole = film(source, tmp_path / "whole.mp4", flicker, settings)
    output = tmp_path / "out.mp4"
    for after, resume, parts in [(5, False, False), (10, False, True), (10, True, True)]:
        with pytest.raises(KeyboardInterrupt):
            film(source, output, Stop(after), settings, resume=resume)
        assert not output.exists()
        assert parts_folder(output).exists() == parts
    assert len(list(parts_folder(output).glob("part-*.mp4"))) == 2
    count = Stop(1000)
    assert film(source, output, count, settings, resume=True) == whole
    assert count.painted == 24 - 16
    assert checksums(output) == checksums(tmp_path / "whole.mp4")
    assert not parts_folder(output).exists()
    assert set(whole.temporal_error) == {"input", "painted", "smoothed"}


def test_only_the_same_goes_on(tmp_path):
    source, output, settings = clip(tmp_path / "in.mp4"), tmp_path / "out.mp4", VideoSettings(batch=2, save_every=4)
    with pytest.raises(UserError, match="nothing to go on from"):
        film(source, output, negative, settings, resume=True)
    with pytest.raises(RuntimeError):
        film(source, output, Stop(6, RuntimeError), settings, asked={"style": "a"})
    for changed, words in [(replace(settings, smooth=True), "smooth"), (replace(settings, quality=9), "quality")]:
        with pytest.raises(UserError, match=f"made with another {words}"):
            film(source, output, negative, changed, resume=True, asked={"style": "a"})
    with pytest.raises(UserError, match="another style"):
        film(source, output, negative, settings, resume=True, asked={"style": "b"})
    (parts_folder(output) / "part-00000.mp4").unlink()
    with pytest.raises(UserError, match="part-00000"):
        film(source, output, negative, settings, resume=True, asked={"style": "a"})
    (parts_folder(output) / "mine.txt").touch()
    with pytest.raises(UserError, match=r"out\.mp4 was begun and stopped; go on with --resume, or begin"):
        film(source, output, negative, settings)
    film(source, output, negative, settings, restart=True)
    assert [path.name for path in parts_folder(output).iterdir()] == ["mine.txt"]


def test_batches_and_parts_may_have_another_length_on_the_way(tmp_path):
    source, output = clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        film(source, output, Stop(6), VideoSettings(batch=2, save_every=4))
    assert film(source, output, flicker, VideoSettings(batch=3, save_every=7), resume=True).frames == 15
    film(source, tmp_path / "whole.mp4", flicker)
    assert (frames(output).float() - frames(tmp_path / "whole.mp4").float()).abs().mean() < 3


def test_a_state_that_is_not_of_this_film_is_refused(tmp_path):
    source, output = clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    settings = VideoSettings(batch=2, save_every=4, smooth=True)
    with pytest.raises(KeyboardInterrupt):
        film(source, output, Stop(6), settings)
    state = parts_folder(output) / "state.safetensors"
    tensors, notes = load_tensors(state, "")
    small, same = torch.zeros(3), dict(tensors)
    for held, said, message in (
        (same, {"frames": 10**12, "parts": 1}, "has 1000000000000 frames of a video of 15"),
        (same, {"frames": -1}, "has 1 parts of -1 frames"),
        (same, {"parts": 10**9}, "has 1000000000 parts of 4 frames"),
        (same, {"parts": 3}, r"there is no .*part-00001\.mp4"),
        (same, {"frames": "4"}, "frames: expected int"),
        (same, {"errors": {"input": 5}}, "errors.*: expected object"),
        (same, {"errors": {"other": {"squares": 1.0, "values": 1.0}}}, "other frames than those"),
        ({}, {}, "lacks tensor"),
        ({**same, "painted": small}, {}, r"painted has shape \[3\]"),
        ({**same, "painted": same["painted"] * torch.nan}, {}, "not finite"),
        ({**same, "input": same["input"].long()}, {}, "other frames than those"),
    ):
        save_tensors(state, held, **{**notes, **said})
        with pytest.raises(UserError, match=message) as refusal:
            film(source, output, negative, settings, resume=True)
        assert str(refusal.value).endswith("; begin again with --restart")


def test_a_killed_job_goes_on(tmp_path):
    source, output = clip(tmp_path / "in.mp4", seconds=0.4), tmp_path / "out.mp4"
    program = (
        "import sys, time\nfrom arf.networks.video.film import film\n"
        "from arf.networks.video.settings import VideoSettings\n"
        "def slow(x):\n    time.sleep(0.3)\n    return 1 - x\n"
        "film(sys.argv[1], sys.argv[2], slow, VideoSettings(batch=1, save_every=3))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, source, output])
    state = parts_folder(output) / "state.safetensors"
    deadline = time.monotonic() + 60
    while not state.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert state.exists()
    assert not output.exists()
    film(source, output, negative, VideoSettings(batch=1, save_every=3), resume=True)
    assert (frames(output).float() - (255 - frames(source).float())).abs().mean() < 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_smoothing_takes_flicker_away(tmp_path):
    still = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=15:d=0.06", "-vf", "loop=20:1:0,noise=alls=2:allf=t"]
    ffmpeg(*still, "-c:v", "libx264", "-crf", "4", "-pix_fmt", "yuv420p", tmp_path / "in.mp4")
    error = film(tmp_path / "in.mp4", tmp_path / "out.mp4", flicker, VideoSettings(smooth=True)).temporal_error
    assert error["smoothed"] < 0.4 * error["painted"]
    assert error["input"] < 0.1 * error["painted"]


def test_bad_input_is_one_line_and_writes_nothing(tmp_path):
    source = clip(tmp_path / "in.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    before = sorted(tmp_path.iterdir())
    cases = [
        (tmp_path / "none.mp4", "out.mp4", "no such file"), (tmp_path / "text.mp4", "out.mp4", "not a video"),
        (source, "out.avi", r"must end in \.mp4"), (source, "in.mp4", "is read by this command"),
    ]  # fmt: skip
    for given, name, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            film(given, tmp_path / name, negative)
        assert "\n" not in str(caught.value)
    for change in ({"batch": 0}, {"smooth_strength": 1.0}, {"quality": 11}, {"size": 8}, {"save_every": 0}):
        with pytest.raises(UserError, match=f"^{next(iter(change))} is"):
            film(source, tmp_path / "out.mp4", negative, VideoSettings(**change))
    with pytest.raises(ValueError, match=re.escape("[4, 3, 24, 64] for [4, 3, 48, 64]")):
        film(source, tmp_path / "out.mp4", lambda x: x[:, :, :24])
    assert sorted(tmp_path.iterdir()) == before
