"""The page in a real browser: the pictures are the rasteriser's, controls do what they say, and nobody is called."""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from browser import Page, chromium
from pages import FPS, HEIGHT, MIDDLE, WIDTH, moved, psnr, reference, seen, some_ride, write_some

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.splats.splats import matrices

GOOD = 48.0  # dB: 8 bits alone leave 59
SHOWN = "document.body.classList.contains('shown')"
FAILED = "document.body.classList.contains('failed')"
MESSAGE = "document.getElementById('message').textContent"
RIDING = "document.getElementById('ride').getAttribute('aria-pressed') == 'true'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def file(folder) -> Path:
    """Three paints."""
    write_some(folder / "some.html")
    return folder / "some.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser) -> Page:
    """A tab of the cameras' size; afterwards nothing must have gone wrong, and nothing been asked for."""
    browser.size(WIDTH, HEIGHT)
    browser.errors.clear()
    browser.requests.clear()
    yield browser
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
    assert {url.rpartition("/")[2].partition("#")[0] for url in browser.requests if url.startswith("file")} <= {
        "some.html", "one.html", "two.html", "antialiased.html", "words.html",
    }  # fmt: skip


def without_bar(page: Page) -> None:
    """Leave the picture alone in the window."""
    page.run("document.getElementById('bar').style.display = 'none'")


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
    script = page.ask("Page.addScriptToEvaluateOnNewDocument", source=hide)["identifier"]
    page.open(file, "frame=0")
    assert psnr(page.picture(), reference(0)) > 38
    page.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_the_slider_goes_from_photographs_to_painting(page, file):
    page.open(file, "frame=6")
    page.mouse("Moved", 20, 20)
    page.run("document.getElementById('mix').focus()")
    page.run("document.getElementById('bar').style = 'transition: none; opacity: 0'")
    for key, number, mix in (("Home", 36, 0), ("End", 35, 1)):
        page.key(key, number=number)
        page.settle()
        assert psnr(page.picture(), reference(6, mix)) > GOOD


def test_the_choice_is_among_paintings(page, file):
    page.open(file, "frame=6")
    assert page.run("[...document.getElementById('paint').options].map(o => o.text)") == ["waves", "night"]
    page.run("document.getElementById('paint').selectedIndex = 1")
    page.settle()
    assert psnr(page.picture(), reference(6, 1, 2)) > GOOD


@pytest.mark.parametrize("paints", [1, 2])
def test_few_paints_need_few_controls(page, folder, paints):
    path = folder / f"{('one', 'two')[paints - 1]}.html"
    write_some(path, paints=paints)
    page.open(path, "frame=1")
    assert psnr(page.picture(), reference(1, mix=paints - 1)) > GOOD
    found = page.run("['mix', 'paint'].map(id => Boolean(document.getElementById(id)))")
    assert found == [paints == 2, False]


def test_a_drag_turns_around_the_middle(page, file):
    page.open(file, "frame=0")
    without_bar(page)
    page.drag((80, 60), (110, 50))
    page.settle()
    camera = some_ride()[0]
    yaw, pitch = -30 * 0.006, 10 * 0.006
    axis = camera.pose[:, 0] * math.sin(pitch / 2)
    about_up = matrices(torch.tensor([math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]))
    turn = about_up @ matrices(torch.tensor([math.cos(pitch / 2), *axis]))
    assert psnr(page.picture(), seen(moved(camera, turn, MIDDLE - turn @ MIDDLE))) > 40


def test_a_drag_looks_around_when_asked_to(page, file):
    page.open(file, "frame=0")
    page.run("document.getElementById('mode').click()")
    without_bar(page)
    page.drag((80, 60), (100, 60))
    page.settle()
    camera = some_ride()[0]
    assert psnr(page.picture(), seen(looking(camera, 20 / camera.fy))) > 40


@pytest.mark.parametrize("how", ["right button", "two fingers"])
def test_a_drag_of_two_moves_aside(page, file, how):
    page.size(WIDTH, HEIGHT, touch=how == "two fingers")
    page.open(file, "frame=0")
    without_bar(page)
    if how == "right button":
        page.drag((80, 60), (60, 66), button="right")
    else:
        page.fingers(((30, 60), (10, 66)), ((150, 60), (130, 66)))
    page.settle()
    camera = some_ride()[0]
    away = (MIDDLE - camera.pose[:, 3]).norm() / camera.fy
    by = camera.pose[:, :2] @ torch.tensor([20.0, 6.0]) * away
    assert psnr(page.picture(), seen(moved(camera, torch.eye(3), by))) > 38


def test_a_pinch_and_the_wheel_come_nearer(page, file):
    camera = some_ride()[0]
    for how, share in (("pinch", 0.5), ("wheel", math.exp(-0.12))):
        page.size(WIDTH, HEIGHT, touch=how == "pinch")
        page.open(file, "frame=0")
        without_bar(page)
        if how == "pinch":
            page.fingers(((60, 60), (40, 60)), ((100, 60), (120, 60)))
        else:
            page.mouse("Wheel", 80, 60, deltaX=0, deltaY=-100)
            time.sleep(1)
        page.settle()
        by = (MIDDLE - camera.pose[:, 3]) * (1 - share)
        assert psnr(page.picture(), seen(moved(camera, torch.eye(3), by))) > 38, how


def test_one_finger_turns_as_the_mouse_does(page, file):
    page.size(WIDTH, HEIGHT, touch=True)
    page.open(file, "frame=0")
    without_bar(page)
    for end in ((110, 60), (50, 60)):  # a finger that was lifted is forgotten
        page.fingers(((80, 60), end))
    page.settle()
    assert psnr(page.picture(), reference(0)) > 38


