"""Paintings of several styles, each in a region of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders import tiny_encoder
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.opening import open_painted
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.regions import RegionPainter
from arf.radiance.paint.stylize import show_regions, stylize
from arf.radiance.records import paint_record
from arf.radiance.settings import Region
from arf.style.color import Moments

CPU = torch.device("cpu")
NEAR, FAR = Region.parse("depth=0,0.5"), Region.parse("depth=0.5,1")


def change(run: Run) -> torch.Tensor:
    """Of each column's colour: [V, 3]."""
    painted, _ = open_painted(run, CPU)
    return painted.look.theta - painted.field.colors


@pytest.fixture(scope="module")
def places() -> list:
    """What the painters of the module have been given."""
    return []


@pytest.fixture(scope="module")
def near(fitted, paintings, places, tmp_path_factory) -> Run:
    """The nearer half as the first painting. Read only."""
    prepare = RegionPainter.prepare

    def noted(self, progress):
        prepare(self, progress)
        places.append([part.place for part in self.parts])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        patch.setattr(RegionPainter, "prepare", noted)
        return stylize(fitted, paintings[:1], STYLIZE, tmp_path_factory.mktemp("near"), regions=[NEAR])


def test_what_is_in_no_region_stays_as_photographed(near, places):
    share = places[0][0].share
    assert (share == 0).any()
    assert (share == 1).any()
    assert change(near)[share == 0].abs().max() == 0
    assert change(near)[share == 1].abs().mean() > 0.05
    painted, _ = open_painted(near, CPU)
    assert torch.equal(painted.look.background, painted.field.background)


def test_the_run_says_where_and_shows_it(near, paintings):
    record = paint_record(near)
    assert record.regions == (NEAR,)
    assert record.styles == tuple(paintings[:1])
    assert image.read(near.path / "regions.png").shape[1] == 2 * 28 + 3 * 8


def test_a_region_gets_the_colours_of_its_style(near, places, paintings):
    """In the region, and as far as its photographs go: means of the colours."""
    painted, capture = open_painted(near, CPU)
    place, style = places[0][0], image.read(paintings[0])
    inside = Moments()
    for i, camera in enumerate(capture.train.cameras):
        shown = painted.look.render(painted.field.trace(camera)).view(28, 28, 3).clamp(0, 1)
        inside.update(shown, (place.masks[i] > 250).float())
    whole = Moments.of([style])
    before = Moments.of((capture.train.image(i), (place.masks[i] > 250).float()) for i in range(len(capture.train)))
    assert (inside.mean - whole.mean).norm() < 0.35 * (before.mean - whole.mean).norm()


def test_one_more_style_goes_everywhere_else(fitted, paintings, near, places, tmp_path):
    run = stylize(fitted, paintings, STYLIZE, tmp_path, regions=[NEAR])
    share, seen = places[0][0].share, change(run).abs().mean(1)
    assert seen[share == 0].mean() > 0.05
    painted, _ = open_painted(run, CPU)
    assert not torch.equal(painted.look.background, painted.field.background)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_is_how_much_of_the_paint_shows(strength, fitted, paintings, near, tmp_path):
    run = stylize(fitted, paintings[:1], STYLIZE, tmp_path, regions=[replace(NEAR, strength=strength)])
    assert torch.allclose(change(run), strength * change(near), atol=1e-5)


def test_two_regions_in_two_styles(fitted, paintings, tmp_path, monkeypatch):
    sizes = []
    build = RegionPainter.__init__

    def noted(self, *given, **more):
        build(self, *given, **more)
        sizes[:] = [max(part.objective.banks[0][0].vectors.shape) for part in self.parts]

    monkeypatch.setattr(RegionPainter, "__init__", noted)
    regions = [replace(NEAR, scale=2.0), FAR]
    run = stylize(fitted, paintings, replace(STYLIZE, loss="nnfm"), tmp_path, regions=regions)
    assert sizes[0] > 2 * sizes[1]  # features of a style picture that is twice as large, four times as many
    assert change(run).abs().mean() > 0.05


def test_a_stopped_painting_goes_on_to_the_same_bytes(fitted, paintings, near, tmp_path, monkeypatch):
    losses = Painter.losses

    def interrupted(self, picture, i):
        if self.step == 14:
            raise KeyboardInterrupt
        return losses(self, picture, i)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stylize(fitted, paintings[:1], STYLIZE, tmp_path, regions=[NEAR])
    (run,) = Run.below(tmp_path)
    stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run, regions=paint_record(run).regions)
    assert (run.path / "model.safetensors").read_bytes() == (near.path / "model.safetensors").read_bytes()


def test_preserved_colours_are_the_photographs(fitted, paintings, places, near, tmp_path):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, preserve_color=True), tmp_path, regions=[NEAR])
    moved = change(run)
    assert torch.allclose(moved, moved[:, :1].expand(-1, 3), atol=1e-5)
    assert moved[places[0][0].share == 0].abs().max() == 0
    assert moved.abs().max() > 0.05


@pytest.mark.parametrize(("styles", "settings", "said"), [
    (0, {}, "no style picture"),
    (3, {}, "1 regions and 3 styles; give one --style for each --region"),
    (2, {"style_weights": (1.0, 2.0)}, "--style-weights has no use with regions"),
])  # fmt: skip
def test_styles_that_are_none_of_the_regions(styles, settings, said, fitted, paintings, tmp_path):
    given = [*paintings, *paintings][:styles]
    with pytest.raises(UserError, match=said):
        stylize(fitted, given, replace(STYLIZE, **settings), tmp_path, regions=[NEAR])
    assert not list(tmp_path.iterdir())


def test_regions_are_shown_without_painting(fitted, tmp_path):
    sheet = show_regions(fitted, STYLIZE, [NEAR, FAR], tmp_path)
    assert sheet.shape[1] == 2 * 28 + 3 * 8
    with pytest.raises(UserError, match="there is nothing in the region"):
        show_regions(fitted, STYLIZE, [Region.parse("sphere=99,0,0,1")], tmp_path)
    assert not list(tmp_path.iterdir())
