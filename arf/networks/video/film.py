"""A video in, a painted video out: read, painted in batches, smoothed, written in parts, joined, its sound added.

Everything streams, so memory does not grow with the length. The parts lie beside the output in `<name>.parts/` until
the film is whole; what was killed goes on from the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import cannot_write, check_writable, plain
from arf.jobs.locks import owned
from arf.jobs.outputs import begun, check_outputs, stale
from arf.jobs.tensors import check_tensors, load_tensors, save_tensors
from arf.media import video
from arf.media.footage import Frame, probe
from arf.networks.layers import Stylizer
from arf.networks.video.settings import VideoSettings
from arf.networks.video.smooth import Smoother, TemporalError

Progress = Callable[[str, int, int, dict[str, float]], None]

CPU = torch.device("cpu")
FREE = ("batch", "save_every")  # settings that do not change what the film shows
REMEDY = "begin again with --restart"
STATE = "state.safetensors"
PARTS = r"part-\d+\.mp4|parts\.txt|\.part-.*\.mp4|\.state-.*\.safetensors|\.parts-.*\.txt"  # beside it


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        fps: frames per second, exactly.
        width, height: of the frames; H.264 wants them even, so the file of an odd one repeats its last column or row.
        sound: "copied", "aac" where it had to be encoded again, or "none".
        temporal_error: how much the film changes where it ought not to (`TemporalError`), for the "input", for it as
            "painted" frame by frame, and with smoothing for it "smoothed". Empty where it was not to be measured, and
            where no two frames can be compared.
    """

    frames: int
    fps: Fraction
    width: int
    height: int
    sound: str
    temporal_error: dict[str, float]


def film(
    source: str | Path,
    output: str | Path,
    stylize: Stylizer,
    settings: VideoSettings | None = None,
    progress: Progress | None = None,
    asked: dict[str, Any] | None = None,
    device: torch.device = CPU,
    resume: bool = False,
    restart: bool = False,
    overwrite: bool = False,
) -> Report:
    """Paint a video.

    Rate, size, duration and sound stay as they are; a variable rate becomes a constant one (`Footage.read`). Ctrl-C, or
    an exception of `stylize`, leaves the parts that are finished, and nothing under the name of the output.

    Args:
        source: any video that ffmpeg reads.
        output: ends in .mp4.
        stylize: paints [B, 3, H, W] on `device`, at most `settings.batch` frames.
        progress: called with ("paint", frame, frames, temporal errors so far); how many there are is an estimate.
        asked: whatever else makes the film what it is, as JSON can hold it; it is only gone on with by the same.
        resume: go on with what was stopped. The result is the same as that of one go.
        restart: begin what was stopped again.
        overwrite: replace a film of that name.

    Raises:
        UserError: settings that make no sense, a source that is no video, an output that cannot be written, exists or
            is the source, nothing of the same kind to go on with, or a stopped job and neither `resume` nor `restart`.
        ValueError: `stylize` returns another shape.
    """
    settings, progress = settings or VideoSettings(), progress or (lambda *_: None)
    settings.check()
    source, output = Path(source), video.check_name(output)
    footage = probe(source)
    state = parts_folder(output) / STATE
    check_outputs([output, state, *stale(parts_folder(output), PARTS)], [source], overwrite=True)
    shown = {name: value for name, value in asdict(settings).items() if name not in FREE}
    wish = {**(asked or {}), **shown, "source": source.name, "bytes": source.stat().st_size}
    height, width = footage.fitted(settings.size)
    with owned(output):
        check_outputs([output], (), begun(output, state, resume, restart) or overwrite)
        check_writable(output)
        reel = Reel(output, plain(wish), settings, (height, width), resume)
        with reel, closing(footage.read((height, width))) as frames:
            reel.skip(frames)
            for first in frames:
                with reel.part(footage.fps) as writer:
                    for batch in _batches(chain([first], frames), settings):
                        for frame, painted in zip(batch, _paint(batch, stylize, device), strict=True):
                            writer.write(reel.smoothed(frame, painted))
                        done = reel.frames + writer.frames
                        progress("paint", done, max(done, footage.frames), reel.smoother.figures)
                reel.keep(writer.frames)
        sound = video.join(reel.parts, output, footage.fps, source if footage.sound else None, footage.sound)
        reel.forget()
    return Report(reel.frames, footage.fps, width, height, sound, reel.smoother.figures)


def parts_folder(output: Path) -> Path:
    """Where the parts of an unfinished film lie."""
    return output.with_name(f"{output.stem}.parts")


