"""Repainting a tiny room from end to end: the picture, what is computed how often, and jobs that die in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import replace

import pytest
import torch
from encoders import tiny_encoder
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.stylize import sheet_path, stylize, stylize_each
from arf.radiance.settings import StylizeSettings
from arf.style.color import Moments, luma
from arf.style.encoder import Encoder

CPU = torch.device("cpu")
ENCODER = tiny_encoder()
FILES = {"arf.json", "model.safetensors", "losses.csv", "losses.png", "preview.png", "config.yml"}


def model_bytes(run: Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def renders(run: Run, views: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Stylized and photoreal colours of the first training views, unclamped: [R, 3] each."""
    painted, capture = open_painted(run, CPU)
    traces = [painted.field.trace(camera, painted.drop) for camera in capture.train.cameras[:views]]
    return torch.cat([painted.look.render(t) for t in traces]), torch.cat([t.color for t in traces])


def test_the_run_has_all_its_files_and_says_what_was_asked(stylized, fitted, paintings):
    names = {p.name for p in stylized.path.iterdir()}
    assert names >= FILES
    assert not names & {"resume.safetensors", "cache"}
    info = json.loads((stylized.path / "arf.json").read_text())
    assert info == stylized.info
    assert info["kind"] == "stylize"
    assert info["finished"] is True
    assert info["steps"] == 30
    assert info["styles"] == [str(paintings[0])]
    assert info["fit"]["run"] == str(fitted.path)
    assert settings_from(StylizeSettings, info["settings"], "run") == STYLIZE
    metrics = info["metrics"]
    assert metrics["operator_bytes"] == pytest.approx(metrics["operator_bytes_per_pixel"] * 18 * 28 * 28)
    assert metrics["cache_bytes_in_memory"] > metrics["operator_bytes"]
    assert metrics["cache_bytes_on_disk"] == 0
    preview = image.read(stylized.path / "preview.png")
    assert preview.shape[0] == 4 * 28 + 5 * 8  # four views
    assert preview.std() > 0.1


def test_the_style_loss_falls_and_the_palette_is_the_paintings(stylized, paintings):
    rows = (stylized.path / "losses.csv").read_text().splitlines()
    assert rows[0].split(",") == ["step", "nnfm", "content", "tv"]
    first, *_, last = (float(row.split(",")[1]) for row in rows[1:])
    assert last < 0.98 * first
    after, before = renders(stylized, 18)
    wanted, found, old = (Moments.of([c.clamp(0, 1)]) for c in (image.read(paintings[0]), after, before))
    assert (found.mean - wanted.mean).norm() < 0.05 < 0.3 < (old.mean - wanted.mean).norm()
    assert (found.covariance - wanted.covariance).norm() < 0.3 * (old.covariance - wanted.covariance).norm()


def test_geometry_is_the_fits_own(stylized, fitted):
    painted, _ = open_painted(stylized, CPU)
    original, _ = open_photoreal(fitted, CPU)
    for name, tensor in original.state_dict().items():
        assert torch.equal(painted.field.state_dict()[name], tensor), name


@pytest.mark.parametrize(("views", "wanted"), [(1, 10), (18, 180), (25, 250), (42, 252), (83, 332), (100, 300)])
def test_left_out_there_are_as_many_epochs_as_come_to_250_steps_but_3_at_least_and_10_at_most(views, wanted):
    settings = StylizeSettings()
    assert settings.steps_of(views) == wanted
    assert replace(settings, epochs=7).steps_of(views) == 7 * views
    assert replace(settings, epochs=7, steps=5).steps_of(views) == 5


def test_views_are_drawn_once_an_epoch_in_a_seeded_order():
    orders = {}
    for seed in (0, 1):
        painter = Painter.__new__(Painter)
        painter.settings, painter.views = replace(STYLIZE, seed=seed), range(7)
        orders[seed] = [painter.view_of(step) for step in range(21)]
        for epoch in range(3):
            assert sorted(orders[seed][7 * epoch : 7 * epoch + 7]) == list(range(7))
        assert orders[seed][:7] != orders[seed][7:14]
    assert orders[0] != orders[1]


def test_the_encoder_runs_once_for_each_style_each_view_and_each_step(fitted, paintings, tmp_path, monkeypatch):
    calls, phases, forward = Counter(), Counter(), Encoder.forward

    def counted(self, pictures, *arguments, **named):
        calls["content" if not pictures.requires_grad else "step"] += 1
        return forward(self, pictures, *arguments, **named)

    monkeypatch.setattr(Encoder, "forward", counted)
    settings = replace(STYLIZE, steps=40)  # more than two epochs
    monkeypatch.setattr("arf.style.encoder.load", lambda *_, **__: ENCODER)
    stylize(fitted, paintings, settings, tmp_path, lambda phase, *_: phases.update([phase]))
    assert calls == {"content": 2 + 18, "step": 40}
    assert phases.keys() == {"photographs", "re-fit", "paint"}
    assert (phases["photographs"], phases["paint"]) == (18, 4)
    assert phases["re-fit"] in range(2 * 18, 9 * 18 + 1, 18)  # whole passes, a pass and eight iterations at most


