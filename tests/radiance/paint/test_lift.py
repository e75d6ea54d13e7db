"""Lifting: pictures of views become a scene."""

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
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint import by_method, lift
from arf.radiance.paint.pictures import ViewPicture, export_views, read_pictures, view_called
from arf.radiance.paint.subject import Subject
from arf.radiance.records import Lifted, paint_record
from arf.radiance.settings import LiftSettings
from arf.style import encoder

LOAD = encoder.load  # before a fixture puts another in its place
CPU = torch.device("cpu")
LIFT = LiftSettings(size=64, device="cpu", drop_weight=0.0, passes=60)


@pytest.fixture
def subject(fitted, tmp_path) -> Subject:
    field, capture = open_photoreal(fitted, CPU)
    subject = Subject(field, capture.train, LIFT)
    subject.open(ViewCache(1 << 30, tmp_path / "cache", CPU))
    return subject


def colors(subject: Subject) -> torch.Tensor:
    """Some that no recolouring makes."""
    return torch.rand(subject.photoreal.shape, generator=torch.Generator().manual_seed(0))


def seen(subject: Subject, theta: torch.Tensor, i: int) -> torch.Tensor:
    return subject.operators[i].apply(theta, subject.field.background)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * log10(float((one - other).square().mean()))


def test_a_scene_comes_back_from_pictures_of_it(subject):
    wanted = [seen(subject, colors(subject), i) for i in range(len(subject))]
    pictures = {i: ViewPicture.of(picture) for i, picture in enumerate(wanted)}
    look = lift.lifted(subject, pictures, LIFT)
    assert lift.nearness(subject, pictures, look) > 33
    shown = seen(subject, look.theta, 3)
    assert psnr(shown, wanted[3]) > 33
    assert psnr(seen(subject, subject.photoreal, 3), wanted[3]) < 15  # it was far away


def test_one_painted_view_comes_back_as_painted(subject):
    wanted = seen(subject, colors(subject), 4).clamp(0, 1)
    look = lift.lifted(subject, {4: ViewPicture.of(wanted)}, LIFT)
    shown = subject.operators[4].apply(look.theta, look.background).clamp(0, 1)
    assert psnr(shown, wanted) > 30


@pytest.mark.parametrize("elsewhere", ["photograph", "recolor"])
def test_what_no_picture_shows_is_as_it_was_asked_for(subject, elsewhere):
    """Columns that a view does not see have no weight in it."""
    paler = 0.3 + 0.5 * seen(subject, subject.photoreal, 4).clamp(0, 1)
    look = lift.lifted(subject, {4: ViewPicture.of(paler)}, replace(LIFT, elsewhere=elsewhere))
    weight = subject.operators[4].transpose(torch.ones(*subject.views.size(4), 1))[:, 0]
    unseen = weight == 0
    assert unseen.any()
    before = subject.photoreal if elsewhere == "photograph" else 0.3 + 0.5 * subject.photoreal
    difference = (look.theta - before)[unseen].abs()
    assert difference.max() < (1e-5 if elsewhere == "photograph" else 0.1)  # by no map; by two that are found
    assert difference.mean() < 0.02


