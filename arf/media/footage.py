"""Videos in: what a file holds, and its frames one after another, upright, in RGB, at a constant rate.

Reading goes through the ffmpeg of imageio-ffmpeg, frame by frame: memory does not grow with the length of a video.
"""

from __future__ import annotations

import logging
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.media.signature import PICTURE_BRANDS, brand
from arf.media.video import ffmpeg_command, input_options, no_ffmpeg

Frame = UInt8[Tensor, "h w 3"]

MATRICES = r"\b(bt709|bt470bg|smpte170m|smpte240m|bt2020\w*|fcc|ycgco\w*|gbr)\b"
FASTEST = 240  # frames per second; a stated rate above it is a clock, not a rate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Footage:
    """What a video file holds.

    Attributes:
        width, height: of an upright frame in square pixels.
        fps: frames per second, exactly: 30000/1001 stays so.
        frames: how many there are, by the file's duration; 0 where it states none.
        sound: codec of the first sound track, or None.
        matrix: of YCbCr, where the file states none; by size, as players have it.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int
    sound: str | None
    matrix: str | None = None

    def fitted(self, long_side: int | None) -> tuple[int, int]:
        """(height, width) with the longer side no longer than `long_side`, the aspect kept to the nearest pixel."""
        scale = min(1.0, (long_side or max(self.width, self.height)) / max(self.width, self.height))
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))

    def read(self, size: tuple[int, int] | None = None, only: Sequence[int] = ()) -> Iterator[Frame]:
        """The frames, uint8 [H, W, 3], at the constant rate `fps`.

        A video of variable rate is resampled to the rate that it states, which is that of its shortest frames: each
        moment shows the frame that the original shows, to within half a frame, so that it stays with its sound. A file
        whose frames all last equally long comes frame by frame as it is. Where the picture sets in later than the
        sound, its first frame stands until then.

        Args:
            size: (height, width) to resize to.
            only: numbers of the frames that are wanted, at most 100 in ascending order; all of them unless given.

        Raises:
            UserError: ffmpeg is missing, or not one frame can be decoded.
        """
        height, width = size or (self.height, self.width)
        matrix = f":in_color_matrix={self.matrix}" if self.matrix else ""
        scale = f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int{matrix},format=rgb24,setsar=1"
        terms = "+".join(f"eq(n,{i})" for i in only)
        wanted = f"select='{terms}'," if only else ""
        command = ffmpeg_command(
            "-v", "error", *input_options(self.path), "-map", "0:V:0", "-fps_mode", "passthrough",
            "-vf", f"fps={self.fps}:start_time=0,{wanted}{scale}", "-f", "rawvideo", "-",
        )  # fmt: skip
        with tempfile.TemporaryFile() as complaints:
            try:  # a session of its own: Ctrl-C is for us alone
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
                )
            except OSError as error:
                raise no_ffmpeg(f"cannot read {self.path}") from error
            count = 0
            try:
                while len(pixels := process.stdout.read(height * width * 3)) == height * width * 3:
                    count += 1
                    yield torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(height, width, 3)
                process.wait()
            finally:
                process.kill()
                process.stdout.close()
                process.wait()
            complaints.seek(0)
            said = complaints.read(65536).decode(errors="replace").strip().splitlines()
            if not count:
                raise _corrupt(self.path, said)
            if said or process.returncode:
                log.warning("%s is damaged (%s); what can be decoded of it is taken", self.path, _reason(said))


def probe(path: str | Path) -> Footage:
    """Look at a video. Its first frame is decoded, so that what cannot be played is found out now.

    Raises:
        UserError: no such file, a folder, empty, not a video, a picture, sound alone, corrupt, cut short, or no ffmpeg.
    """
    if refusal := cannot_read(path, "video"):
        raise refusal
    path = Path(path)
    report, frame = _look(path)
    format = re.search(r"^Input #0, (\S+), from", report, re.MULTILINE)
    if "moov atom not found" in report and brand(path):
        raise UserError(f"{path} is cut short: the index of its frames (moov) is missing; record or copy it again")
    if format is None:
        raise UserError(f"{path} is not a video that can be read; convert it to mp4")
    if format[1] == "image2" or format[1].endswith("_pipe") or brand(path) in PICTURE_BRANDS:
        raise UserError(f"{path} is a picture, not a video; arf adain and arf fast paint pictures")
    streams = re.findall(r"^ +Stream #0:\d+\S*: (Video|Audio): (.*)", report.split("\nOutput #0")[0], re.MULTILINE)
    seen = [text for kind, text in streams if kind == "Video" and "(attached pic)" not in text]
    heard = [re.match(r"\w+", text)[0] for kind, text in streams if kind == "Audio"]
    if not seen:
        raise UserError(f"{path} holds {'sound but ' if heard else ''}no moving picture; name a video")
    if frame is None:
        raise _corrupt(path, report.splitlines())
    if re.search(r"smpte2084|arib-std-b67", seen[0]):
        log.warning("%s is HDR; its colours are taken as they are and will look pale", path)
    rate, width, height = frame
    rate = _plausible(rate, seen[0])
    duration = re.search(r"^  Duration: (\d+):(\d+):([\d.]+)", report, re.MULTILINE)
    seconds = (
        sum(float(part) * unit for part, unit in zip(duration.groups(), (3600, 60, 1), strict=True)) if duration else 0
    )
    sound = heard[0] if heard and heard[0] != "none" else None
    return Footage(path, width, height, rate, round(seconds * rate), sound, _matrix(seen[0], width, height))


def _look(path: Path) -> tuple[str, tuple[Fraction, int, int] | None]:
    """What ffmpeg tells about a file; and rate, width and height of the first frame, unless there is none.

    `ffmpeg -i` rounds the rate to two digits. The head of framecrc has it as a fraction, and the size after rotation.
    """
    command = ffmpeg_command(
        "-v", "info", *input_options(path), "-map", "0:V:0", "-fps_mode", "cfr", "-frames:v", "1", "-f", "framecrc", "-"
    )
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise no_ffmpeg(f"cannot read {path}") from error
    head, report = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if "ffmpeg version" not in report and "Input #0" not in report and str(path) not in report:
        raise no_ffmpeg(f"cannot read {path}")
    tick, size = re.search(r"#tb 0: (\d+)/(\d+)", head), re.search(r"#dimensions 0: (\d+)x(\d+)", head)
    if not (tick and size and re.search(r"^0,", head, re.MULTILINE)):
        return report, None
    width, height = int(size[1]), int(size[2])
    if (aspect := re.search(r"#sar 0: (\d+)/(\d+)", head)) and int(aspect[1]) and int(aspect[2]):
        width = max(1, round(width * Fraction(int(aspect[1]), int(aspect[2]))))
    return report, (Fraction(int(tick[2]), int(tick[1])), width, height)


def _plausible(rate: Fraction, stream: str) -> Fraction:
    """The stated rate; or the mean one, where a file of variable rate states the ticks of its clock instead."""
    mean = re.search(r"([\d.]+) fps", stream)
    if rate <= FASTEST or mean is None or not float(mean[1]):
        return rate
    return min(Fraction(mean[1]), Fraction(FASTEST))


def _matrix(stream: str, width: int, height: int) -> str | None:
    if not re.search(r"\b(yuv|nv|p0|uyvy)\w*", stream) or re.search(MATRICES, stream):
        return None
    return "bt709" if width >= 1280 or height > 576 else "bt601"


def _corrupt(path: Path, said: list[str]) -> UserError:
    return UserError(f"{path} is corrupt: not one frame can be decoded ({_reason(said)}); replace it")


def _reason(said: list[str]) -> str:
    """The last complaint of ffmpeg without the name of the part that made it."""
    lines = [re.sub(r"^(\[[^]]*\] ?)+", "", line).strip() for line in said]
    return next(
        (line for line in reversed(lines) if line and "=" not in line and "failed!" not in line), "no reason given"
    )
