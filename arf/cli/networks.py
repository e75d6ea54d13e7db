"""The commands that use and train networks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Talk, progress
from arf.cli.scene import Output
from arf.errors import UserError
from arf.networks.settings import AdainSettings, FastSettings
from arf.networks.video_settings import VideoSettings
from arf.training.settings import Method, TrainSettings

log = logging.getLogger(__name__)


@dataclass
class Painted(Talk):
    """What every command that paints pictures has in common."""

    output: Path | None = None
    """Picture to write (.png, .jpg), or with several pictures a folder. By default outputs/<name>-<command>.png."""


@dataclass
class Adain:
    """Paint pictures in any style at once, by the style's statistics (AdaIN; Huang & Belongie, 2017)."""

    content: Positional[tuple[Path, ...]]
    """The pictures to paint, or folders of them."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """Style picture; give it several times to mix styles."""
    style_weight: UseAppendAction[tuple[float, ...]] = ()
    """Weight of a style, once for each --style and in their order; equal when left out."""
    mask: UseAppendAction[tuple[Path, ...]] = ()
    """White where a style goes, once for each --style and in their order."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[AdainSettings] = field(default_factory=AdainSettings)
    common: OmitArgPrefixes[Painted] = field(default_factory=Painted)


@dataclass
class Fast:
    """Paint pictures in a style that a network was trained for (Johnson et al., 2016; Dumoulin et al., 2017)."""

    content: Positional[tuple[Path, ...]]
    """The pictures to paint, or folders of them."""
    style: UseAppendAction[tuple[str, ...]] = ()
    """With a model of many styles: a style's name or number; give it several times to mix styles."""
    style_weight: UseAppendAction[tuple[float, ...]] = ()
    """Weight of a style, once for each --style and in their order; equal when left out."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[FastSettings] = field(default_factory=FastSettings)
    common: OmitArgPrefixes[Painted] = field(default_factory=Painted)


@dataclass
class Video:
    """Paint a video frame by frame with a network; its rate, size and sound stay."""

    video: Positional[Path]
    """The video."""
    method: Literal["adain", "fast", "many"] = "many"
    """adain: any style. fast, many: a style that a network was trained for."""
    style: UseAppendAction[tuple[str, ...]] = ()
    """adain: style picture. many: a style's name or number. Give it several times to mix styles."""
    style_weight: UseAppendAction[tuple[float, ...]] = ()
    """Weight of a style, once for each --style and in their order; equal when left out."""
    model: str | None = None
    """The network, as in `arf adain` and `arf fast`; one that comes with arf when left out."""
    encoder_weights: Path | None = None
    """adain: weights file of the encoder, as in `arf adain`."""
    alpha: float = 1.0
    """adain: how much of the style."""
    style_size: int = 512
    """adain: long side in pixels at which the style pictures are looked at; smaller brings finer strokes."""
    preserve_color: Literal["none", "luminance"] = "none"
    """Keep the video's colours: change its brightness alone."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[VideoSettings] = field(default_factory=VideoSettings)
    output: Path | None = None
    """Video to write (.mp4). By default outputs/<name>-<method>.mp4."""
    resume: bool = False
    """Go on where the same command was stopped or killed."""
    common: OmitArgPrefixes[Talk] = field(default_factory=Talk)


@dataclass
class Train:
    """Train a network on folders of pictures; several GPUs by: torchrun --nproc-per-node=N -m arf train ..."""

    method: Positional[Method | None] = None
    """adain: any style. fast: one style. many: several in one network. cast: any style, by contrast."""
    content: Path | None = None
    """Folder of photographs."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """adain, cast: folder of paintings. fast: the picture. many: pictures, each with --style, or a folder."""
    start: Path | None = None
    """A model to begin with. adain, fast: it is trained further. many: the styles are added to it by training their own
    rows alone, and those that it has stay as they are."""
    config: Path | None = None
    """Preset; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of everything else."""
    settings: OmitArgPrefixes[TrainSettings] = field(default_factory=TrainSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


def _adain(command: Adain) -> dict[str, Any]:
    from arf import image
    from arf.networks.paint import AdainPainter

    painter = AdainPainter.open([image.read_style(p) for p in command.style], command.style_weight, command.settings)

    def paint(picture: Any, native: tuple[int, int]) -> Any:
        return painter(picture, [image.read_mask(path, picture.shape[:2], native) for path in command.mask])

    return _paint(command, "adain", paint)


def _fast(command: Fast) -> dict[str, Any]:
    from arf.networks.paint import FastPainter

    painter = FastPainter.open(command.style, command.style_weight, command.settings)
    return _paint(command, "fast", lambda picture, native: painter(picture))


def _paint(command: Any, what: str, paint: Callable[[Any, tuple[int, int]], Any]) -> dict[str, Any]:
    """Paint every picture. One that cannot be painted does not keep the others from it."""
    from arf import image

    files = [file for path in command.content for file in (image.pictures_in(path) if path.is_dir() else [path])]
    outputs = _outputs(files, command.common.output, what)
    failed: list[UserError] = []
    with progress(command.common) as bars:
        for number, (file, output) in enumerate(zip(files, outputs, strict=True), start=1):
            try:
                picture = image.read_style(file)
                native = tuple(picture.shape[:2])
                if command.settings.size:
                    picture = image.fit_long_side(picture, command.settings.size)
                image.write(output, paint(picture, native))
            except UserError as error:
                if len(files) == 1:
                    raise
                log.warning("%s", error)
                failed.append(error)
            bars(what, number, len(files), {})
    if failed:
        raise UserError(f"{len(failed)} of {len(files)} pictures could not be painted, as said above; the others were")
    return {"pictures": [str(output) for output in outputs], "say": "\n".join(str(output) for output in outputs)}


def _video(command: Video) -> dict[str, Any]:
    from dataclasses import asdict

    from arf.device import pick_device
    from arf.files import fingerprint
    from arf.footage import probe
    from arf.networks.film import film, parts_folder
    from arf.networks.paint import check_room

    footage = probe(command.video)  # before the network is loaded
    output = command.output or Path("outputs") / f"{command.video.stem}-{command.method}.mp4"
    command.settings.check()
    painter = _painter(command)
    check_room(footage.fitted(command.settings.size), painter.network, pick_device(command.device))
    not_asked = ("common", "config", "settings", "output", "resume")
    asked = {name: value for name, value in vars(command).items() if name not in not_asked}
    asked["video"] = fingerprint(command.video)
    if command.method == "adain":
        asked["style"] = [fingerprint(Path(path)) for path in command.style]
    with progress(command.common) as bars:
        try:
            told = film(
                command.video, output, painter.stylizer(), command.settings, bars, command.resume, asked,
                pick_device(command.device),
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            more = "; go on with the same command and --resume" if parts_folder(output).exists() else ""
            raise KeyboardInterrupt(more) from stop
    errors = "".join(f"\ntemporal error, {name}: {value:.4f}" for name, value in told.temporal_error.items())
    return {
        "video": output, **asdict(told), "fps": float(told.fps),
        "say": f"{output}  {told.frames} frames, {told.width}×{told.height}, {float(told.fps):.4g} per second, "
        f"sound: {told.sound}{errors}",
    }  # fmt: skip


def _painter(command: Video) -> Any:
    """What paints the frames."""
    from arf import image
    from arf.networks.paint import AdainPainter, FastPainter

    shared = {"device": command.device, "preserve_color": command.preserve_color}
    if command.method == "adain":
        own = {"encoder_weights": command.encoder_weights, "alpha": command.alpha, "style_size": command.style_size}
        settings = AdainSettings(model=command.model or AdainSettings.model, **own, **shared)
        styles = [image.read_style(Path(path)) for path in command.style]
        return AdainPainter.open(styles, command.style_weight, settings)
    if command.method == "fast" and command.model is None:
        raise UserError("--method fast needs a --model; --method many has one that comes with arf")
    settings = FastSettings(model=command.model or FastSettings.model, **shared)
    return FastPainter.open(command.style, command.style_weight, settings)


def _outputs(files: Sequence[Path], output: Path | None, what: str) -> list[Path]:
    """Where each picture goes.

    Raises:
        UserError: nothing to paint, one name for several pictures, or two pictures of one name.
    """
    from arf import image
    from arf.files import check_writable

    if not files:
        raise UserError("no picture: name at least one, or a folder")
    single = len(files) == 1 and (output is None or output.suffix.lower() in image.FORMATS)
    folder = output or Path("outputs")
    outputs = [output] if single and output else [folder / f"{file.stem}-{what}.png" for file in files]
    if len(files) > 1 and folder.suffix.lower() in image.FORMATS:
        raise UserError(f"{folder} is one picture, and there are {len(files)} to write; name a folder with --output")
    if len(set(outputs)) < len(outputs):
        twice = next(path for path in outputs if outputs.count(path) > 1)
        raise UserError(f"two of the pictures would both be written to {twice}; paint them in two runs, or rename one")
    for path in outputs:
        check_writable(image.check_name(path))
    return outputs


def _train(command: Train) -> dict[str, Any]:
    from arf.runs import Run, settings_from
    from arf.training.train import train

    if command.resume:
        run = Run.open(command.resume, "training", finished=False)
        if run.info["finished"]:
            raise UserError(f"{run.path} has finished; begin a new run, or train it further with --start {run.path}")
        asked, settings = run.info["asked"], settings_from(TrainSettings, run.info["settings"])
        method, content, start = asked["method"], Path(asked["content"]), asked["start"] and Path(asked["start"])
        style = tuple(Path(path) for path in asked["style"])
    else:
        run, method, content, style, start = None, command.method, command.content, command.style, command.start
        settings = command.settings
        if method is None:
            raise UserError("say what to train: arf train adain, fast, many or cast")
        if content is None:
            raise UserError("no photographs: give a folder of them with --content")
    with progress(command.common) as bars:
        run = train(method, content, style, settings, command.common.output, start, bars, run)
    if run is None:  # the first process has said it
        return {}
    metrics = run.info["metrics"]
    skipped = f"\n{metrics['skipped']} files could not be read" if metrics["skipped"] else ""
    model = run.path / "model.safetensors"
    return {
        "run": run.path, "model": model, **metrics,
        "say": f"{model}{skipped}\nlook at {run.path / 'preview.png'}",
    }  # fmt: skip


COMMANDS = {"adain": (Adain, _adain), "fast": (Fast, _fast), "video": (Video, _video), "train": (Train, _train)}