def test_without_content_nothing_of_the_views_is_encoded(fitted, paintings, tmp_path, monkeypatch):
    calls, forward = Counter(), Encoder.forward

    def counted(self, pictures, *arguments, **named):
        calls["content" if not pictures.requires_grad else "step"] += 1
        return forward(self, pictures, *arguments, **named)

    monkeypatch.setattr(Encoder, "forward", counted)
    monkeypatch.setattr("arf.style.encoder.load", lambda *_, **__: ENCODER)
    settings = replace(STYLIZE, steps=5, content_weight=0.0, tv_weight=0.0)
    run = stylize(fitted, paintings[:1], settings, tmp_path)
    assert calls == {"content": 1, "step": 5}  # the style's alone
    assert set(run.info["metrics"]["final"]) == {"step", "nnfm"}


def test_a_job_that_is_killed_resumes_to_the_same_bytes(stylized, fitted, paintings, tmp_path, killed):
    killed(f"""
from tiny import STYLIZE
from arf.radiance.paint.stylize import stylize
from arf.jobs.runs import Run
def kill(phase, step, *_):
    if phase == "paint" and step == 30:
        os.kill(os.getpid(), signal.SIGKILL)
stylize(Run.open({str(fitted.path)!r}), [Path({str(paintings[0])!r})], STYLIZE, Path({str(tmp_path)!r}), kill)
""")
    run = Run.open(tmp_path, "stylize", finished=False)
    assert run.load("resume")[1]["step"] == 20
    steps = []
    done = stylize(
        fitted, paintings[:1], STYLIZE, tmp_path, lambda phase, step, *_: steps.append((phase, step)), resume=run
    )
    assert [step for phase, step in steps if phase == "paint"] == [30]
    assert done.path == run.path
    assert model_bytes(done) == model_bytes(stylized)
    assert (done.path / "losses.csv").read_text() == (stylized.path / "losses.csv").read_text()
    assert not done.has("resume")


def test_a_loss_that_turns_nan_keeps_the_last_good_state(stylized, fitted, paintings, tmp_path, monkeypatch):
    losses = Painter.losses

    def poisoned(self, picture, i):
        terms = losses(self, picture, i)
        return terms if self.step < 14 else {**terms, "tv": terms["tv"] * float("nan")}

    monkeypatch.setattr(Painter, "losses", poisoned)
    with pytest.raises(UserError, match=r"step 15; the last good state is in .*--learning-rate") as caught:
        stylize(fitted, paintings[:1], STYLIZE, tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    run = Run.open(tmp_path, "stylize", finished=False)
    tensors, notes = run.load("resume")
    assert notes["step"] == 10
    assert all(t.isfinite().all() for t in tensors.values())
    assert not list(run.path.glob("*cache*"))
    monkeypatch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
    assert model_bytes(stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run)) == model_bytes(stylized)


def test_a_gradient_that_turns_nan_is_not_saved_either(fitted, paintings, tmp_path, monkeypatch):
    advance = Painter.advance

    def poisoned(self):
        terms = advance(self)
        if self.step == 20:  # the loss is still good, the colours that it leads to are not
            with torch.no_grad():
                self.theta[0] = float("nan")
        return terms

    monkeypatch.setattr(Painter, "advance", poisoned)
    with pytest.raises(UserError, match="last good state"):
        stylize(fitted, paintings[:1], STYLIZE, tmp_path)
    tensors, notes = Run.open(tmp_path, "stylize", finished=False).load("resume")
    assert notes["step"] == 10
    assert tensors["theta"].isfinite().all()


def test_a_state_that_is_not_finite_is_not_saved_when_stopped_by_hand(fitted, paintings, tmp_path, monkeypatch):
    advance = Painter.advance

    def poisoned(self):
        terms = advance(self)
        if self.step == 13:  # between two looks at the losses
            with torch.no_grad():
                self.theta[0] = float("nan")
            raise KeyboardInterrupt
        return terms

    monkeypatch.setattr(Painter, "advance", poisoned)
    with pytest.raises(UserError, match="NaN at step 13; the last good state"):
        stylize(fitted, paintings[:1], STYLIZE, tmp_path)
    assert Run.open(tmp_path, "stylize", finished=False).load("resume")[1]["step"] == 10