@pytest.mark.parametrize(("code", "axis", "sign"), [
    ("KeyW", 2, -1), ("ArrowUp", 2, -1), ("KeyS", 2, 1), ("KeyD", 0, 1), ("KeyA", 0, -1), ("KeyE", 1, 1),
    ("KeyQ", 1, -1),
])  # fmt: skip
def test_keys_walk(page, file, code, axis, sign):
    page.open(file, "frame=0")
    without_bar(page)
    page.key(code, held=0.2)
    time.sleep(0.5)
    page.settle()
    camera, found = some_ride()[0], page.picture()
    there, back = (step(tuple((camera.pose[:, axis] * way * sign * 0.25).tolist())) for way in (1, -1))
    assert psnr(found, there) > max(psnr(found, back), psnr(found, reference(0))) + 1


@cache
def step(by: tuple[float, ...]) -> torch.Tensor:
    return seen(moved(some_ride()[0], torch.eye(3), torch.tensor(by)))


@pytest.mark.parametrize(("code", "sign"), [("ArrowLeft", 1), ("ArrowRight", -1)])
def test_keys_turn(page, file, code, sign):
    page.open(file, "frame=0")
    page.run("document.getElementById('mode').click()")
    without_bar(page)
    page.key(code, held=0.2)
    time.sleep(0.5)
    page.settle()
    camera, found = some_ride()[0], page.picture()
    there, back = (seen(looking(camera, way * sign * 0.2)) for way in (1, -1))
    assert psnr(found, there) > max(psnr(found, back), psnr(found, reference(0))) + 1


def looking(camera: Camera, yaw: float) -> Camera:
    """To the left by so many radians."""
    turn = matrices(torch.tensor([math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]))
    return moved(camera, turn, camera.pose[:, 3] - turn @ camera.pose[:, 3])


def test_the_ride_plays_stops_and_gives_way(page, file):
    page.open(file, until=SHOWN)
    assert page.run(RIDING)
    without_bar(page)
    first = page.picture()
    time.sleep(0.8)
    assert psnr(page.picture(), first) < 35
    page.key("Space")
    page.settle()
    assert not page.run(RIDING)
    still = page.picture()
    ride = some_ride()
    time.sleep(0.2)
    assert psnr(page.picture(), still) > 60
    assert len(ride) / FPS > 1
    page.key("Space")
    assert page.run(RIDING)
    page.mouse("Wheel", 80, 60, deltaX=0, deltaY=-10)
    page.settle()
    assert not page.run(RIDING)


def test_nothing_moves_by_itself_for_those_who_prefer_it(page, file):
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.open(file)
    assert not page.run(RIDING)
    without_bar(page)
    assert psnr(page.picture(), reference(0)) > GOOD
    page.ask("Emulation.setEmulatedMedia", features=[])


def test_a_frame_by_address_is_alone_until_somebody_comes(page, file):
    page.open(file, "frame=1")
    assert not page.run(RIDING)
    assert page.run("getComputedStyle(document.getElementById('bar')).visibility") == "hidden"
    page.mouse("Moved", 20, 20)
    page.until("getComputedStyle(document.getElementById('bar')).visibility == 'visible'")


@pytest.mark.parametrize("hash", ["frame=99&mix=7&paint=9", "frame=-3&mix=-1&paint=0", "frame=x&mix=&paint=NaN", "%%%"])
def test_addresses_that_ask_for_nonsense(page, file, hash):
    page.open(file, hash, until=SHOWN)
    right = {"frame=99": (11, 1, 2), "frame=-3": (0, 0, 1), "frame=x&": (0, 1, 1)}.get(hash[:8])
    assert right is None or psnr(page.picture(), reference(*right)) > GOOD


def test_names_and_titles_are_words(page, folder):
    title = "</title></script><script>document.title = 'mine'</script>\u2028`${1}`"
    write_some(folder / "words.html", title=title)
    page.open(folder / "words.html", "frame=0")
    for found in ("document.title", "document.querySelector('h1').textContent"):
        assert page.run(found) == title.replace("\u2028", " ")


def test_a_lost_picture_is_said(page, file):
    page.open(file, "frame=0")
    page.run("document.getElementById('canvas').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()")
    page.until(FAILED)
    assert "reload" in page.run(MESSAGE)
    assert page.run("getComputedStyle(document.getElementById('message')).visibility") == "visible"
    assert page.run("getComputedStyle(document.getElementById('canvas')).display") == "none"


def test_without_webgl_there_is_the_poster(page, file):
    hide = "HTMLCanvasElement.prototype.getContext = () => null"
    script = page.ask("Page.addScriptToEvaluateOnNewDocument", source=hide)["identifier"]
    page.open(file, until=FAILED)
    assert "WebGL 2" in page.run(MESSAGE)
    page.run("document.getElementById('message').textContent = ''")
    assert psnr(page.picture(), reference(0, 0)) > 28
    page.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_without_scripts_there_is_the_poster(page, file):
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    page.size(4 * WIDTH, 4 * HEIGHT)
    page.open(file, until="true")
    assert page.run("document.querySelector('noscript').textContent.includes('Scripts are switched off')")
    assert page.run("getComputedStyle(document.getElementById('bar')).display") == "none"
    small = page.picture().view(HEIGHT, 4, WIDTH, 4, 3).mean((1, 3))
    assert psnr(small[:80], reference(0, 0)[:80]) > 28
    page.ask("Emulation.setScriptExecutionDisabled", value=False)
