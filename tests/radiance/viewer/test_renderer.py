"""Who is painted for, when, and how sharp."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from visitors import Compass, close, sky, until

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera
from arf.radiance.viewer.renderer import MOVING, SHARP, SMALLEST, Pace, Renderer, Wish
from arf.radiance.viewer.world import Gaze

LOOK = Gaze((0.5, 0.5, -0.5, 0.5), (1.0, 2.0, 3.0), 1.0, 1.5)
ELSEWHERE = replace(LOOK, position=(0.0, 0.0, 0.0), wxyz=(1.0, 0.0, 0.0, 0.0))


TRIAL = replace(LOOK, position=(9.0, 9.0, 9.0))


class Gated(Compass):
    """Renders one band each time it is let, and seems slow to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Semaphore(0)

    def render(self, camera: Camera, strength: float, preserve_color: bool) -> torch.Tensor:
        if camera.pose[0, 3] == TRIAL.position[0]:
            time.sleep(MOVING)
            return sky(camera)
        assert self.let.acquire(timeout=30)
        return super().render(camera, strength, preserve_color)


class Steady(Compass):
    """Renders a million pixels in a second."""

    def render(self, camera: Camera, strength: float, preserve_color: bool) -> torch.Tensor:
        time.sleep(1e-6 * camera.pixels)
        return super().render(camera, strength, preserve_color)


class Wall:
    """Where pictures are hung: (visitor, picture, whether it is the last), in order."""

    def __init__(self) -> None:
        self.hung = []

    def __call__(self, visitor: str, picture, last: bool) -> None:
        self.hung.append((visitor, torch.from_numpy(picture).float() / 255, last))

    def sizes(self, visitor: str) -> list[int]:
        return [max(picture.shape) for who, picture, _ in self.hung if who == visitor]


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def fast(wall) -> Iterator[Renderer]:
    renderer = Renderer(Steady(), wall, LOOK)
    renderer.start()
    yield renderer
    renderer.stop()


@pytest.fixture
def gated(wall) -> Iterator[Renderer]:
    renderer = Renderer(Gated(), wall, TRIAL)
    renderer.start()
    yield renderer
    renderer.scene.let.release(1000)
    renderer.stop()


def test_small_at_first_and_sharp_at_rest_and_then_nothing(fast, wall):
    fast.ask("a", Wish(LOOK, 0.5, True))
    until(lambda: wall.hung and wall.hung[-1][2])
    sizes = wall.sizes("a")
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == SHARP
    for _, picture, last in wall.hung:
        expected = sky(LOOK.camera(max(picture.shape)), 0.5, True)
        torch.testing.assert_close(picture, expected, atol=0.51 / 255, rtol=0)  # bands and all
        assert last == (max(picture.shape) == SHARP)
    count = len(fast.scene.rendered)
    fast.ask("a", Wish(LOOK, 0.5, True))  # nothing new
    time.sleep(0.3)
    assert len(fast.scene.rendered) == count


def test_colours_out_of_range_are_clamped(wall):
    scene = Compass()
    scene.render = lambda camera, *_: torch.linspace(-1, 3, 3).expand(*camera.size, 3)
    renderer = Renderer(scene, wall, LOOK)
    renderer.start()
    renderer.ask("a", Wish(LOOK, 1.0, False))
    until(lambda: wall.hung)
    renderer.stop()
    assert wall.hung[0][1].unique().tolist() == [0, 1]


def test_a_sharp_picture_is_given_up_for_a_newer_wish(gated, wall):
    scene = gated.scene
    gated.ask("a", Wish(LOOK, 1.0, False))
    scene.let.release()  # the small one
    until(lambda: wall.hung)
    scene.let.release()  # a band of the next
    until(lambda: len(scene.rendered) == 2)
    assert scene.rendered[1].height < scene.rendered[1].width / 2  # there are more to come
    gated.ask("a", Wish(ELSEWHERE, 1.0, False))
    scene.let.release(2)  # the band that was under way, and the small one of the new wish
    until(lambda: len(wall.hung) == 2)
    assert close(wall.hung[1][1], sky(ELSEWHERE.camera(max(wall.hung[1][1].shape))))
    assert len(scene.rendered) == 4


