"""Runs of grids as splats: what they then look like, and what of them is shared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from arf import cli
from arf.metrics import psnr
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.placing import on_surfaces
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted
from arf.radiance.share import convert
from arf.radiance.share.convert import as_splats

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def converted(stylized):
    scene, capture = open_painted(stylized, CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "STEPS", 300)
        patch.setattr(convert, "POINTS", 4)
        calls = []
        made = as_splats(scene.field, capture, [scene.look], 5000, lambda *call: calls.append(call))
    return scene, capture, made, calls


def test_splats_look_like_the_grid_in_every_look(converted):
    scene, capture, made, calls = converted
    assert 500 < len(made.splats) <= 5000
    assert len(made.looks) == len(made.psnr) == 2
    assert min(made.psnr) > 21  # of views between 18 of 28x28 pixels, a foggy fit: a real one reaches ten more
    field = SplatField(made.splats, scene.field.background, CPU)
    for look, theirs in zip(made.looks, (None, scene.look), strict=True):
        pairs = [
            (field.render(camera, look.theta, look.background).clamp(0, 1), painting(scene.field, theirs, camera))
            for camera in capture.held_out.cameras
        ]
        found = sum(psnr(*pair) for pair in pairs) / len(pairs)
        assert found == pytest.approx(made.psnr[0 if theirs is None else 1], abs=0.1)
    assert {call[0] for call in calls} == {"pictures", "splats"}


def test_moving_them_is_what_makes_them_alike(converted):
    scene, capture, made, _ = converted
    cameras = capture.train.cameras
    pictures = [painting(scene.field, None, camera) for camera in cameras]
    first = on_surfaces(scene.field, list(cameras), pictures, 4, 5000, convert.OPACITY)
    field = SplatField(first, scene.field.background, CPU)
    before = [
        psnr(field.render(c, first.colors, field.background).clamp(0, 1), p)
        for c, p in zip(cameras, pictures, strict=True)
    ]
    assert sum(before) / len(before) < made.psnr[0] - 2


def test_the_photoreal_look_of_a_field_is_its_own(fitted, stylized):
    scene, _ = open_painted(stylized, CPU)
    look = Look.photoreal(scene.field)
    assert torch.equal(look.theta, scene.field.colors)
    assert torch.equal(look.background, scene.field.background)


def test_a_grid_is_exported_as_splats(stylized, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(convert, "STEPS", 20)
    arguments = ["export", stylized.path, "--output", tmp_path / "out.splat", "--count", 300, "--json"]
    assert cli.main([*map(str, arguments)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["format"] == "splat"
    assert said["splats"] == len(read_splats(Path(said["file"])).splats) <= 300
    assert len(said["psnr"]) == 2
    assert all(value > 10 for value in said["psnr"].values())
