"""Frames to an H.264 mp4 that browsers play, and such files end to end, with sound."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from math import isfinite
from pathlib import Path
from types import TracebackType

import imageio_ffmpeg
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.media.behind import Behind
from arf.media.image import to_bytes

FORMATS = (  # demuxers of files that hold what they show; others are lists of files, scripts, or name devices
    "mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "flv", "ogg", "mxf", "nut", "wtv", "gxf", "dv",
    "m4v", "h264", "hevc", "av1", "obu", "ivf", "mjpeg", "yuv4mpegpipe", "gif", "apng", "webp_anim",
    "wav", "mp3", "aac", "flac", "ac3", "png_pipe", "jpeg_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe",
)  # fmt: skip

log = logging.getLogger(__name__)

IN_MP4 = {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}  # sound that mp4 holds as it is


class Writer:
    """Streams frames to an mp4: H.264, yuv420p, BT.709, index in front. Use it in a `with` block.

    Frames are handed to ffmpeg while the next are made; a few may wait. The file appears, whole, when the block ends
    well; an exception leaves nothing behind. yuv420p wants even sizes, so an odd frame is padded by repeating its last
    row or column.

    Args:
        path: ends in .mp4.
        fps: frames per second; a Fraction, such as 30000/1001, is kept exactly.
        quality: 1 (small) to 10 (near lossless), as imageio counts.
        joinable: store frames in the order in which they are shown (no B-frames), as `join` wants it; costs some bytes.

    Raises:
        UserError: another suffix, no ffmpeg, or the file cannot be written.
    """

    def __init__(
        self, path: str | Path, fps: float | Fraction = 30.0, quality: float = 7.0, joinable: bool = False
    ) -> None:
        self.path = check_name(path)
        if not (isfinite(fps) and fps > 0) or not 1 <= quality <= 10:
            raise UserError(f"cannot write {path}: fps must be positive and quality 1 to 10, got {fps} and {quality}")
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.quality = quality
        self._order = ["-bf", "0"] if joinable else []
        self.frames = 0
        self._shape: tuple[int, ...] | None = None
        self._encoder = None
        self._behind = Behind()
        self._atomic: AbstractContextManager[Path] = atomic_path(self.path)

    def __enter__(self) -> Writer:
        self._temporary = self._atomic.__enter__().absolute()  # so that ffmpeg takes no part of it for a protocol
        self._behind.__enter__()
        return self

    def write(self, frame: Float[Tensor, "h w 3"] | UInt8[Tensor, "h w 3"] | np.ndarray) -> None:
        """Append a frame: float in [0, 1] (clamped) or uint8, [H, W, 3]. It may be changed afterwards.

        Raises:
            UserError: ffmpeg is missing or stopped, for example on a full disk; it may be an earlier frame's.
            ValueError: not [H, W, 3], not finite, or another size than the first frame.
        """
        frame = torch.as_tensor(frame)
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is [H, W, 3], got {list(frame.shape)}")
        if self._shape not in (None, tuple(frame.shape)):
            raise ValueError(f"frames must have one size, got {list(frame.shape)} after {list(self._shape)}")
        pixels = to_bytes(frame).numpy()
        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # [even, even, 3], a copy
        if self._encoder is None:
            self._shape = tuple(frame.shape)
            self._encoder = self._start(pixels.shape[1], pixels.shape[0])
        self._behind.do(lambda: self._send(pixels))
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                self._behind.__exit__(kind, error, trace)
            finally:
                if self._encoder is not None:
                    with suppress(ValueError):  # stopped a second time, while a frame is on its way
                        self._encoder.close()
            if kind is None:
                self._verify()
        except BaseException as failure:
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._atomic.__exit__(kind, error, trace)

    def _send(self, pixels: np.ndarray) -> None:
        try:
            self._encoder.send(np.ascontiguousarray(pixels))
        except OSError as error:
            raise _stopped(self.path) from error

    def _start(self, width: int, height: int):
        # ffmpeg's default matrix is BT.601, which browsers do not expect, and its rounding is quick rather than right
        matrix = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int"
        matrix += ",setparams=color_primaries=bt709:color_trc=bt709"
        tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
        try:
            encoder = imageio_ffmpeg.write_frames(
                str(self._temporary),
                (width, height),
                fps=float(self.fps),
                input_params=["-r", str(self.fps)],  # the last -r counts; imageio-ffmpeg rounds its own
                quality=self.quality,
                codec="libx264",
                macro_block_size=1,
                ffmpeg_log_level="quiet",
                output_params=["-vf", matrix, *tags, *self._order, "-movflags", "+faststart"],
            )
            encoder.send(None)
        except (RuntimeError, OSError) as error:
            raise no_ffmpeg(f"cannot write {self.path}") from error
        return encoder

    def _verify(self) -> None:
        """imageio-ffmpeg does not report ffmpeg's exit status, so count what arrived."""
        if not self.frames:
            raise ValueError(f"no frame was written to {self.path}")
        try:
            arrived, _ = imageio_ffmpeg.count_frames_and_secs(str(self._temporary))
        except (RuntimeError, OSError) as error:
            raise _stopped(self.path) from error
        if arrived != self.frames:
            raise _stopped(self.path)


