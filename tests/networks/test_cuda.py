"""Networks on a GPU paint what they paint on the CPU, and training in half precision stays finite."""

from __future__ import annotations

import math

import pytest
import torch
from folders import folders, small
from trained import adain_file, cast_file, fast_file

from arf.networks import paint
from arf.networks.settings import AdainSettings, CastSettings, FastSettings
from arf.style import natural
from arf.training.train import train

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("keep", ["none", "luminance"])
@pytest.mark.parametrize("method", ["adain", "cast", "fast"])
def test_a_picture_is_painted_as_on_the_cpu(tmp_path, method, keep):
    content, style = natural.pictures(2, 128, seed=5).permute(0, 2, 3, 1)
    painted = {}
    for device in ("cpu", "cuda"):
        if method == "fast":
            settings = FastSettings(model=str(fast_file(tmp_path)), device=device, preserve_color=keep)
            painted[device] = paint.fast(content, ["wave"], settings=settings)
        elif method == "cast":
            settings = CastSettings(model=str(cast_file(tmp_path)), device=device, preserve_color=keep)
            painted[device] = paint.cast(content, [style], settings=settings)
        else:
            settings = AdainSettings(model=str(adain_file(tmp_path)), device=device, preserve_color=keep)
            painted[device] = paint.adain(content, [style], settings=settings)
    torch.testing.assert_close(painted["cuda"], painted["cpu"], atol=1e-2, rtol=0)


@pytest.mark.parametrize("method", ["adain", "fast", "many", "cast"])
def test_training_in_half_precision_learns(tmp_path, method):
    photos, paintings = folders(tmp_path)
    style = paintings / "p4.png" if method == "fast" else paintings
    settings = small(method, steps=40, learning_rate=3e-3, device="cuda", save_every=100, sample_every=100)
    run = train(method, photos, (style,), settings, tmp_path / "runs")
    curves = run.curves()
    assert all(math.isfinite(value) for row in curves for value in row.values())
    if method != "cast":  # whose terms play against each other
        assert curves[-1]["style"] < curves[0]["style"]
