"""Takes visitors about: to the start, to a camera, along a path; and tells them what happened."""

from __future__ import annotations

import threading
import time

import torch
from jaxtyping import Float
from torch import Tensor
from viser import ClientHandle

from arf.radiance.paths.splines import smooth_poses
from arf.radiance.viewer.world import World

STEP = 1 / 20  # seconds between two places of a camera that moves
FLIGHT = 0.6  # seconds to fly from one camera to another


class Guide:
    """Flights block the thread that asks for them, which is one of viser's own; the newest of a visitor ends others."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ups: dict[int, Float[Tensor, " 3"]] = {}
        self._flights: dict[int, object] = {}
        self._notes: dict[int, object] = {}
        self._lock = threading.Lock()
        self._closed = False

    def welcome(self, visitor: ClientHandle) -> None:
        """To the first training camera, with its field of view, upright."""
        self.land(visitor)
        self._ups.pop(visitor.client_id, None)
        visitor.camera.fov = self.world.fov
        self.world.aim(visitor.camera, self.world.start)

    def tilt(self, visitor: ClientHandle) -> None:
        """What is up in the visitor's picture is up from now on."""
        pose = self.world.look(visitor.camera).pose
        self._ups[visitor.client_id] = pose[:, 1]
        self.world.aim(visitor.camera, pose, pose[:, 1])

    def go(self, visitor: ClientHandle, pose: Float[Tensor, "3 4"]) -> None:
        """Fly to a camera."""
        here = self.world.look(visitor.camera).pose
        self.fly(visitor, smooth_poses(torch.stack([here, pose]), round(FLIGHT / STEP)), FLIGHT)

    def fly(self, visitor: ClientHandle, poses: Float[Tensor, "n 3 4"], seconds: float, loop: bool = False) -> None:
        """Along some poses, in a given time, or round and round until the visitor lands."""
        flight, begin = object(), time.monotonic()
        with self._lock:
            if self._closed:
                return
            self._flights[visitor.client_id] = flight
        while self._flights.get(visitor.client_id) is flight:
            share = (time.monotonic() - begin) / seconds
            i = int(share * len(poses))
            i = i % len(poses) if loop else min(i, len(poses) - 1)
            self.world.aim(visitor.camera, poses[i], self._ups.get(visitor.client_id))
            if share >= 1 and not loop:
                break
            time.sleep(STEP)
        with self._lock:
            if self._flights.get(visitor.client_id) is flight:
                del self._flights[visitor.client_id]

    def land(self, visitor: ClientHandle) -> bool:
        """End a flight where it is; whether there was one."""
        with self._lock:
            return self._flights.pop(visitor.client_id, None) is not None

    def tell(self, visitor: ClientHandle, title: str, text: str) -> None:
        """Show a note in place of the last one; it is plain text to viser, unlike its markdown, which may hold code."""
        if last := self._notes.pop(visitor.client_id, None):
            last.remove()
        self._notes[visitor.client_id] = visitor.add_notification(title, text)

    def forget(self, visitor: ClientHandle) -> None:
        """The visitor has gone."""
        self.land(visitor)
        for known in (self._ups, self._notes):
            known.pop(visitor.client_id, None)

    def close(self) -> None:
        """End all flights, and let none begin."""
        with self._lock:
            self._closed = True
            self._flights.clear()
