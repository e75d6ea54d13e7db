"""The commands that make pictures by optimisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Replacing, Stoppable, progress
from arf.jobs.checks import within
from arf.jobs.files import cannot_read, fingerprint
from arf.jobs.outputs import begun, check_outputs, inputs_of, result_path, stale
from arf.transfer.settings import DreamSettings, FeaturesSettings, GatysSettings, InvertSettings, TextureSettings


@dataclass
class Painting(Stoppable):
    """What every command that optimises a picture has in common."""

    output: Path | None = None
    """Picture to write (.png, .jpg). By default outputs/<photo>-<style>-<command>.png."""
    preview_every: int = 50
    """Steps between previews (<output>.preview.png), which --resume can also go on from; 0 for none."""
    save_every: int = 0
    """Steps between pictures that are kept, named by size and step; 0 for none."""
    trace: Path | None = None
    """CSV file for the terms of the loss at every step."""


@dataclass
class Texture:
    """Make a new picture, of any size, with the texture of a sample (Gatys et al., 2015)."""

    sample: Positional[Path]
    """The texture to take after."""
    size: int | None = None
    """Long side in pixels at which the sample is looked at; its own when left out, but no more than 256."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[TextureSettings] = field(default_factory=TextureSettings)
    common: OmitArgPrefixes[Painting] = field(default_factory=Painting)


@dataclass
class Invert:
    """Rebuild a photograph from what one layer of the network knows of it (Mahendran & Vedaldi, 2015)."""

    photo: Positional[Path]
    """The photograph."""
    layer: str = "relu3_1"
    """The layer; all makes a strip of relu1_1 to relu5_1."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[InvertSettings] = field(default_factory=InvertSettings)
    common: OmitArgPrefixes[Painting] = field(default_factory=Painting)


@dataclass
class Gatys:
    """Paint a photograph in the style of pictures, by optimisation (Gatys et al., 2016)."""

    content: Positional[Path]
    """The photograph."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """Style picture; give it several times to mix styles."""
    style_weight: UseAppendAction[tuple[float, ...]] = ()
    """Weight of a style, once for each --style and in their order; equal when left out."""
    mask: UseAppendAction[tuple[Path, ...]] = ()
    """White where a style goes, once for each --style and in their order."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[GatysSettings] = field(default_factory=GatysSettings)
    common: OmitArgPrefixes[Painting] = field(default_factory=Painting)


@dataclass
class Dream:
    """Change a photograph so that a layer sees more of what it looks for (DeepDream)."""

    photo: Positional[Path]
    """The photograph."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[DreamSettings] = field(default_factory=DreamSettings)
    common: OmitArgPrefixes[Painting] = field(default_factory=Painting)


@dataclass
class Features:
    """Show what the network sees in a picture, and where its features find their like in another."""

    photo: Positional[Path]
    """The picture to look at."""
    other: Path | None = None
    """A second picture, such as a style: the features of the first are matched with its."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[FeaturesSettings] = field(default_factory=FeaturesSettings)
    output: Path | None = None
    """Folder for the pictures and report.html. By default outputs/<photo>-<other>-features."""
    common: OmitArgPrefixes[Replacing] = field(default_factory=Replacing)


def _features(command: Features) -> dict[str, Any]:
    from arf.jobs.locks import owned
    from arf.media import image
    from arf.transfer.features import OURS, features, write

    names = [path.stem for path in (command.photo, command.other) if path]
    folder = command.output or result_path(*names, what="features", suffix="")
    check_outputs({folder / REPORT, *stale(folder, OURS)}, inputs_of(command), command.common.overwrite)
    photo = image.read(command.photo)
    other = image.read_style(command.other) if command.other else None
    with owned(folder):
        with progress(command.common) as bars:
            found = features(photo, command.settings, other, bars)
        report = write(found, folder, [path.name for path in (command.photo, command.other) if path])
    layers, said = {}, ""
    for layer in found.layers:
        layers[layer.name] = {"channels": [channel.number for channel in layer.channels]}
        if layer.compared:
            distance, used = layer.compared.matches.mean_distance, layer.compared.matches.used
            layers[layer.name] |= {"mean_distance": distance, "used": used}
            said += f"\n{layer.name}: mean cosine distance {distance:.3f}; {used:.1%} of {command.other.name} is used"
    return {
        "report": report, "layers": layers,
        "say": f"{report}  filters, activations, sensitivity{' and matches' * (other is not None)}: "
        f"open it in a browser{said}",
    }  # fmt: skip


def _texture(command: Texture) -> dict[str, Any]:
    from arf.transfer.texture import texture

    within(command, 16, 65536, "size")
    sample = _read(command.sample, command.size, 256, command.settings)
    output = command.common.output or result_path(command.sample.stem, what="texture")
    return _paint(command, output, lambda **job: texture(sample, command.settings, **job))