class Reel:
    """The finished parts of a film, and what it goes on from: `<name>.parts/part-00000.mp4` … and `state.safetensors`.

    Args:
        asked: inputs and settings; only the same ones go on.
        size: height and width of the frames.

    Raises:
        UserError: `resume`, and there is nothing to go on with, or it is of another kind.
    """

    def __init__(
        self, output: Path, asked: dict[str, Any], settings: VideoSettings, size: tuple[int, int], resume: bool
    ) -> None:
        self.folder = parts_folder(output)
        self.asked, self.quality = asked, settings.quality
        self.state_path = self.folder / STATE
        self.smoother = Smoother(settings.smooth_strength if settings.smooth else 0.0)
        self._compares = settings.smooth or settings.measure
        self.frames = self._count = 0
        if resume:
            self._read_state(size)
        else:
            self.forget()

    def __enter__(self) -> Reel:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave_no_empty_folder()

    @property
    def parts(self) -> list[Path]:
        return list(self._parts(self._count))

    def skip(self, frames: Iterator[Frame]) -> None:
        """Pass over the frames that are finished.

        Raises:
            UserError: there are not so many.
        """
        passed = sum(1 for _ in islice(frames, self.frames))
        if passed < self.frames:
            raise UserError(f"{self.state_path} has {self.frames} frames of a video of {passed}; {REMEDY}")

    def part(self, fps: Fraction) -> video.Writer:
        """A writer for the next part."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        return video.Writer(self.folder / f"part-{self._count:05d}.mp4", fps, self.quality, joinable=True)

    def smoothed(self, frame: Frame, painted: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
        """The painted frame as it goes into the film."""
        return self.smoother(frame, painted) if self._compares else painted

    def keep(self, frames: int) -> None:
        """A part of so many frames is finished: note it, with what the next one needs."""
        self.frames += frames
        self._count += 1
        errors = {name: asdict(error) for name, error in self.smoother.errors.items()}
        notes = {"asked": self.asked, "frames": self.frames, "parts": self._count, "errors": errors}
        save_tensors(self.state_path, self.smoother.last, **notes)

    def forget(self) -> None:
        """Remove the parts; what else lies in their folder stays."""
        if not self.folder.is_dir():
            return
        self.state_path.unlink(missing_ok=True)  # first: without it there is nothing to go on with
        for path in stale(self.folder, PARTS):
            path.unlink(missing_ok=True)
        self._leave_no_empty_folder()

    def _leave_no_empty_folder(self) -> None:
        with suppress(OSError):
            self.folder.rmdir()

    def _read_state(self, size: tuple[int, int]) -> None:
        where = self.state_path
        if not where.exists():
            raise UserError(f"nothing to go on from: there is no {where}; leave out --resume")
        tensors, held = load_tensors(where, REMEDY)
        notes = admit(_Notes, held, where, REMEDY)
        was = notes.asked
        if differing := sorted(k for k in {*was, *self.asked} if was.get(k) != self.asked.get(k)):
            raise UserError(f"{where} was made with another {', '.join(differing)}; {REMEDY}")
        if not 1 <= notes.parts <= notes.frames:
            raise UserError(f"{where} has {notes.parts} parts of {notes.frames} frames; {REMEDY}")
        if missing := next((path for path in self._parts(notes.parts) if not path.is_file()), None):
            raise UserError(f"cannot go on: there is no {missing}; {REMEDY}")
        like = self.smoother.like(size) if self._compares else {}
        check_tensors(tensors, like, where, REMEDY)
        if any(tensors[name].dtype != wanted.dtype for name, wanted in like.items()) or notes.errors.keys() - like:
            raise UserError(f"{where} holds other frames than those of a film; {REMEDY}")
        self.frames, self._count = notes.frames, notes.parts
        self.smoother.last, self.smoother.errors = tensors, notes.errors

    def _parts(self, count: int) -> Iterator[Path]:
        return (self.folder / f"part-{i:05d}.mp4" for i in range(count))


@dataclass
class _Notes:
    """What a state says beside the last frames.

    Attributes:
        errors: how much the film has changed so far where it ought not to, by name.
    """

    asked: dict[str, Any]
    frames: int
    parts: int
    errors: dict[str, TemporalError]


def _batches(frames: Iterator[Frame], settings: VideoSettings) -> Iterator[list[Frame]]:
    """The frames of one part in batches; a batch never spans two, so that to go on paints the same batches."""
    part = islice(frames, settings.save_every)
    while batch := list(islice(part, settings.batch)):
        yield batch


@torch.no_grad()
def _paint(frames: list[Frame], stylize: Stylizer, device: torch.device) -> Float[Tensor, "b h w 3"]:
    planes = torch.stack(frames).to(device).permute(0, 3, 1, 2).float() / 255  # [B, 3, H, W]
    painted = stylize(planes)
    if painted.shape != planes.shape:
        raise ValueError(f"a stylizer keeps the shape, got {list(painted.shape)} for {list(planes.shape)}")
    return painted.clamp(0, 1).permute(0, 2, 3, 1).float().cpu().contiguous()  # [B, H, W, 3]
