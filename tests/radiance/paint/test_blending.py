"""Paintings that are mixed of others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from encoders import tiny_encoder
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted, open_run
from arf.radiance.paint.blending import blend_runs
from arf.radiance.paint.stylize import stylize
from arf.radiance.records import paint_record
from arf.radiance.settings import RepaintSettings

CPU = torch.device("cpu")
SETTINGS = RepaintSettings(device="cpu", size=28)


@pytest.fixture(scope="module")
def pair(fitted, stylized, paintings, tmp_path_factory) -> list[Run]:
    """The room as both paintings. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        dotted = stylize(fitted, paintings[1:], replace(STYLIZE, steps=5), tmp_path_factory.mktemp("dotted"))
    return [stylized, dotted]


def test_a_blend_renders_as_the_sum_of_the_pictures(pair, paintings, tmp_path):
    run = blend_runs(pair, (0.25, 0.75), SETTINGS, tmp_path)
    mixed, capture = open_painted(run, CPU)
    scenes = [open_painted(each, CPU)[0] for each in pair]
    traces = [mixed.field.trace(camera) for camera in capture.train.cameras[:3]]
    for trace in traces:
        one, other = (scene.look.render(trace) for scene in scenes)
        assert torch.allclose(mixed.look.render(trace), 0.25 * one + 0.75 * other, atol=1e-5)
    assert run.info["method"] == "blend"
    assert paint_record(run).name == f"0.25 {paintings[0].stem} + 0.75 {paintings[1].stem}"
    assert image.read(run.path / "preview.png").shape[1] == 3 * 28 + 4 * 8  # both, and the mixture


def test_a_blend_is_a_painting_like_others(pair, tmp_path):
    """It is opened by name, mixed again, and needs neither of the two any more."""
    run = blend_runs(pair, (), SETTINGS, tmp_path)
    again = blend_runs([open_run(tmp_path, "stylize"), pair[0]], (0.5, 0.5), SETTINGS, tmp_path)
    assert paint_record(again).blend.weights == (0.5, 0.5)
    info = json.loads((run.path / "arf.json").read_text())
    info["blend"]["runs"] = ["/nowhere", "/nowhere"]
    (run.path / "arf.json").write_text(json.dumps(info))
    scene, capture = open_painted(Run.open(run.path), CPU)
    assert painting(scene.field, scene.look, capture.train.cameras[0]).shape == (28, 28, 3)


@pytest.mark.parametrize(("count", "weights", "said"), [
    (1, (), "blend what"),
    (0, (), "blend what"),
    (2, (0.5,), "it needs 2 numbers, one for each of the runs"),
    (2, (0.5, 0.6), "they add up to 1.1, and should be 0 or more and add up to 1"),
    (2, (1.5, -0.5), "and should be 0 or more and add up to 1"),
    (2, (float("nan"), 1.0), "and should be 0 or more and add up to 1"),
])  # fmt: skip
def test_weights_that_are_none(pair, count, weights, said, tmp_path):
    with pytest.raises(UserError, match=said):
        blend_runs(pair[:count], weights, SETTINGS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_thirds_add_up(pair, tmp_path):
    run = blend_runs([*pair, pair[0]], (0.33, 0.33, 0.34), SETTINGS, tmp_path)
    assert sum(paint_record(run).blend.weights) == pytest.approx(1, abs=1e-9)