def _invert(command: Invert) -> dict[str, Any]:
    from arf.jobs.locks import owned
    from arf.media import image
    from arf.transfer.engine.job import state_path
    from arf.transfer.invert import invert

    photo = _read(command.photo, command.settings.size, 256, command.settings)
    output = command.common.output or result_path(command.photo.stem, what=f"invert-{command.layer}")
    if command.layer != "all":
        return _paint(command, output, lambda **job: invert(photo, command.layer, command.settings, **job))
    image.check_name(output)
    strip, common = [photo], command.common
    parts = [_beside(output.with_suffix(".png"), layer) for layer in LAYERS]
    traces = [common.trace and _beside(common.trace, layer) for layer in LAYERS]
    stopped = [begun(part, state_path(part), common.resume, common.restart) for part in parts]
    check_outputs([output, *parts, *filter(None, traces)], inputs_of(command), common.overwrite or any(stopped))
    with owned(output, _lock_of(output)):
        for layer, part, trace in zip(LAYERS, parts, traces, strict=True):
            resume = common.resume and (part == parts[0] or state_path(part).exists())
            own = replace(common, trace=trace, resume=resume, restart=not resume, overwrite=True)
            one = replace(command, common=own)
            _paint(one, part, lambda layer=layer, **job: invert(photo, layer, command.settings, **job), layer)
            strip.append(image.read(part))
        image.write(output, image.contact_sheet([strip]))
        for part in reversed(parts):  # the first one's last: --resume looks for it
            state_path(part).unlink(missing_ok=True)
    return {"picture": output, "say": f"{output}  the photograph, then {', '.join(LAYERS)}"}


def _gatys(command: Gatys) -> dict[str, Any]:
    from arf.media import image
    from arf.transfer.gatys import gatys

    content = _read(command.content, command.settings.size, 512, command.settings)
    styles = [image.read_style(path) for path in command.style]
    native = tuple(image.read(command.content).shape[:2])
    masks = [image.read_mask(path, content.shape[:2], native) for path in command.mask]
    names = [path.stem for path in (command.content, *command.style)]
    output = command.common.output or result_path(*names, what="gatys")
    return _paint(
        command, output, lambda **job: gatys(content, styles, command.style_weight, masks, command.settings, **job)
    )


def _dream(command: Dream) -> dict[str, Any]:
    from arf.transfer.dream import dream

    photo = _read(command.photo, command.settings.size, 512, command.settings)
    output = command.common.output or result_path(command.photo.stem, what="dream")
    return _paint(command, output, lambda **job: dream(photo, command.settings, **job))


def _read(path: Path, size: int | None, at_most: int, settings: Any) -> Any:
    """A picture with the long side that was asked for; its own, up to a bound, when none was."""
    from arf.media import image
    from arf.transfer.engine.network import check_room

    settings.check()
    picture = image.read_style(path)
    own = max(picture.shape[:2])
    long_side = size or min(at_most, own)
    if long_side > own:
        check_room(tuple(round(side * long_side / own) for side in picture.shape[:2]), settings)
    return image.fit_long_side(picture, long_side)


def _lock_of(output: Path) -> Path:
    """Named as the output's state and previews are, which a picture of another format would share."""
    return output.with_name(f".{output.stem}.lock")


def _beside(path: Path, layer: str) -> Path:
    """The name for a layer's part of what is written to a path."""
    return path.with_name(f"{path.stem}-{layer}{path.suffix}")


def _paint(command: Any, output: Path, paint: Callable[..., Any], label: str = "") -> dict[str, Any]:
    """Make a picture with progress, previews, a trace and a state to go on from, which with a label outlives it."""
    from arf.jobs.locks import owned
    from arf.media import image

    image.check_name(output)
    with owned(output, _lock_of(output)):
        return _optimise(command, output, paint, label)


def _optimise(command: Any, output: Path, paint: Callable[..., Any], label: str) -> dict[str, Any]:
    from arf.transfer.engine.job import Job
    from arf.transfer.engine.optimize import Interrupted, Moment

    common = command.common
    asked = {k: _inside(v) for k, v in vars(command).items() if k not in ("common", "config", "settings")}
    if (weights := command.settings.encoder_weights) and (refusal := cannot_read(weights, "weights file")):
        raise refusal
    asked |= {k: _inside(v) for k, v in vars(command.settings).items() if k not in FREE}
    job = Job(
        asked, output, common.preview_every, common.save_every, common.trace, common.resume, common.restart,
        common.overwrite, inputs_of(command),
    )  # fmt: skip
    with progress(common) as bars:

        def watch(moment: Moment) -> None:
            job.watch(moment)
            height, width = moment.size
            bars(f"{label} {width}×{height}".strip(), moment.step, moment.steps, moment.parts)

        try:
            job.finish(paint(watch=watch, go_on=job.go_on))
        except Interrupted as stopped:
            raise KeyboardInterrupt(job.stop(stopped)) from stopped
    if label:
        job.keep()
    else:
        job.forget()
    return {"picture": output, **job.rows[-1], "say": str(output)}


def _inside(value: Any) -> Any:
    """What an input holds: a picture's file may be another under the same name, or the same under another."""
    if isinstance(value, tuple):
        return [_inside(v) for v in value]
    return fingerprint(value) if isinstance(value, Path) else value


FREE = ("tile", "device")  # settings that do not change the picture
REPORT = "report.html"
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
COMMANDS = {
    "texture": (Texture, _texture),
    "invert": (Invert, _invert),
    "gatys": (Gatys, _gatys),
    "dream": (Dream, _dream),
    "features": (Features, _features),
}
