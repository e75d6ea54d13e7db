"""The commands that paint pictures with a network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Replacing, progress
from arf.errors import UserError
from arf.jobs.outputs import check_outputs, inputs_of, result_path
from arf.networks.settings import AdainSettings, CastSettings, FastSettings

log = logging.getLogger(__name__)


@dataclass
class Painted(Replacing):
    """What every command that paints pictures has in common."""

    output: Path | None = None
    """Picture to write (.png, .jpg), or with several pictures a folder. By default
    outputs/<photo>-<style>-<command>.png."""
    resume: bool = False
    """With several pictures: go on where the same command was stopped or killed; pictures that exist are left."""


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
class Cast(Adain):
    """Paint pictures in any style at once, by a decoder trained by contrast (CAST; Zhang et al., 2022)."""

    settings: OmitArgPrefixes[CastSettings] = field(default_factory=CastSettings)


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


def _any_style(command: Adain) -> dict[str, Any]:
    from arf.media import image
    from arf.networks.paint import AdainPainter

    if command.mask and len(command.mask) != len(command.style):
        raise UserError(f"{len(command.mask)} masks for {len(command.style)} styles; give one --mask for each --style")
    painter = AdainPainter.open([image.read_style(p) for p in command.style], command.style_weight, command.settings)

    def paint(picture: Any, native: tuple[int, int]) -> Any:
        return painter(picture, [image.read_mask(path, picture.shape[:2], native) for path in command.mask])

    return _paint(command, [path.stem for path in command.style], type(command).__name__.lower(), paint)


def _fast(command: Fast) -> dict[str, Any]:
    from arf.networks.paint import FastPainter

    painter = FastPainter.open(command.style, command.style_weight, command.settings)
    return _paint(command, painter.names, "fast", lambda picture, native: painter(picture))


def _paint(
    command: Any, styles: Sequence[str], what: str, paint: Callable[[Any, tuple[int, int]], Any]
) -> dict[str, Any]:
    """Paint every picture. One that cannot be painted does not keep the others from it."""
    from arf.jobs.locks import sole_writer
    from arf.media import image

    files = [file for path in command.content for file in (image.pictures_in(path) if path.is_dir() else [path])]
    outputs = _outputs(files, command.common.output, styles, what)
    check_outputs(outputs, [*files, *inputs_of(command)], command.common.overwrite or command.common.resume)
    failed: list[UserError] = []
    with progress(command.common) as bars:
        for number, (file, output) in enumerate(zip(files, outputs, strict=True), start=1):
            if command.common.resume and output.exists():
                continue
            try:
                picture = image.read_style(file)
                native = tuple(picture.shape[:2])
                if command.settings.size:
                    picture = image.fit_long_side(picture, command.settings.size)
                with sole_writer(output, command.common.overwrite):
                    image.write(output, paint(picture, native))
            except UserError as error:
                if len(files) == 1:
                    raise
                log.warning("%s", error)
                failed.append(error)
            bars(what, number, len(files), {})
    if failed:
        others = "; the others were" if len(failed) < len(files) else ""
        raise UserError(f"{len(failed)} of {len(files)} pictures could not be painted, as said above{others}")
    return {"pictures": [str(output) for output in outputs], "say": "\n".join(str(output) for output in outputs)}


def _outputs(files: Sequence[Path], output: Path | None, styles: Sequence[str], what: str) -> list[Path]:
    """Where each picture goes.

    Raises:
        UserError: nothing to paint, one name for several pictures, or two pictures of one name.
    """
    from arf.jobs.files import check_writable
    from arf.media import image

    if not files:
        raise UserError("no picture: name at least one, or a folder")
    single = len(files) == 1 and (output is None or (output.suffix and not output.is_dir()))
    folder = output or Path("outputs")
    names = [result_path(file.stem, *styles, what=what).name for file in files]
    outputs = [output] if single and output else [folder / name for name in names]
    if len(files) > 1 and folder.suffix.lower() in image.FORMATS:
        raise UserError(f"{folder} is one picture, and there are {len(files)} to write; name a folder with --output")
    if len(set(outputs)) < len(outputs):
        twice = next(path for path in outputs if outputs.count(path) > 1)
        raise UserError(f"two of the pictures would both be written to {twice}; paint them in two runs, or rename one")
    for path in outputs:
        check_writable(image.check_name(path))
    return outputs


COMMANDS = {"adain": (Adain, _any_style), "cast": (Cast, _any_style), "fast": (Fast, _fast)}
