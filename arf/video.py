"""Frames to an H.264 mp4 that browsers play."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import imageio_ffmpeg
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from arf.errors import UserError
from arf.files import atomic_path
from arf.image import to_bytes


class Writer:
    """Streams frames to an mp4: H.264, yuv420p, BT.709, index in front. Use it in a `with` block.

    The file appears, whole, when the block ends well; an exception leaves nothing behind. yuv420p wants even sizes,
    so an odd frame is padded by repeating its last row or column.

    Args:
        path: ends in .mp4.
        fps: frames per second.
        quality: 1 (small) to 10 (near lossless), as imageio counts.

    Raises:
        UserError: another suffix, no ffmpeg, or the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float = 30.0, quality: float = 7.0) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise UserError(f"cannot write {path}: the name of a video must end in .mp4")
        if not fps > 0 or not 1 <= quality <= 10:
            raise UserError(f"cannot write {path}: fps must be positive and quality 1 to 10, got {fps} and {quality}")
        self.fps = float(fps)
        self.quality = quality
        self.frames = 0
        self._shape: tuple[int, ...] | None = None
        self._encoder = None
        self._atomic: AbstractContextManager[Path] = atomic_path(self.path)

    def __enter__(self) -> Writer:
        self._temporary = self._atomic.__enter__()
        return self

    def write(self, frame: Float[Tensor, "h w 3"] | UInt8[Tensor, "h w 3"] | np.ndarray) -> None:
        """Append a frame: float in [0, 1] (clamped) or uint8, [H, W, 3].

        Raises:
            UserError: ffmpeg is missing or stopped, for example on a full disk.
            ValueError: not [H, W, 3], not finite, or another size than the first frame.
        """
        frame = torch.as_tensor(frame)
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is [H, W, 3], got {list(frame.shape)}")
        if self._shape not in (None, tuple(frame.shape)):
            raise ValueError(f"frames must have one size, got {list(frame.shape)} after {list(self._shape)}")
        pixels = frame.cpu().numpy() if frame.dtype == torch.uint8 else to_bytes(frame).numpy()
        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # [even, even, 3]
        if self._encoder is None:
            self._shape = tuple(frame.shape)
            self._encoder = self._start(pixels.shape[1], pixels.shape[0])
        try:
            self._encoder.send(np.ascontiguousarray(pixels))
        except OSError as error:
            raise self._stopped() from error
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._encoder is not None:
                self._encoder.close()
            if kind is None:
                self._verify()
        except BaseException as failure:
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._atomic.__exit__(kind, error, trace)

    def _start(self, width: int, height: int):
        matrix = "scale=out_color_matrix=bt709:out_range=tv"  # ffmpeg's default is BT.601, which browsers do not expect
        tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
        try:
            encoder = imageio_ffmpeg.write_frames(
                str(self._temporary),
                (width, height),
                fps=self.fps,
                quality=self.quality,
                codec="libx264",
                macro_block_size=1,
                ffmpeg_log_level="quiet",
                output_params=["-vf", matrix, *tags, "-movflags", "+faststart"],
            )
            encoder.send(None)
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"cannot write {self.path}: no ffmpeg that runs; reinstall imageio-ffmpeg or set IMAGEIO_FFMPEG_EXE"
            ) from error
        return encoder

    def _verify(self) -> None:
        """imageio-ffmpeg does not report ffmpeg's exit status, so count what arrived."""
        if not self.frames:
            raise ValueError(f"no frame was written to {self.path}")
        try:
            arrived, _ = imageio_ffmpeg.count_frames_and_secs(str(self._temporary))
        except (RuntimeError, OSError) as error:
            raise self._stopped() from error
        if arrived != self.frames:
            raise self._stopped()

    def _stopped(self) -> UserError:
        return UserError(f"cannot write {self.path}: ffmpeg stopped early; check that the disk has space")
