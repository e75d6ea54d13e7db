"""What a visitor does to the page in a real browser, and the pictures that it shows then."""

from __future__ import annotations

import math
import time
from functools import cache

import pytest
import torch
from browser import Page
from pages import FPS, HEIGHT, MIDDLE, WIDTH, moved, psnr, reference, seen, some_ride, write_some

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.splats.splats import matrices

GOOD = 48.0  # dB: 8 bits alone leave 59
SHOWN = "document.body.classList.contains('shown')"
RIDING = "document.getElementById('ride').getAttribute('aria-pressed') == 'true'"


def without_bar(page: Page) -> None:
    """Leave the picture alone in the window."""
    page.run("document.getElementById('bar').style.display = 'none'")


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
    calm = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    with page.emulating("setEmulatedMedia", {"features": calm}, {"features": []}):
        page.open(file)
        assert not page.run(RIDING)
        without_bar(page)
        assert psnr(page.picture(), reference(0)) > GOOD


def test_a_frame_by_address_is_alone_until_somebody_comes(page, file):
    page.open(file, "frame=1")
    assert not page.run(RIDING)
    assert page.run("getComputedStyle(document.getElementById('bar')).visibility") == "hidden"
    page.mouse("Moved", 20, 20)
    page.until("getComputedStyle(document.getElementById('bar')).visibility == 'visible'")