def test_transparent_and_masked_pixels_say_nothing(subject):
    height, width = subject.views.size(4)
    wanted, alpha = torch.zeros(height, width, 3), torch.zeros(height, width)
    wanted[:, : width // 2] = seen(subject, subject.photoreal, 4)[:, : width // 2].clamp(0, 1)
    alpha[:, : width // 2] = 1
    settings = replace(LIFT, elsewhere="photograph")
    look = lift.lifted(subject, {4: ViewPicture.of(wanted, alpha)}, settings)
    shown, own = (subject.operators[4].apply(theta, look.background) for theta in (look.theta, subject.photoreal))
    assert float((shown - own).abs().mean()) < 2 / 255


def test_preserve_color_keeps_the_chroma(subject):
    wanted = seen(subject, colors(subject), 4).clamp(0, 1)
    look = lift.lifted(subject, {4: ViewPicture.of(wanted)}, replace(LIFT, preserve_color=True))
    change = look.theta - subject.field.colors
    assert torch.allclose(change, change[:, :1].expand(-1, 3), atol=1e-5)  # the same of red, green, blue
    assert change.abs().max() > 0.1


# --- files ---


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


def test_exports_are_not_overwritten(fitted, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    export_views(capture.train, tmp_path)
    before = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
    with pytest.raises(UserError, match="exists already"):
        export_views(capture.train, tmp_path)
    with pytest.raises(UserError, match="read by this command"):
        export_views(capture.train, capture.train.files[0].parent, overwrite=True)
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(("name", "found"), [
    ("a", "a"), ("a-mosaic-adain", "a"), ("a_1", "a_1"), ("a_1-2", "a_1"), ("a_12", "a"), ("a 2", "a"), ("b.new", "b"),
])  # fmt: skip
def test_pictures_are_called_as_their_views(name, found):
    names = ["b", "a", "a_1"]
    assert names[view_called(name, names, "it")] == found


@pytest.mark.parametrize("name", ["ab", "c", "", "B"])
def test_pictures_of_no_view(name):
    with pytest.raises(UserError, match=r"it is of no view: they are called b, a, a_1; arf lift RUN --export-views"):
        view_called(name, ["b", "a", "a_1"], "it")


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


def test_pictures_of_another_size_are_resized_and_one_file_does(fitted, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    file = tmp_path / f"{capture.train.names[5]}.jpg"
    image.write(file, image.resize(capture.train.image(5), 56, 57))  # a program that rounds to its liking
    pictures = read_pictures(file, capture.train)
    assert list(pictures) == [5]
    assert pictures[5].image.shape == (28, 28, 3)


# --- by a 2D method ---


@pytest.fixture
def negatives(monkeypatch) -> list[torch.Tensor]:
    """A method that turns photographs into negatives, and what it was given."""
    given: list[torch.Tensor] = []

    def negative(picture: torch.Tensor) -> torch.Tensor:
        given.append(picture)
        return 1 - picture

    monkeypatch.setattr(lift, "painter_by", lambda *_: negative)
    return given


def test_photographs_are_painted_and_lifted(fitted, negatives, tmp_path):
    run = lift.lift(fitted, Lifted("adain", ("a.png",)), LIFT, tmp_path)
    painted, capture = open_painted(run, CPU)
    assert len(negatives) == len(capture.train)
    assert torch.equal(negatives[3], image.to_bytes(capture.train.image(3)).float() / 255)
    photograph, camera = capture.train.image(3), capture.train.cameras[3]
    shown, own = (painting(painted.field, look, camera) for look in (painted.look, Look.photoreal(painted.field)))
    assert psnr(shown, 1 - photograph) > psnr(own, photograph) - 1  # a negative as good as the photoreal scene
    assert len(list((run.path / "views").glob("*.png"))) == len(capture.train)
    assert not (run.path / "resume.safetensors").exists()
    assert paint_record(run).name == "adain of a"


def test_a_stopped_lift_paints_no_picture_twice(fitted, negatives, tmp_path, monkeypatch):
    whole = lift.lift(fitted, Lifted("adain", ("a.png",)), LIFT, tmp_path / "whole")
    count = len(negatives)
    negatives.clear()

    def stopped(what: str, step: int, *_: object) -> None:
        if what == "paint" and step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="what was done is saved, go on with --resume"):
        lift.lift(fitted, Lifted("adain", ("a.png",)), LIFT, tmp_path / "halves", stopped)
    (run,) = Run.below(tmp_path / "halves")
    record = paint_record(run)
    lift.lift(fitted, record.lift, record.settings, tmp_path / "halves", resume=run)
    assert len(negatives) == count
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("method", "styles"), [("adain", 1), ("cast", 2), ("fast", 0), ("gatys", 1)])
def test_every_method_paints(method, styles, paintings, monkeypatch):
    monkeypatch.setattr("arf.style.encoder.load", LOAD)
    given = ["mosaic"] if method == "fast" else [str(path) for path in (*paintings, *paintings)[:styles]]
    settings = replace(LIFT, steps=5) if method == "gatys" else LIFT
    picture = torch.rand(40, 64, 3, generator=torch.Generator().manual_seed(0))
    painted = by_method.painter_by(method, given, settings)(picture)
    assert painted.shape == picture.shape
    assert 0 <= painted.min() <= painted.max() <= 1
    assert (painted - picture).abs().mean() > 0.01


@pytest.mark.parametrize(("method", "styles", "settings", "said"), [
    ("adain", [], {}, "no style picture"),
    ("gatys", [], {}, "no style picture"),
    ("fast", [], {}, "has several styles"),
    ("fast", ["nothing"], {}, "has no style 'nothing'"),
    ("adain", ["missing.png"], {}, "missing.png"),
    ("adain", ["{style}"], {"style_weights": (1.0, 2.0)}, "it needs 1 values"),
    ("adain", ["{style}"], {"steps": 5}, "--steps has no use with adain"),
    ("gatys", ["{style}"], {"model": "x"}, "--model has no use with gatys"),
    ("fast", ["mosaic"], {"encoder_weights": Path("x")}, "--encoder-weights has no use with fast"),
])  # fmt: skip
def test_what_no_method_can_do(method, styles, settings, said, paintings):
    styles = [style.format(style=paintings[0]) for style in styles]
    with pytest.raises(UserError, match=said):
        by_method.painter_by(method, styles, replace(LIFT, **settings))


@pytest.mark.parametrize("name", ["model", "encoder_weights", "steps", "style_weights"])
def test_pictures_need_no_method_s_settings(fitted, name, tmp_path):
    values = {"model": "x", "encoder_weights": Path("x"), "steps": 3, "style_weights": (1.0,)}
    with pytest.raises(UserError, match=rf"--{name.replace('_', '-')} has no use with --pictures"):
        lift.lift(fitted, Lifted(pictures=tmp_path), replace(LIFT, **{name: values[name]}), tmp_path / "runs")


def test_a_painting_by_the_style_loop_is_no_lift(stylized):
    assert paint_record(stylized).lift is None
    assert paint_record(stylized).settings == STYLIZE
