"""What the page shows in a real browser: the rasteriser's pictures, or a line that says why not."""

from __future__ import annotations

import math

import pytest
import torch
from dense import render
from pages import FPS, HEIGHT, WIDTH, moved, psnr, reference, seen, some_ride, some_splats, write_some

from arf.radiance.share.page.page import Paint, write_page

GOOD = 48.0  # dB: 8 bits alone leave 59
SHOWN = "document.body.classList.contains('shown')"
FAILED = "document.body.classList.contains('failed')"
MESSAGE = "document.getElementById('message').textContent"


def test_frames_are_the_rasterisers_pictures(page, file):
    page.open(file, "frame=0")
    assert psnr(page.picture(), reference(0)) > GOOD
    for frame, mix, paint in ((3, 1, 1), (3, 0, 1), (7, 0.5, 1), (11, 1, 2), (11, 0.3, 2), (11, 0, 2)):
        page.go(f"frame={frame}&mix={mix}&paint={paint}")
        assert psnr(page.picture(), reference(frame, mix, paint)) > GOOD, (frame, mix, paint)


def test_anti_aliased_splats_have_other_opacities(page, folder):
    write_some(folder / "antialiased.html", antialiased=True)
    page.open(folder / "antialiased.html", "frame=4")
    assert psnr(page.picture(), reference(4, antialiased=True)) > GOOD > 40 > psnr(page.picture(), reference(4))


def test_odd_splats_are_where_they_belong(page, folder):
    splats, ride = some_splats(), some_ride()
    eye, ahead = ride[0].pose[:, 3], -ride[0].pose[:, 2]
    splats.scales[0] = torch.tensor([1000.0, 1e-4, 1e-4])  # a needle through everything
    splats.scales[1], splats.opacities[1] = 1e4, 0.3  # fog
    splats.scales[2], splats.opacities[2] = 1e-9, 1.0  # less than a point
    splats.means[3], splats.scales[3] = eye + 0.005 * ahead, 0.001  # nearer than NEAR
    splats.means[4], splats.scales[4] = eye + 0.02 * ahead, torch.tensor([0.002, 0.02, 0.001])  # hardly farther
    splats.means[5] = eye - ahead  # behind
    splats.means[6], splats.scales[6] = eye + 1e5 * ahead, 3e4  # the horizon
    splats.means[7], splats.scales[7] = eye + 0.1 * ahead + 3 * ride[0].pose[:, 0], 1.0  # far aside
    colors, background = splats.colors, torch.tensor([0.2, 0.3, 0.4])
    path = folder / "odd.html"
    write_page(path, splats, [Paint("odd", colors, background)], ride[:1], FPS, torch.zeros(9, 9, 3), "odd")
    page.open(path, "frame=0")
    assert page.run("document.getElementById('ride').hidden")  # one camera is no ride
    assert psnr(page.picture(), render(splats, ride[0], background).clamp(0, 1).float()) > 42


def test_half_way_between_two_frames(page, file):
    page.open(file, "frame=4.5&mix=0")
    a, b, between = some_ride()[4], some_ride()[5], page.picture()
    assert min(psnr(between, reference(4, 0)), psnr(between, reference(5, 0))) < 30
    middle = seen(moved(a, torch.eye(3), (b.pose[:, 3] - a.pose[:, 3]) / 2), 0)
    assert psnr(between, middle) < 40  # it has turned as well
    assert page.run("document.title") == "Some splats"


def test_a_wider_window_keeps_the_height_and_a_narrower_one_half_of_the_width(page, file):
    camera = some_ride()[2]
    for width, height, scale in ((300, 120, 1.0), (320, 240, 2.0), (90, 160, math.sqrt(160 / 120 * 90 / 160))):
        page.size(width, height)
        page.open(file, "frame=2")
        shift = [(camera.cx - WIDTH / 2) * scale + width / 2, (camera.cy - HEIGHT / 2) * scale + height / 2]
        other = type(camera)(camera.pose, camera.fx * scale, camera.fy * scale, *shift, width, height)
        assert psnr(page.picture(), seen(other)) > GOOD, (width, height)


def test_a_window_that_changes_its_size(page, file):
    page.open(file, "frame=2")
    page.size(2 * WIDTH, 2 * HEIGHT)
    page.settle()
    assert psnr(page.picture(), seen(some_ride()[2].resized(2 * WIDTH, 2 * HEIGHT))) > GOOD


def test_many_pixels_to_a_point(page, file):
    page.size(WIDTH // 2, HEIGHT // 2, ratio=2)
    page.open(file, "frame=2")
    assert psnr(page.picture(), reference(2)) > GOOD


def test_without_half_floats_it_is_nearly_the_same(page, file):
    hide = """const real = WebGL2RenderingContext.prototype.getExtension;
    WebGL2RenderingContext.prototype.getExtension = function (name) {
      return name.includes("color_buffer") ? null : real.call(this, name);
    };"""
    with page.instead(hide):
        page.open(file, "frame=0")
        assert psnr(page.picture(), reference(0)) > 38


@pytest.mark.parametrize("hash", ["frame=99&mix=7&paint=9", "frame=-3&mix=-1&paint=0", "frame=x&mix=&paint=NaN", "%%%"])
def test_addresses_that_ask_for_nonsense(page, file, hash):
    page.open(file, hash, until=SHOWN)
    right = {"frame=99": (11, 1, 2), "frame=-3": (0, 0, 1), "frame=x&": (0, 1, 1)}.get(hash[:8])
    assert right is None or psnr(page.picture(), reference(*right)) > GOOD


def test_a_lost_picture_is_said(page, file):
    page.open(file, "frame=0")
    page.run("document.getElementById('canvas').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()")
    page.until(FAILED)
    assert "reload" in page.run(MESSAGE)
    assert page.run("getComputedStyle(document.getElementById('message')).visibility") == "visible"
    assert page.run("getComputedStyle(document.getElementById('canvas')).display") == "none"


def test_without_webgl_there_is_the_poster(page, file):
    with page.instead("HTMLCanvasElement.prototype.getContext = () => null"):
        page.open(file, until=FAILED)
        assert "WebGL 2" in page.run(MESSAGE)
        page.run("document.getElementById('message').textContent = ''")
        assert psnr(page.picture(), reference(0, 0)) > 28


def test_without_scripts_there_is_the_poster(page, file):
    with page.emulating("setScriptExecutionDisabled", {"value": True}, {"value": False}):
        page.size(4 * WIDTH, 4 * HEIGHT)
        page.open(file, until="true")
        assert page.run("document.querySelector('noscript').textContent.includes('Scripts are switched off')")
        assert page.run("getComputedStyle(document.getElementById('bar')).display") == "none"
        small = page.picture().view(HEIGHT, 4, WIDTH, 4, 3).mean((1, 3))
        assert psnr(small[:80], reference(0, 0)[:80]) > 28


def test_names_and_titles_are_words(page, folder):
    title = "</title></script><script>document.title = 'mine'</script>\u2028`${1}`"
    write_some(folder / "words.html", title=title)
    page.open(folder / "words.html", "frame=0")
    for found in ("document.title", "document.querySelector('h1').textContent"):
        assert page.run(found) == title.replace("\u2028", " ")
