"""`arf export --format html` against what `arf render` films, in a browser."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from brought_things import downwards, thing
from pages import psnr
from PIL import Image

from arf import cli
from arf.jobs.runs import Run
from arf.radiance.capture.views import Capture
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.looks.painted import Painted, painting
from arf.radiance.opening import open_painted
from arf.radiance.share.export import RATE, RIDE
from arf.radiance.share.walk import ride_of

CPU = torch.device("cpu")
QUICK = ["--views", "4", "--view-size", "64", "--steps", "8", "--layers", "relu2_1", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def runs(folder, paintings) -> list[Run]:
    """One thing in two paintings."""
    write_ply(folder / "thing.ply", thing().moved(downwards(), torch.zeros(3), 1.0))
    for k in range(2):
        asked = ["stylize", folder / "thing.ply", "--style", paintings[k], "--output", folder / f"painted{k}", *QUICK]
        assert cli.main([str(a) for a in asked]) == 0
    return [Run.open(folder / f"painted{k}") for k in range(2)]


def opened(runs: list[Run]) -> list[tuple[Painted, Capture]]:
    return [open_painted(run, CPU) for run in runs]


def test_the_page_shows_what_is_filmed(page, folder, runs):
    file = folder / "walk.html"
    assert cli.main(["export", *(str(run.path) for run in runs), "--format", "html", "--output", str(file)]) == 0
    scenes = opened(runs)
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


def test_before_it_is_ready_it_shows_the_painting_that_is_chosen(folder, runs):
    file = folder / "waiting.html"
    assert cli.main(["export", *(str(run.path) for run in runs), "--format", "html", "--output", str(file)]) == 0
    kept = re.search(r"data:image/jpeg;base64,([^\"')]+)", file.read_text())[1]
    poster = torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(kept))))) / 255
    camera = ride_of(open_painted(runs[0], CPU)[1], "auto", RIDE, RATE).cameras[0]
    camera = camera.resized(poster.shape[1], poster.shape[0])
    first, second = (psnr(poster, painting(scene.field, scene.look, camera)) for scene, _ in opened(runs))
    assert first > 30 > second
