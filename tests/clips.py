"""Videos to test with, made by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg


def ffmpeg(*options: object, data: bytes | None = None) -> bytes:
    """What a call of ffmpeg writes to its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, options)]
    return subprocess.run(command, check=True, input=data, stdout=subprocess.PIPE).stdout


def clip(path: Path, rate="30", seconds=0.5, sound=True, codec=("-c:v", "libx264"), size="64x48") -> Path:
    """A test pattern with a sine."""
    tone = ["-f", "lavfi", "-i", f"sine=440:d={seconds}"] if sound else []
    pattern = f"testsrc2=s={size}:r={rate}:d={seconds}"
    ffmpeg("-f", "lavfi", "-i", pattern, *tone, *codec, "-pix_fmt", "yuv420p", path)
    return path