class Unlimited(Pace):
    """Of pictures in one piece."""

    pixels = property(lambda self: SHARP**2, lambda self, value: None)


def test_a_sharp_picture_that_comes_too_late_is_not_shown(wall):
    renderer = Renderer(Gated(), wall, TRIAL)
    renderer.band = Unlimited(1.0)
    renderer.start()
    try:
        renderer.ask("a", Wish(LOOK, 1.0, False))
        renderer.scene.let.release()
        until(lambda: wall.hung)
        until(lambda: renderer._easels["a"].canvas is not None)  # the sharper one, in one piece, is under way
        renderer.ask("a", Wish(ELSEWHERE, 1.0, False))
        renderer.scene.let.release(2)
        until(lambda: len(wall.hung) == 2)
        assert close(wall.hung[1][1], sky(ELSEWHERE.camera(wall.sizes("a")[1])))
    finally:
        renderer.scene.let.release(1000)
        renderer.stop()


def test_whoever_keeps_moving_sees_pictures_all_the_while(gated, wall):
    gated.ask("a", Wish(LOOK, 1.0, False))
    for i in range(3):  # each is late for a wish that has changed since
        until(lambda i=i: gated._easels["a"].canvas is not None)
        time.sleep(0.02)
        gated.ask("a", Wish(replace(LOOK, fov=1.1 + i), 1.0, False))
        gated.scene.let.release()
        until(lambda i=i: len(wall.hung) == i + 1)
    assert not any(last for *_, last in wall.hung)


def test_a_newcomer_need_not_wait_for_somebodys_sharp_picture(gated, wall):
    scene = gated.scene
    gated.ask("a", Wish(LOOK, 1.0, False))
    scene.let.release(2)
    until(lambda: len(scene.rendered) == 2)
    gated.ask("b", Wish(ELSEWHERE, 1.0, False))
    scene.let.release(2)
    until(lambda: wall.sizes("b"))
    assert len(wall.sizes("a")) == 1
    scene.let.release(1000)
    until(lambda: wall.sizes("a")[-1] == wall.sizes("b")[-1] == SHARP)  # and goes on where it was
    assert wall.sizes("a") == sorted(set(wall.sizes("a")))


def test_nobody_paints_for_one_who_has_gone(gated, wall):
    gated.ask("a", Wish(LOOK, 1.0, False))
    until(lambda: gated._easels["a"].canvas is not None)
    gated.forget("a")
    gated.forget("never there")
    gated.scene.let.release(1000)
    gated.ask("b", Wish(LOOK, 1.0, False))
    until(lambda: wall.hung)
    assert not wall.sizes("a")


def test_what_goes_wrong_ends_it_and_is_kept(wall):
    scene = Compass()
    scene.render = lambda *_: (_ for _ in ()).throw(UserError("no memory; close something"))
    renderer = Renderer(scene, wall, LOOK)
    renderer.start()
    renderer.join(20)
    assert str(renderer.error) == "no memory; close something"
    renderer.stop()


def test_one_that_never_began_can_be_stopped(wall):
    Renderer(Compass(), wall, LOOK).stop()


@pytest.mark.parametrize("speed", [3e3, 1e5, 2e6])  # pixels per second
@pytest.mark.parametrize("overhead", [0.0, 0.05])  # seconds
def test_pace_is_learnt(speed, overhead):
    pace = Pace(0.2)
    for _ in range(40):
        pace.learn(round(pace.pixels), overhead + pace.pixels / speed)
    fitting = (0.2 - overhead) * speed
    assert pace.pixels == pytest.approx(min(max(fitting, SMALLEST**2), SHARP**2), rel=0.01)