def join(
    parts: Sequence[Path], path: str | Path, fps: Fraction, sound: Path | None = None, codec: str | None = None
) -> str:
    """Lay videos of `Writer` end to end without encoding them again, and add the sound of another file.

    Args:
        parts: joinable ones, in one folder, of one size, rate and quality.
        path: ends in .mp4; it appears whole or not at all.
        fps: their rate.
        sound: a file whose first sound track is added, with its own offset to that file's beginning.
        codec: of that track.

    Returns:
        What became of the sound: "copied" where mp4 holds it as it is; "aac", into which the rest is encoded; "none"
        where there is none, or (with a warning) where it cannot be decoded.

    Raises:
        UserError: another suffix, no ffmpeg, or the file cannot be written.
    """
    path = check_name(path)
    names = parts[0].with_name("parts.txt")
    with atomic_path(names) as temporary:
        temporary.write_text("".join(f"file '{part.name}'\n" for part in parts), encoding="utf-8")
    # the demuxer adds up durations in microseconds; the filter puts every frame back on its tick
    tick = f"(1/(TB*({fps})))"
    ticks = f"setts=pts=round(PTS/{tick})*{tick}:dts=round(DTS/{tick})*{tick}:duration={tick}"
    pictures = ["-f", "concat", "-safe", "0", "-i", f"file:{names}"]
    track = input_options(sound) if sound else []
    ways = {"copied": ["-c:a", "copy"]} if codec in IN_MP4 else {}
    ways |= {"aac": ["-c:a", "aac", "-b:a", "192k"]} if sound else {}  # also where the copy is refused
    ways["none"] = []  # the last resort
    try:
        with atomic_path(path) as temporary:
            for way in ways:
                inputs = [*pictures, *track, "-map", "0:v:0", "-map", "1:a:0"] if ways[way] else pictures
                outputs = ["-c:v", "copy", *ways[way], "-bsf:v", ticks, "-movflags", "+faststart", f"file:{temporary}"]
                command = ffmpeg_command("-v", "error", "-y", *inputs, *outputs)
                if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
                    break
            else:
                raise _stopped(path)
    finally:
        names.unlink(missing_ok=True)
    if sound and way == "none":
        log.warning("the sound of %s cannot be decoded; %s is without", sound, path)
    return way


def check_name(path: str | Path) -> Path:
    """The path of a video to write; raises UserError where it does not end in .mp4."""
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UserError(f"cannot write {path}: the name of a video must end in .mp4")
    return path


def ffmpeg_command(*options: str) -> list[str]:
    """A command for the ffmpeg that imageio-ffmpeg carries or finds.

    Raises:
        UserError: there is none.
    """
    try:
        return [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", *options]
    except RuntimeError as error:
        raise no_ffmpeg("cannot work on videos") from error


def input_options(path: Path) -> list[str]:
    """ffmpeg's options for an input: this local file and no other, whatever its name or contents say."""
    return ["-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS), "-i", f"file:{path}"]


def no_ffmpeg(what: str) -> UserError:
    """The one line for an ffmpeg that is missing or does not start."""
    return UserError(f"{what}: no ffmpeg that runs; reinstall imageio-ffmpeg or set IMAGEIO_FFMPEG_EXE")


def _stopped(path: Path) -> UserError:
    return UserError(f"cannot write {path}: ffmpeg stopped early; check that the disk has space")
