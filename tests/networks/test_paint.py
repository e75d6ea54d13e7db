from __future__ import annotations

import pytest
import torch
from trained import adain_file, fast_file

from arf.errors import UserError
from arf.networks import paint
from arf.networks.fast import Architecture, FastNetwork
from arf.networks.paint import AdainPainter, FastPainter, check_room
from arf.networks.settings import AdainSettings, CastSettings, FastSettings
from arf.style import color, natural


def pictures(count: int, size: int = 48) -> list[torch.Tensor]:
    return list(natural.pictures(count, size, seed=5).permute(0, 2, 3, 1))


def test_adain_paints_pictures_of_any_size(tmp_path):
    content, *styles = pictures(3)
    content = content[:37, :29]
    settings = AdainSettings(model=str(adain_file(tmp_path)), style_size=32, device="cpu")
    painter = AdainPainter.open(styles, [1, 3], settings)
    painted = painter(content)
    assert painted.shape == content.shape
    assert 0 <= painted.min() <= painted.max() <= 1
    frames = painter.stylizer()(content.permute(2, 0, 1)[None].expand(2, -1, -1, -1))
    torch.testing.assert_close(frames[1].permute(1, 2, 0), painted, atol=1e-5, rtol=1e-4)


def test_masks_and_alpha_reach_the_network(tmp_path):
    content, *styles = pictures(3)
    settings = AdainSettings(model=str(adain_file(tmp_path)))
    painter = AdainPainter.open(styles, settings=settings)
    left = torch.zeros(48, 48)
    left[:, :24] = 1
    halves, whole = painter(content, [left, 1 - left]), AdainPainter.open(styles[:1], settings=settings)(content)
    assert not torch.allclose(halves, painter(content), atol=1e-3)
    assert not torch.allclose(halves, whole, atol=1e-3)
    plain = [
        AdainPainter.open([style], settings=AdainSettings(model=settings.model, alpha=0.0))(content) for style in styles
    ]
    torch.testing.assert_close(*plain)
    with pytest.raises(UserError, match="1 masks for 2 styles"):
        painter(content, [left])


def test_too_large_for_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(paint, "free_memory", lambda device: 10 * 2**30)  # of which 8 may be used
    network = FastNetwork(Architecture(width=89))  # 2000 bytes for each pixel
    cpu = torch.device("cpu")
    check_room((2000, 2000), network, cpu)
    with pytest.raises(UserError, match=r"^2400×2000 pixels take 8\.9 GiB, and 8\.0 can be used; --size 2270 fits"):
        check_room((2000, 2400), network, cpu)
    with pytest.raises(UserError, match=r"^4 times 2000×2000 .* --size 1036, or a smaller --batch, fits"):
        check_room((2000, 2000), network, cpu, 4)


def test_colours_are_kept(tmp_path):
    content, style = pictures(2)
    content = content * 0.2 + 0.4  # far from black and white, where colours are cut off
    model = str(adain_file(tmp_path))
    kept = paint.adain(content, [style], settings=AdainSettings(model=model, preserve_color="luminance"))
    chroma = kept - color.luma(kept)[..., None]
    inside = ((kept > 0) & (kept < 1)).all(2)
    torch.testing.assert_close(chroma[inside], (content - color.luma(content)[..., None])[inside], atol=1e-4, rtol=0)
    affine = AdainPainter.open([style], settings=AdainSettings(model=model, preserve_color="affine", style_size=48))
    recolored = color.recolored(content, [style], "affine")[1]
    torch.testing.assert_close(
        affine(content), paint.adain(content, recolored, settings=AdainSettings(model=model, style_size=48))
    )
    with pytest.raises(UserError, match="use luminance for a video"):
        affine.stylizer()


def test_fast_paints_named_numbered_and_mixed_styles(tmp_path):
    (content,) = pictures(1)
    content = content[:33, :41]
    settings = FastSettings(model=str(fast_file(tmp_path)), device="cpu")
    named, numbered = paint.fast(content, ["wave"], settings=settings), paint.fast(content, ["1"], settings=settings)
    assert named.shape == content.shape
    assert torch.equal(named, numbered)
    painter = FastPainter.open(["night", "glass"], [1, 3], settings)
    assert painter.mix.tolist() == [[0.25, 0, 0.75]]
    frames = painter.stylizer()(content.permute(2, 0, 1)[None].expand(2, -1, -1, -1))
    torch.testing.assert_close(frames[1].permute(1, 2, 0), painter(content), atol=1e-5, rtol=1e-4)
    single = FastSettings(model=str(fast_file(tmp_path, ("only",))), preserve_color="luminance")
    assert paint.fast(content, settings=single).shape == content.shape


def test_what_makes_no_sense_is_refused(tmp_path):
    content, style = pictures(2)
    model = str(fast_file(tmp_path))
    for styles, weights, message in (
        ((), (), "has several styles; choose with --style: 0 night, 1 wave, 2 glass"),
        (("3",), (), "has no style '3'; it has: 0 night"),
        (("-1",), (), "has no style '-1'"),
        (("day",), (), "has no style 'day'"),
        (("wave",), (1.0, 2.0), "style_weight is 1 2; it needs 1 values"),
        (("wave",), (0.0,), "style_weight is 0"),
    ):
        with pytest.raises(UserError, match=message):
            FastPainter.open(styles, weights, FastSettings(model=model))
    with pytest.raises(UserError, match="no style picture"):
        paint.adain(content, [], settings=AdainSettings(model=str(adain_file(tmp_path))))
    with pytest.raises(UserError, match="alpha is 2"):
        paint.adain(content, [style], settings=AdainSettings(alpha=2.0))
    with pytest.raises(UserError, match="style_weight is 1 1"):
        paint.adain(content, [style], [1, 1], settings=AdainSettings(model=str(adain_file(tmp_path))))


def test_pictures_larger_than_memory_are_refused_with_a_size_that_fits(tmp_path, monkeypatch):
    (content,) = pictures(1)
    painter = FastPainter.open(["wave"], settings=FastSettings(model=str(fast_file(tmp_path))))
    needed = 48 * 48 * painter.network.bytes_per_pixel
    monkeypatch.setattr(paint, "free_memory", lambda device: needed / paint.SHARE / 4)
    with pytest.raises(UserError, match=r"48×48 pixels take .*; --size 24 fits"):
        painter(content)
    painter(content[:24, :24])


def test_settings_and_pictures_of_other_kinds_are_refused(tmp_path):
    """J20."""
    photo = torch.rand(32, 32, 3)
    for settings in (AdainSettings(preserve_color=True), AdainSettings(alpha="1")):
        with pytest.raises(UserError, match=r"AdainSettings: (preserve_color|alpha): expected"):
            paint.adain(photo, [photo], settings=settings)
    with pytest.raises(UserError, match="CastSettings: to: invalid enum value 'picture'"):
        paint.cast(photo, [photo], settings=CastSettings(to="picture"))
    painter = paint.FastPainter.open(["wave"], settings=FastSettings(model=str(fast_file(tmp_path))))
    for call in (painter, lambda p: paint.adain(p, [photo]), lambda p: paint.adain(photo, [p])):
        with pytest.raises(ValueError, match="is a tensor of floating-point numbers"):
            call((photo * 255).byte())
