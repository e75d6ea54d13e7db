"""2D methods as painters of single views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arf.errors import UserError
from arf.media import image
from arf.radiance.paint.lifting import by_method
from arf.radiance.settings import LiftSettings
from arf.style import encoder

LOAD = encoder.load  # before a fixture puts another in its place
LIFT = LiftSettings(size=64, device="cpu", drop_weight=0.0, passes=60)


@pytest.mark.parametrize(("method", "styles"), [("adain", 1), ("cast", 2), ("fast", 0), ("gatys", 1)])
def test_every_method_paints(method, styles, paintings, monkeypatch):
    monkeypatch.setattr("arf.style.encoder.load", LOAD)
    given = ["mosaic"] if method == "fast" else [image.read_style(p) for p in (*paintings, *paintings)[:styles]]
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
    ("adain", ["{style}"], {"style_weights": (1.0, 2.0)}, "it needs 1 values"),
    ("adain", ["{style}"], {"steps": 5}, "--steps has no use with adain"),
    ("gatys", ["{style}"], {"model": "x"}, "--model has no use with gatys"),
    ("fast", ["mosaic"], {"encoder_weights": Path("x")}, "--encoder-weights has no use with fast"),
])  # fmt: skip
def test_what_no_method_can_do(method, styles, settings, said, paintings):
    styles = [image.read_style(paintings[0]) if style == "{style}" else style for style in styles]
    with pytest.raises(UserError, match=said):
        by_method.painter_by(method, styles, replace(LIFT, **settings))
