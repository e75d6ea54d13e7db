"""What arf.json says of a fit or a painting, checked: whoever wants to know asks here.

The file may be a stranger's, or an older arf's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from arf.errors import UserError
from arf.jobs.door import admit, settings_of_run
from arf.jobs.runs import INFO, Run
from arf.radiance.settings import FitSettings, LiftSettings, Region, RepaintSettings, StylizeSettings
from arf.radiance.sight import Sight

REMEDY = "make the run again"


@dataclass
class Source:
    """A capture, and how a fit read it.

    Attributes:
        settings: of the fit; None where it was none of ours.
        parser: `name`, fields and recorded `frame` of the dataparser of a fit of ns-train's; None for all else.
        capture: the capture's fingerprint; older runs have none.
        sight: of splats that came as a file, which `data` names; None for all else.
    """

    data: Path
    settings: FitSettings | None = None
    parser: dict[str, Any] | None = None
    capture: str | None = None
    sight: Sight | None = None


@dataclass
class FitRecord(Source):
    """A fit.

    Attributes:
        scene: the capture's name; what is made of the fit goes into folders of that name.
        model: what `arf.radiance.fields.kinds.build` makes its field of; None while it is being fitted.
    """

    scene: str = "scene"
    model: dict[str, Any] | None = None


@dataclass(kw_only=True)
class Origin(Source):
    """The fit that was painted, as the painting remembers it: the run may have gone."""

    run: Path


@dataclass
class Lifted:
    """What a painting was lifted from.

    Attributes:
        method: the 2D method that painted the photographs; None where pictures were given.
        styles: of that method: files, or names of a network's styles.
        pictures: a picture of a view, or a folder of them.
    """

    method: Literal["adain", "cast", "fast", "gatys"] | None = None
    styles: tuple[str, ...] = ()
    pictures: Path | None = None

    def resolved(self) -> Lifted:
        """The same from everywhere."""
        styles = self.styles if self.method == "fast" else tuple(str(file.resolve()) for file in self.files)
        return replace(self, styles=styles, pictures=self.pictures and self.pictures.resolve())

    @property
    def files(self) -> list[Path]:
        """The style pictures."""
        return [] if self.method == "fast" else [Path(style) for style in self.styles]

    @property
    def name(self) -> str:
        """What it is called: the method and its styles, or the pictures."""
        if self.method is None:
            return self.pictures.stem
        return f"{self.method} of {' + '.join(Path(style).stem for style in self.styles)}"


@dataclass
class Reference:
    """Painted views, which a painting follows.

    Attributes:
        pictures: one of them, or a folder; called as their views are.
        view: the view of the one, where it is called otherwise.
    """

    pictures: Path
    view: str | None = None

    @property
    def files(self) -> list[Path]:
        return [self.pictures]

    def resolved(self) -> Reference:
        """The same from everywhere."""
        return replace(self, pictures=self.pictures.resolve())


@dataclass
class Blend:
    """Paintings of one fit that were mixed to another one.

    Attributes:
        names: of the paintings, for people.
        runs: the paintings, which may have gone.
        weights: one for each; they add up to 1.
    """

    names: tuple[str, ...]
    runs: tuple[Path, ...]
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        return " + ".join(f"{w:g} {name}" for name, w in zip(self.names, self.weights, strict=False))


@dataclass
class PaintRecord:
    """A painting.

    Attributes:
        settings: those of `arf lift` where it was lifted, else those of `arf stylize`.
        lift: None where it was not lifted.
        regions: that the styles have for themselves, in their order.
        reference: None where no views were painted.
        blend: None where it is not mixed of others.
        model: of the field under it.
        memory: bytes that matrices and features may take; older runs do not say it.
    """

    styles: tuple[Path, ...]
    settings: RepaintSettings
    fit: Origin
    model: dict[str, Any]
    lift: Lifted | None = None
    regions: tuple[Region, ...] = ()
    reference: Reference | None = None
    blend: Blend | None = None
    memory: Annotated[int, msgspec.Meta(ge=0, le=2**50)] | None = None

    @property
    def name(self) -> str:
        """What the painting is called."""
        if made := self.blend or self.lift:
            return made.name
        return " + ".join(style.stem for style in self.styles)


def fit_record(run: Run) -> FitRecord:
    """
    Raises:
        UserError: the run is no fit, or its arf.json is damaged.
    """
    _expect(run, "fit")
    where = run.path / INFO
    record = admit(FitRecord, run.info, where, REMEDY)
    _check_source(record, run.info, where)
    needed = "model" if run.info["finished"] else "settings"
    if getattr(record, needed) is None:
        raise UserError(f"{where}: {needed}: it is missing; {REMEDY}")
    if record.scene == ".." or any(mark in record.scene for mark in "/\\\0"):
        raise UserError(f"{where}: scene is {record.scene!r}, which is no folder's name; {REMEDY}")
    return record


def paint_record(run: Run) -> PaintRecord:
    """
    Raises:
        UserError: the run is no painting, or its arf.json is damaged.
    """
    _expect(run, "stylize")
    where = run.path / INFO
    record = admit(PaintRecord, run.info, where, REMEDY)
    kind = RepaintSettings if record.blend else LiftSettings if record.lift else StylizeSettings
    record.settings = _settings(kind, run.info["settings"], where)
    if "drop_weight" not in run.info["settings"]:  # every arf has written it: another one would show another painting
        raise UserError(f"{where}: settings: drop_weight: it is missing; {REMEDY}")
    _check_source(record.fit, run.info["fit"], f"{where}: fit")
    _check_made(record, where)
    return record


def _check_made(record: PaintRecord, where: object) -> None:
    if record.lift and (record.lift.method is None) == (record.lift.pictures is None):
        raise UserError(f"{where}: lift: it names a method or pictures, and not both; {REMEDY}")
    for region in record.regions:
        try:
            region.check()
        except UserError as error:
            raise UserError(f"{where}: regions: {error}") from error


def source_of(run: Run) -> Source:
    """The capture behind a run of either kind.

    Raises:
        UserError: as `fit_record` and `paint_record`.
    """
    return paint_record(run).fit if run.kind == "stylize" else fit_record(run)


def _expect(run: Run, kind: str) -> None:
    if run.kind != kind:
        raise UserError(f"{run.path} is a {run.kind} run, but a {kind} run is needed")


def _check_source(source: Source, values: dict[str, Any], where: object) -> None:
    if source.sight is not None:
        source.sight.check(f"{where}: sight")
    if source.settings is not None:
        source.settings = _settings(FitSettings, values["settings"], where)
    elif source.sight is None and source.parser is None:
        raise UserError(f"{where}: settings: they are missing; {REMEDY}")


def _settings(kind: type, values: dict[str, Any], where: object) -> Any:
    settings = settings_of_run(kind, values, f"{where}: settings")
    try:
        settings.check()
    except UserError as error:
        raise UserError(f"{where}: settings: {error}") from error
    return settings