def test_figures_are_means_over_the_steps_since_the_last_ones(fitted, paintings, tmp_path, monkeypatch):
    losses = Painter.losses

    def numbered(self, picture, i):
        terms = losses(self, picture, i)
        return {name: term * 0 + self.step for name, term in terms.items()}

    monkeypatch.setattr(Painter, "losses", numbered)
    run = stylize(fitted, paintings[:1], replace(STYLIZE, steps=23, save_every=7), tmp_path)
    rows = [(row["step"], row["nnfm"], row["tv"]) for row in run.curves()]
    assert rows == [(10, 4.5, 4.5), (20, 14.5, 14.5), (23, 21, 21)]


def test_stopping_by_hand_saves_and_clears_up(stylized, fitted, paintings, tmp_path):
    def stop(phase: str, step: int, *_: object) -> None:
        if (phase, step) == ("paint", 20):
            raise KeyboardInterrupt

    settings = replace(STYLIZE, save_every=1000, cache_memory=1e-9)
    with pytest.raises(KeyboardInterrupt):
        stylize(fitted, paintings[:1], settings, tmp_path, stop)
    run = Run.open(tmp_path, "stylize", finished=False)
    assert run.load("resume")[1]["step"] == 20
    assert not list(run.path.glob("*cache*"))
    done = stylize(fitted, paintings[:1], settings, tmp_path, resume=run)
    assert torch.equal(done.load("model")[0]["look.theta"], stylized.load("model")[0]["look.theta"])


def test_ctrl_c_waits_for_the_end_of_a_step(stylized, fitted, paintings, tmp_path, monkeypatch):
    losses = Painter.losses

    def interrupted(self, picture, i):
        if self.step == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return losses(self, picture, i)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stylize(fitted, paintings[:1], STYLIZE, tmp_path)
    run = Run.open(tmp_path, "stylize", finished=False)
    assert run.load("resume")[1]["step"] == 14
    done = stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run)
    assert torch.equal(done.load("model")[0]["look.theta"], stylized.load("model")[0]["look.theta"])


def test_streaming_from_disk_changes_nothing(stylized, fitted, paintings, tmp_path):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, cache_memory=1e-9), tmp_path)
    assert model_bytes(run) == model_bytes(stylized)
    metrics = run.info["metrics"]
    assert metrics["cache_bytes_in_memory"] == 0
    assert metrics["cache_bytes_on_disk"] == stylized.info["metrics"]["cache_bytes_in_memory"]
    assert not list(run.path.glob("*cache*"))


def test_preserving_colour_keeps_every_pixels_chroma_but_not_its_lightness(fitted, paintings, tmp_path):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, preserve_color=True), tmp_path)
    after, before = renders(run)
    chroma = [c - luma(c)[:, None] for c in (after, before)]
    torch.testing.assert_close(*chroma, rtol=0, atol=1e-4)
    assert (luma(after) - luma(before)).abs().mean() > 0.01


def test_a_style_of_weight_zero_is_as_if_it_were_not_there(stylized, fitted, paintings, tmp_path):
    weighted = stylize(fitted, paintings, replace(STYLIZE, style_weights=(2.0, 0.0)), tmp_path)
    assert model_bytes(weighted) == model_bytes(stylized)


