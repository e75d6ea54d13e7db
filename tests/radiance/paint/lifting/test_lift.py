"""Lifting, as a job: pictures of views, or a 2D method, become a painting."""

from __future__ import annotations

from dataclasses import replace
from math import log10
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.paint.lifting import lift
from arf.radiance.paint.lifting.pictures import export_views
from arf.radiance.records import Lifted, paint_record
from arf.radiance.settings import LiftSettings

CPU = torch.device("cpu")
LIFT = LiftSettings(size=64, device="cpu", drop_weight=0.0, passes=60)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * log10(float((one - other).square().mean()))


def test_exported_views_come_back(fitted, tmp_path):
    """What is written unpainted is the photoreal scene once more; `lift` reads what other programs make of it."""
    _, capture = open_photoreal(fitted, CPU)
    files = export_views(capture.train, tmp_path / "views")
    assert [file.stem for file in files] == capture.train.names
    assert torch.equal(image.read(files[2]), image.to_bytes(capture.train.image(2)).float() / 255)
    for file in files:
        file.rename(file.with_name(f"{file.stem}-mosaic.png"))
    run = lift.lift(fitted, Lifted(pictures=tmp_path / "views"), LIFT, tmp_path / "runs")
    assert run.info["finished"]
    assert run.info["metrics"]["pictures"] == len(files)
    painted, capture = open_painted(run, CPU)
    shown = painting(painted.field, painted.look, capture.train.cameras[2])
    assert (
        psnr(shown, capture.train.image(2))
        > psnr(painting(painted.field, Look.photoreal(painted.field), capture.train.cameras[2]), capture.train.image(2))
        - 0.1
    )
    record = paint_record(run)
    assert record.name == "views"
    assert record.styles == ()
    assert isinstance(record.settings, LiftSettings)
    assert image.read(run.path / "preview.png").shape[1] == 3 * 28 + 4 * 8  # photograph, picture, painting


@pytest.mark.parametrize(("files", "said"), [
    ({"{0}.png": (28, 28, 255), "{0}-x.png": (28, 28, 255)}, r"are both of the view \w+; leave one of them out"),
    ({"{1}.png": (28, 20, 255)}, r"is 20×28 pixels, and the view \w+ is 28×28: of another shape"),
    ({"{1}.png": (28, 28, 0)}, r"is transparent everywhere; paint something"),
    ({"other.png": (28, 28, 255)}, "is of no view"),
    ({}, "holds no picture"),
])  # fmt: skip
def test_pictures_that_are_refused_leave_nothing_behind(fitted, tmp_path, files, said):
    _, capture = open_photoreal(fitted, CPU)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, (height, width, alpha) in files.items():
        pixels = np.full((height, width, 4), 200, np.uint8)
        pixels[..., 3] = alpha
        Image.fromarray(pixels).save(folder / name.format(*capture.train.names))
    with pytest.raises(UserError, match=said):
        lift.lift(fitted, Lifted(pictures=folder), LIFT, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def negatives(monkeypatch) -> list[torch.Tensor]:
    """A method that turns photographs into negatives, and what it was given."""
    given: list[torch.Tensor] = []

    def negative(picture: torch.Tensor) -> torch.Tensor:
        given.append(picture)
        return 1 - picture

    monkeypatch.setattr("arf.radiance.paint.lifting.lift.painter_by", lambda *_: negative)
    return given


def test_photographs_are_painted_and_lifted(fitted, paintings, negatives, tmp_path):
    run = lift.lift(fitted, Lifted("adain", (str(paintings[0]),)), LIFT, tmp_path)
    painted, capture = open_painted(run, CPU)
    assert len(negatives) == len(capture.train)
    assert torch.equal(negatives[3], image.to_bytes(capture.train.image(3)).float() / 255)
    photograph, camera = capture.train.image(3), capture.train.cameras[3]
    shown, own = (painting(painted.field, look, camera) for look in (painted.look, Look.photoreal(painted.field)))
    assert psnr(shown, 1 - photograph) > psnr(own, photograph) - 1  # a negative as good as the photoreal scene
    assert len(list((run.path / "views").glob("*.png"))) == len(capture.train)
    assert not (run.path / "resume.safetensors").exists()
    assert paint_record(run).name == f"adain of {paintings[0].stem}"


def test_a_stopped_lift_paints_no_picture_twice(fitted, paintings, negatives, tmp_path, monkeypatch):
    whole = lift.lift(fitted, Lifted("adain", (str(paintings[0]),)), LIFT, tmp_path / "whole")
    count = len(negatives)
    negatives.clear()

    def stopped(what: str, step: int, *_: object) -> None:
        if what == "paint" and step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="what was done is saved, go on with --resume"):
        lift.lift(fitted, Lifted("adain", (str(paintings[0]),)), LIFT, tmp_path / "halves", stopped)
    (run,) = Run.below(tmp_path / "halves")
    record = paint_record(run)
    lift.lift(fitted, record.lift, record.settings, tmp_path / "halves", resume=run)
    assert len(negatives) == count
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["model", "encoder_weights", "steps", "style_weights"])
def test_pictures_need_no_method_s_settings(fitted, name, tmp_path):
    values = {"model": "x", "encoder_weights": Path("x"), "steps": 3, "style_weights": (1.0,)}
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} has no use with --pictures"):
        lift.lift(fitted, Lifted(pictures=tmp_path), replace(LIFT, **{name: values[name]}), tmp_path / "runs")


def test_a_painting_by_the_style_loop_is_no_lift(stylized):
    assert paint_record(stylized).lift is None
    assert paint_record(stylized).settings == STYLIZE
