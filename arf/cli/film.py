"""The command that paints a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Stoppable, progress
from arf.errors import UserError
from arf.jobs.checks import check_unused
from arf.jobs.outputs import check_outputs, inputs_of, result_path
from arf.networks.settings import ANY_STYLE, FastSettings
from arf.networks.video.settings import VideoSettings


@dataclass
class Video:
    """Paint a video frame by frame with a network; its rate, size and sound stay."""

    video: Positional[Path]
    """The video."""
    method: Literal["adain", "cast", "fast", "many"] = "many"
    """adain, cast: any style. fast, many: a style that a network was trained for."""
    style: UseAppendAction[tuple[str, ...]] = ()
    """adain, cast: style picture. many: a style's name or number. Give it several times to mix styles."""
    style_weight: UseAppendAction[tuple[float, ...]] = ()
    """Weight of a style, once for each --style and in their order; equal when left out."""
    model: str | None = None
    """The network, as in `arf adain`, `arf cast` and `arf fast`; one that comes with arf when left out."""
    encoder_weights: Path | None = None
    """adain, cast: weights file of the encoder, as in `arf adain`."""
    alpha: float = 1.0
    """adain, cast: how much of the style."""
    style_size: int = 512
    """adain, cast: long side in pixels at which the style pictures are looked at; smaller brings finer strokes."""
    preserve_color: Literal["none", "luminance"] = "none"
    """Keep the video's colours: change its brightness alone."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[VideoSettings] = field(default_factory=VideoSettings)
    output: Path | None = None
    """Video to write (.mp4). By default outputs/<video>-<style>-<method>.mp4."""
    common: OmitArgPrefixes[Stoppable] = field(default_factory=Stoppable)


def _video(command: Video) -> dict[str, Any]:
    from dataclasses import asdict

    from arf.jobs.device import pick_device
    from arf.jobs.files import fingerprint
    from arf.jobs.presets import unless_preset
    from arf.media.footage import probe
    from arf.networks import modelfile
    from arf.networks.paint import check_room
    from arf.networks.video.film import film, parts_folder

    if command.method not in ANY_STYLE:
        check_unused(command, ("encoder_weights", "alpha", "style_size"), f"with --method {command.method}")
    if not command.settings.smooth:
        command.settings = unless_preset(command.settings, command.config, "video", ("smooth_strength",))
        check_unused(command.settings, ("smooth_strength",), "without --smooth")
    footage = probe(command.video)  # before the network is loaded
    command.settings.check()
    painter = _painter(command)
    any_style = command.method in ANY_STYLE
    styles = [Path(path).stem for path in command.style] if any_style else painter.names
    output = command.output or result_path(command.video.stem, *styles, what=command.method, suffix=".mp4")
    check_outputs([output], inputs_of(command), overwrite=True)  # whether it exists is looked at by who writes it
    size, device = footage.fitted(command.settings.size), pick_device(command.device)
    check_room(size, painter.network, device, command.settings.batch)
    not_asked = ("common", "config", "settings", "output", "device")
    asked = {name: value for name, value in vars(command).items() if name not in not_asked}
    asked["video"] = fingerprint(command.video)
    asked["model"] = fingerprint(modelfile.find(painter.settings.model, f"{command.method}-" if any_style else "fast-"))
    if any_style:
        asked["style"] = [fingerprint(Path(path)) for path in command.style]
        asked["encoder_weights"] = command.encoder_weights and fingerprint(command.encoder_weights)
    with progress(command.common) as bars:
        try:
            told = film(
                command.video, output, painter.stylizer(), command.settings, bars, asked, device,
                command.common.resume, command.common.restart, command.common.overwrite,
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
    from arf.media import image
    from arf.networks.paint import AdainPainter, FastPainter

    shared = {"device": command.device, "preserve_color": command.preserve_color}
    if settings_of := ANY_STYLE.get(command.method):
        own = {"encoder_weights": command.encoder_weights, "alpha": command.alpha, "style_size": command.style_size}
        settings = settings_of(model=command.model or settings_of.model, **own, **shared)
        styles = [image.read_style(Path(path)) for path in command.style]
        return AdainPainter.open(styles, command.style_weight, settings)
    if command.method == "fast" and command.model is None:
        raise UserError("--method fast needs a --model; --method many has one that comes with arf")
    settings = FastSettings(model=command.model or FastSettings.model, **shared)
    return FastPainter.open(command.style, command.style_weight, settings)


COMMANDS = {"video": (Video, _video)}
