"""Painting after views that somebody has painted."""

from __future__ import annotations

from dataclasses import replace
from math import log10

import numpy as np
import pytest
import torch
from encoders import tiny_encoder
from PIL import Image
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.paint.reference import ReferencePainter, read_references
from arf.radiance.paint.stylize import stylize
from arf.radiance.paint.subject import Subject
from arf.radiance.records import Reference, paint_record
from arf.radiance.settings import StylizeSettings

CPU = torch.device("cpu")
VIEW = 7
FOLLOW = replace(STYLIZE, content_weight=StylizeSettings.content_weight)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * log10(float((one - other).square().mean()))


@pytest.fixture(scope="module")
def reference(fitted, tmp_path_factory) -> Reference:
    """A view of the room with red and blue exchanged, as the fit shows it."""
    field, capture = open_photoreal(fitted, CPU)
    shown = painting(field, None, capture.train.cameras[VIEW])
    file = tmp_path_factory.mktemp("reference") / f"{capture.train.names[VIEW]}.png"
    image.write(file, shown.flip(2))
    return Reference(file)


@pytest.fixture(scope="module")
def followed(fitted, reference, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        return stylize(fitted, [], FOLLOW, tmp_path_factory.mktemp("followed"), reference=reference)


def test_the_painted_view_comes_back_as_painted(followed, reference):
    painted, capture = open_painted(followed, CPU)
    shown = painting(painted.field, painted.look, capture.train.cameras[VIEW])
    assert psnr(shown, image.read(reference.pictures)) > 30


def test_the_rest_follows(followed):
    """Nearer to an exchange of red and blue than to what it was, in views that are not painted."""
    painted, capture = open_painted(followed, CPU)
    before = Look.photoreal(painted.field)
    for i in (0, 4, 11, 15):
        camera = capture.train.cameras[i]
        shown, was = (painting(painted.field, look, camera) for look in (painted.look, before))
        assert (shown - was.flip(2)).abs().mean() < 0.8 * (shown - was).abs().mean()


def test_what_the_painted_view_shows_is_held(followed, fitted, reference, monkeypatch):
    """No step moves it: a painting of another length has the same colours there."""
    shares = []
    prepare = ReferencePainter.prepare

    def noted(self, progress):
        prepare(self, progress)
        shares.append(self.share)

    monkeypatch.setattr(ReferencePainter, "prepare", noted)
    shorter = stylize(fitted, [], replace(FOLLOW, steps=3), followed.path.parents[3] / "short", reference=reference)
    looks = [open_painted(run, CPU)[0].look.theta for run in (followed, shorter)]
    held = shares[0] == 0
    assert 0.05 < held.float().mean() < 0.95
    assert torch.equal(looks[0][held], looks[1][held])
    assert not torch.equal(looks[0][~held], looks[1][~held])


def test_the_run_says_what_it_follows(followed, reference, paintings):
    record = paint_record(followed)
    assert record.reference == reference
    assert record.styles == (reference.pictures,)
    assert record.name == reference.pictures.stem


def test_a_stopped_painting_goes_on_to_the_same_bytes(fitted, reference, followed, tmp_path, monkeypatch):
    losses = ReferencePainter.losses

    def interrupted(self, picture, i):
        if self.step == 14:
            raise KeyboardInterrupt
        return losses(self, picture, i)

    with monkeypatch.context() as patch:
        patch.setattr(ReferencePainter, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stylize(fitted, [], FOLLOW, tmp_path, reference=reference)
    (run,) = Run.below(tmp_path)
    record = paint_record(run)
    stylize(fitted, [], record.settings, tmp_path, resume=run, reference=record.reference)
    assert (run.path / "model.safetensors").read_bytes() == (followed.path / "model.safetensors").read_bytes()


def test_a_view_is_named_where_the_picture_is_not(fitted, reference, tmp_path):
    _, capture = open_photoreal(fitted, CPU)
    names = capture.train.names
    other = tmp_path / "mine.png"
    other.write_bytes(reference.pictures.read_bytes())
    assert list(read_references(Reference(other, names[3]), capture.train)) == [3]
    with pytest.raises(UserError, match="is of no view"):
        read_references(Reference(other), capture.train)
    with pytest.raises(UserError, match="--view nowhere is of no view"):
        read_references(Reference(other, "nowhere"), capture.train)
    with pytest.raises(UserError, match="is a folder; leave it out"):
        read_references(Reference(tmp_path, names[3]), capture.train)


@pytest.mark.parametrize(("settings", "said"), [
    ({"preserve_color": True}, "--preserve-color has no use with a reference"),
    ({"start": "adain"}, "--start has no use with a reference"),
    ({"loss": "gram"}, "--loss has no use with a reference"),
])  # fmt: skip
def test_what_has_no_use(settings, said, fitted, reference, tmp_path):
    with pytest.raises(UserError, match=said):
        stylize(fitted, [], replace(FOLLOW, **settings), tmp_path, reference=reference)
    assert not list(tmp_path.iterdir())


def test_thin_strokes_are_enough(fitted, tmp_path):
    """They fill no position of the features."""
    _, capture = open_photoreal(fitted, CPU)
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[10, 4:20] = 255, 0, 0, 255
    file = tmp_path / f"{capture.train.names[VIEW]}.png"
    Image.fromarray(pixels).save(file)
    run = stylize(fitted, [], replace(FOLLOW, steps=2), tmp_path / "runs", reference=Reference(file))
    painted, capture = open_painted(run, CPU)
    shown = painting(painted.field, painted.look, capture.train.cameras[VIEW])[10, 6:18]
    assert (shown[:, 0] - shown[:, 1:].amax(1)).mean() > 0.5  # red


def test_what_is_painted_where_nothing_counts_is_refused(fitted, tmp_path, monkeypatch):
    _, capture = open_photoreal(fitted, CPU)
    file = tmp_path / f"{capture.train.names[VIEW]}.png"
    image.write(file, torch.ones(28, 28, 3))
    monkeypatch.setattr(Subject, "weight", lambda self, i: torch.zeros(28, 28))
    with pytest.raises(UserError, match="is transparent wherever its photograph counts; paint what is to be seen"):
        stylize(fitted, [], FOLLOW, tmp_path / "runs", reference=Reference(file))
    assert not (tmp_path / "runs").exists()
