"""`arf export --format html` against what `arf render` films, in a browser."""

from __future__ import annotations

import pytest
import torch
from brought_things import downwards, thing
from pages import psnr

from arf import cli
from arf.jobs.runs import Run
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted
from arf.radiance.share.export import RATE, RIDE
from arf.radiance.share.walk import ride_of

QUICK = ["--views", "4", "--view-size", "64", "--steps", "8", "--layers", "relu2_1", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def runs(folder, paintings) -> list[Run]:
    """One thing in two paintings."""
    write_ply(folder / "thing.ply", thing().moved(downwards(), torch.zeros(3), 1.0))
    for k in range(2):
        asked = ["stylize", folder / "thing.ply", "--style", paintings[k], "--output", folder / f"painted{k}", *QUICK]
        assert cli.main([str(a) for a in asked]) == 0
    return [Run.open(folder / f"painted{k}") for k in range(2)]


def test_the_page_shows_what_is_filmed(page, folder, runs):
    file = folder / "walk.html"
    assert cli.main(["export", *(str(run.path) for run in runs), "--format", "html", "--output", str(file)]) == 0
    scenes = [open_painted(run, torch.device("cpu")) for run in runs]
    capture = scenes[0][1]
    frame = 20
    camera = ride_of(capture, "auto", RIDE, RATE).cameras[frame]
    page.size(camera.width, camera.height)
    page.open(file, "frame=0")
    for paint, (scene, _) in enumerate(scenes, 1):
        page.go(f"frame={frame}&mix=1&paint={paint}")
        assert psnr(page.picture(), painting(scene.field, scene.look, camera)) > 40
        page.go(f"frame={frame}&mix=0&paint={paint}")
        assert psnr(page.picture(), painting(scene.field, None, camera)) > 40
        page.go(f"frame={frame}&mix=0.25&paint={paint}")
        assert psnr(page.picture(), painting(scene.field, scene.look, camera, strength=0.25)) > 40
    assert psnr(*(painting(scene.field, scene.look, camera) for scene, _ in scenes)) < 35
