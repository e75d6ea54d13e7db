"""The thread that paints what visitors want to see: at once and small while they move, ever sharper once they rest.

It works by bands of rows, and after each asks anew what matters most: somebody who has nothing yet of what they look
at, in the order of waiting; then those who rest, the coarsest picture first. It sleeps where everybody has it sharp.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.viewer.scene import Scene
from arf.radiance.viewer.world import Gaze

MOVING = 1 / 6  # seconds for a picture while something moves
BAND = 1 / 10  # seconds for a band of a sharper one, after which it may be given up
REST = 0.15  # seconds without a new wish, after which a visitor rests
SHARP = 960  # pixels on the longer side at rest
SMALLEST = 32
GROWTH = 3  # from one picture at rest to the next
TRIALS = 6  # at most

Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see; equal wishes have equal pictures."""

    look: Gaze
    strength: float
    preserve_color: bool


class Pace:
    """How many pixels can be rendered within some seconds, learnt from those that were."""

    def __init__(self, seconds: float, pixels: float = SMALLEST**2) -> None:
        self.seconds, self.pixels = seconds, pixels

    def learn(self, pixels: int, seconds: float, trust: float = 0.5) -> None:
        """From one observation, which is trusted so far (on a scale of ratios): others may be busy for a moment."""
        seen = pixels * min(max(self.seconds / max(seconds, 1e-6), 1 / 8), 8)
        self.pixels = min(max(self.pixels ** (1 - trust) * seen**trust, SMALLEST**2), SHARP**2)


@dataclass
class Canvas:
    """A picture under way.

    Attributes:
        side: of the picture, in pixels.
        first: whether it is the first of its wish.
        done: bands from the top.
    """

    wish: Wish
    side: int
    first: bool
    camera: Camera
    done: list[Tensor] = field(default_factory=list)

    def next(self, pixels: float) -> Camera | None:
        """The camera of the next band, of at most so many pixels but one row at least."""
        first = sum(len(band) for band in self.done)
        rows = min(self.camera.height - first, max(1, int(pixels / self.camera.width)))
        return self.camera.band(first, rows) if rows else None


@dataclass
class Easel:
    """One visitor's wish and how far it is fulfilled.

    Attributes:
        side: of the sharpest picture of it that was shown, in pixels; 0: none yet.
        asked, served: when the wish came, and when something was last done for this visitor.
    """

    wish: Wish
    asked: float
    side: int = 0
    served: float = 0.0
    canvas: Canvas | None = None


class Renderer(threading.Thread):
    """
    Attributes:
        ended: set when it has come to its end.
        error: what ended it early, if anything did.
    """

    def __init__(self, scene: Scene, show: Callable[[Hashable, Picture, bool], None], start: Gaze) -> None:
        """
        Args:
            show: called from this thread with a visitor, a picture, and whether it is the last of a wish.
            start: a view to learn from how fast the scene is.
        """
        super().__init__(name="renderer", daemon=True)  # somebody has to `stop` it all the same
        self.scene, self.show, self.trial = scene, show, start
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.moving, self.band = Pace(MOVING), Pace(BAND)
        self._easels: dict[Hashable, Easel] = {}
        self._changed = threading.Condition()
        self._running = True

    def ask(self, visitor: Hashable, wish: Wish) -> None:
        """Paint this for a visitor from now on."""
        with self._changed:
            easel = self._easels.get(visitor)
            if easel is None:
                self._easels[visitor] = Easel(wish, time.monotonic())
            elif easel.wish != wish:
                easel.wish, easel.asked, easel.side, easel.canvas = wish, time.monotonic(), 0, None
            self._changed.notify()

    def forget(self, visitor: Hashable) -> None:
        """The visitor has gone."""
        with self._changed:
            self._easels.pop(visitor, None)

    def stop(self) -> None:
        """End it, and wait for the band that is under way: Python aborts where one still renders when it exits."""
        with self._changed:
            self._running = False
            self._changed.notify()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        try:
            self._try_out()
            while (chosen := self._choose()) is not None:
                self._work(*chosen)
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()

    def _try_out(self) -> None:
        """Learn the pace; what comes first of all may be slow for other reasons, such as compiling."""
        wish = Wish(self.trial, 1.0, False)
        self._render(wish, self.trial.camera(SMALLEST))
        for _ in range(TRIALS):
            camera = self.trial.camera(self.trial.side(self.moving.pixels))
            took = self._render(wish, camera)[1] if self._running else MOVING
            self.moving.learn(camera.pixels, took, trust=1.0)
            if took > MOVING / 2:
                break
        self.band.pixels = self.moving.pixels * BAND / MOVING

    def _choose(self) -> tuple[Hashable, Easel, Canvas] | None:
        """Wait for something to do, and begin it if it isn't begun; None once it is over."""
        with self._changed:
            while self._running:
                now = time.monotonic()
                rough = [entry for entry in self._easels.items() if entry[1].side < SHARP]
                due = [entry for entry in rough if not entry[1].side or now - entry[1].asked >= REST]
                if due:
                    visitor, easel = min(due, key=lambda entry: (entry[1].side, entry[1].served))
                    easel.served = now
                    easel.canvas = easel.canvas or self._begin(easel)
                    return visitor, easel, easel.canvas
                rested = min((easel.asked + REST for _, easel in rough), default=None)
                self._changed.wait(None if rested is None else rested - now)
        return None

    def _begin(self, easel: Easel) -> Canvas:
        look = easel.wish.look
        side = min(SHARP, GROWTH * easel.side or look.side(self.moving.pixels))
        return Canvas(easel.wish, side, not easel.side, look.camera(side))

    def _work(self, visitor: Hashable, easel: Easel, canvas: Canvas) -> None:
        """Paint one band, and show the picture if it was the last."""
        pace = self.moving if canvas.first else self.band
        band = canvas.next(canvas.camera.pixels if canvas.first else pace.pixels)
        part, took = self._render(canvas.wish, band)
        pace.learn(band.pixels, took)
        canvas.done.append(part)
        if canvas.next(1) is not None:
            return
        picture = (torch.cat(canvas.done).clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
        with self._changed:
            if self._easels.get(visitor) is not easel:
                return
            if easel.canvas is canvas:
                easel.side, easel.canvas = canvas.side, None
            elif not canvas.first:  # a small one is shown all the same: somebody who moves always has a newer wish
                return
        self.show(visitor, picture, canvas.side == SHARP)

    def _render(self, wish: Wish, camera: Camera) -> tuple[Float[Tensor, "h w 3"], float]:
        """A picture, and the seconds that it took."""
        begin = time.perf_counter()
        picture = self.scene.render(camera, wish.strength, wish.preserve_color)
        return picture, time.perf_counter() - begin
