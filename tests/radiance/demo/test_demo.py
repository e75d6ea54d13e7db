"""The demo: everything it promises is there, it repeats itself, and it goes on where it was."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import pytest
from tiny import FIT, STYLIZE

from arf import bundled, cli
from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.demo.demo import demo
from arf.radiance.settings import DemoSettings, RenderSettings
from arf.radiance.share import convert


@dataclass
class Small(DemoSettings):
    """A demo that takes seconds."""

    def fit(self):
        return replace(FIT, steps=40, seed=self.seed)

    def stylize(self):
        return replace(STYLIZE, encoder=self.encoder, steps=8, seed=self.seed)

    def render(self):
        return RenderSettings(path="orbit", frames=4, fps=4, width=56, device="cpu")


@pytest.fixture
def small_encoder() -> None:
    """The compact encoder itself, in place of the conftest's stand-in."""


@pytest.fixture(autouse=True, scope="module")
def small_world(room) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "capture", lambda: room)
        patch.setattr(convert, "STEPS", 20)  # how near splats come to a grid is said elsewhere
        yield


@pytest.fixture(scope="module")
def made(small_world, paintings, tmp_path_factory):
    return demo(paintings, Small(), tmp_path_factory.mktemp("demo"))


def test_it_leaves_a_film_a_sheet_and_a_report(made, paintings):
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(made.film))
    assert (frames, seconds) == (4, 1.0)
    width, height = next(imageio_ffmpeg.read_frames(str(made.film)))["size"]
    assert (width, height) == (3 * 56, 56)  # photoreal and two styles
    assert image.read(made.sheet).shape[1] == 3 * 56 + 4 * 8
    page = made.report.read_text()
    for file in (made.film, made.sheet, *paintings):
        assert base64.b64encode(file.read_bytes()).decode() in page
    for said in (paintings[0].stem, "relu2_1", "PSNR", "arf demo --style"):
        assert said in page


def test_its_panels_are_the_scene_and_its_styles(made):
    """The first panel of a film frame is the photoreal rendering, the others differ from it and from each other."""
    sheet = image.read(made.sheet)
    row = sheet[8 + 56 + 8 : 8 + 56 + 8 + 56]
    panels = [row[:, 8 + k * 64 : 8 + k * 64 + 56] for k in range(3)]
    assert all((a - b).abs().mean() > 0.03 for a, b in ((panels[0], panels[1]), (panels[1], panels[2])))
    for run, palette in zip(made.painted, (panels[1], panels[2]), strict=True):
        style = image.read(run.info["styles"][0])
        assert (palette.mean((0, 1)) - style.mean((0, 1))).abs().max() < 0.2


def test_the_same_seed_makes_the_same_pictures(made, paintings, tmp_path):
    again = demo(paintings, Small(), tmp_path)
    assert again.sheet.read_bytes() == made.sheet.read_bytes()
    assert demo(paintings[:1], Small(seed=1), tmp_path).sheet.read_bytes() != made.sheet.read_bytes()


def test_another_style_costs_no_other_fit(paintings, tmp_path):
    first = demo(paintings[:1], Small(), tmp_path)
    image.write(other := tmp_path / "other.png", image.read(paintings[1]))
    again = demo([paintings[0], other], Small(), tmp_path)
    assert again.fitted.path == first.fitted.path
    assert again.painted[0].path == first.painted[0].path
    image.write(other, image.read(paintings[0]))  # the same name, another picture
    assert demo([other], Small(), tmp_path).painted[0].path != again.painted[1].path


@pytest.mark.parametrize("phase", ["fit", "waves: paint"])
def test_it_goes_on_where_it_was_stopped(made, paintings, tmp_path, phase):
    def stop(what: str, step: int, *_) -> None:
        if what == phase and step >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo(paintings, Small(), tmp_path, stop)
    begun = [run.path for run in Run.below(tmp_path)]
    finished = demo(paintings, Small(), tmp_path)
    assert set(begun) <= {finished.fitted.path, *(run.path for run in finished.painted)}
    assert finished.sheet.read_bytes() == made.sheet.read_bytes()


def test_a_bad_style_is_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="nothing"):
        demo([Path("nothing.jpg")], Small(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line(monkeypatch, paintings, tmp_path, capsys):
    monkeypatch.setattr(DemoSettings, "fit", Small.fit)
    monkeypatch.setattr(DemoSettings, "stylize", Small.stylize)
    monkeypatch.setattr(DemoSettings, "render", Small.render)
    assert cli.main(["demo", "--style", str(paintings[0]), "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "report.html") in said
    assert "next: arf demo --style" in said
    assert cli.main(["demo", "--style", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1

    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arf.radiance.demo.demo.fit", interrupted)
    assert cli.main(["demo", "--output", str(tmp_path / "other")]) == 130
    assert "call it again" in capsys.readouterr().err


def test_quick_is_less_of_everything():
    quick, full = DemoSettings(quick=True), DemoSettings()
    assert quick.fit().steps < full.fit().steps
    assert quick.stylize().steps < full.stylize().steps
    assert quick.render().frames < full.render().frames
    for settings in (quick, full):
        for job in (settings.fit(), settings.stylize(), settings.render()):
            job.check()