def test_two_styles_mix_their_palettes_by_weight(stylized, fitted, paintings, tmp_path):
    run = stylize(fitted, paintings, replace(STYLIZE, style_weights=(1.0, 3.0), loss="gram"), tmp_path)
    first, second = (Moments.of([image.read(p)]).mean for p in paintings)
    found = Moments.of([renders(run, 18)[0].clamp(0, 1)]).mean
    assert (found - (0.25 * first + 0.75 * second)).norm() < 0.08 < (first - second).norm() / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ("relu9_1",)}, "no layer relu9_1"),
        ({"style_weights": (1.0, 2.0)}, "1 style pictures need as many weights"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(fitted, paintings, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        stylize(fitted, paintings[:1], replace(STYLIZE, **options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_style_pictures_are_refused_before_anything_is_written(fitted, tmp_path):
    image.write(tmp_path / "dot.png", torch.ones(1, 1, 3))
    for styles, message in (
        ([tmp_path / "dot.png"], "at least 16"),
        ([], "--style"),
        ([tmp_path / "no.png"], "no.png"),
    ):
        with pytest.raises(UserError, match=message):
            stylize(fitted, styles, STYLIZE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_paintings_in_one_call_are_those_of_single_calls(fitted, paintings, tmp_path):
    """What they share is made once, and a sheet shows them beside each other."""
    phases = Counter()
    runs = stylize_each(
        fitted, [[p] for p in paintings[:2]], STYLIZE, tmp_path / "each", lambda phase, *_: phases.update([phase])
    )
    assert [run.info["finished"] for run in runs] == [True, True]
    assert phases["photographs"] == 18
    for run, style in zip(runs, paintings[:2], strict=True):
        single = stylize(fitted, [style], STYLIZE, tmp_path / style.stem)
        assert (run.path / "model.safetensors").read_bytes() == (single.path / "model.safetensors").read_bytes()
        assert run.info["styles"] == [str(style)]
    sheet = image.read(sheet_path(runs[0]))
    assert sheet.shape[0] == 3 * 28 + 4 * 8  # the photographs, and two paintings
    assert not {"cache", "resume.safetensors"} & {file.name for run in runs for file in run.path.iterdir()}


def test_a_preview_is_there_before_the_re_fit_and_changes_while_it_is_painted(fitted, paintings, tmp_path):
    seen = {}

    def watch(phase, step, *_):
        found = list(tmp_path.glob("*/*/*/preview.png"))
        seen.setdefault((phase, step), found[0].read_bytes() if found else None)

    stylize(fitted, paintings[:1], replace(STYLIZE, steps=60), tmp_path, watch)
    assert seen["photographs", 18] is None
    first, later = seen["re-fit", 1], seen["paint", 60]
    assert first is not None
    assert later is not None
    assert first != later


def test_a_painting_that_goes_on_is_not_fitted_anew(fitted, paintings, tmp_path):
    phases = Counter()

    def stop(phase, step, *_):
        phases.update([phase])
        if (phase, step) == ("paint", 10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize(fitted, paintings[:1], STYLIZE, tmp_path, stop)
    assert phases["re-fit"] > 0
    phases.clear()
    unfinished = Run.open(tmp_path, "stylize", finished=False)
    stylize(fitted, paintings[:1], STYLIZE, tmp_path, lambda phase, *_: phases.update([phase]), unfinished)
    assert phases["re-fit"] == 0 < phases["paint"]


def test_views_are_painted_at_the_size_that_is_asked_for(fitted, paintings, tmp_path):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, size=20, steps=2), tmp_path)
    assert run.info["metrics"]["size"] == 20
    assert image.read(run.path / "preview.png").shape[0] == 4 * 20 + 5 * 8


def test_what_stops_one_of_several_paintings_says_what_became_of_the_others(fitted, paintings, tmp_path):
    def stop(phase, step, *_):
        if (phase, step) == (f"{paintings[1].stem}: paint", 10):
            raise KeyboardInterrupt

    mixtures = [[paintings[0]], [paintings[1]], [paintings[0]]]
    with pytest.raises(KeyboardInterrupt) as stopped:
        stylize_each(fitted, mixtures, STYLIZE, tmp_path, stop)
    first, second = Run.below(tmp_path)
    assert (first.info["finished"], second.info["finished"]) == (True, False)
    said = str(stopped.value)
    assert f"go on with --resume {second.path}" in said
    assert said.endswith(f"; finished: {first.path}; not begun: {paintings[0].name}")


def test_a_picture_that_cannot_be_read_is_found_before_the_first_painting(fitted, paintings, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.png"):
        stylize_each(fitted, [[paintings[0]], [bad]], STYLIZE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_steps_may_begin_with_a_lifted_scene(fitted, paintings, tmp_path, monkeypatch):
    """Negatives of the photographs, which no recolouring by moments makes; one that goes on has its own."""
    monkeypatch.setattr("arf.radiance.paint.painter.painter_by", lambda *_: lambda picture: 1 - picture)
    begun, losses = [], Painter.losses

    def noted(self, picture, i):
        begun.append((self.step, picture.detach(), self.subject.image(i)))
        if self.step == 4 and len(begun) == 5:
            raise KeyboardInterrupt
        return losses(self, picture, i)

    monkeypatch.setattr(Painter, "losses", noted)
    settings = replace(STYLIZE, start="adain", steps=8, save_every=2)
    with pytest.raises(KeyboardInterrupt):
        stylize(fitted, paintings[:1], settings, tmp_path)
    step, picture, photograph = begun[0]
    assert step == 0
    assert (picture - (1 - photograph)).abs().mean() < 0.5 * (picture - photograph).abs().mean()
    monkeypatch.setattr("arf.radiance.paint.painter.painter_by", None)  # is not asked again
    (run,) = Run.below(tmp_path)
    resumed = stylize(fitted, paintings[:1], settings, tmp_path, resume=run)
    assert [step for step, *_ in begun[5:]] == [4, 5, 6, 7]
    assert resumed.info["finished"]
